package load

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// simulated is an OpenAI-compatible server whose behaviour a test sets.
type simulated struct {
	*httptest.Server
	t *testing.T

	// stream writes the answer of the request of a number, counted as they arrive.
	stream func(w *answer, number int)

	mu       sync.Mutex
	requests []body
	headers  []http.Header
	tokens   int64 // generated, over all answers that were written to the end
	prompt   int64
	finished int64
	noTokens bool // it has no /tokenize
}

// answer is one streamed answer.
type answer struct {
	http.ResponseWriter
	request *http.Request
	body    body
	s       *simulated
	sent    int
}

// newSimulated returns a server that answers at once, unless stream says otherwise.
func newSimulated(t *testing.T, stream func(w *answer, number int)) *simulated {
	t.Helper()
	s := &simulated{t: t, stream: stream}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// onSocket returns the same server on a unix socket.
func (s *simulated) onSocket(path string) string {
	s.t.Helper()
	listener, err := net.Listen("unix", path)
	if err != nil {
		s.t.Fatal(err)
	}
	server := &http.Server{Handler: s}
	go func() { _ = server.Serve(listener) }()
	s.t.Cleanup(func() { server.Close() })
	return "unix://" + path
}

func (s *simulated) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/v1/models":
		io.WriteString(w, `{"object":"list","data":[{"id":"tiny","object":"model"}]}`)
	case "/tokenize":
		s.tokenize(w, r)
	case "/v1/completions", "/v1/chat/completions":
		a := &answer{ResponseWriter: w, request: r, s: s}
		if err := json.NewDecoder(r.Body).Decode(&a.body); err != nil {
			s.t.Error(err)
		}
		s.mu.Lock()
		number := len(s.requests)
		s.requests = append(s.requests, a.body)
		s.headers = append(s.headers, r.Header)
		s.mu.Unlock()
		if s.stream != nil {
			s.stream(a, number)
		} else {
			a.all()
		}
	default:
		http.NotFound(w, r)
	}
}

// tokenize takes each word for a token; the id of a word is its length.
func (s *simulated) tokenize(w http.ResponseWriter, r *http.Request) {
	var in struct{ Prompt string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || s.noTokens {
		http.NotFound(w, r)
		return
	}
	var ids []int
	length := 0
	for _, c := range in.Prompt + " " {
		if c != ' ' {
			length++
		} else {
			ids, length = append(ids, length), 0
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"tokens": ids, "count": len(ids)})
}

// start sends the head of a stream.
func (a *answer) start() {
	a.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	a.WriteHeader(http.StatusOK)
	a.flush()
}

func (a *answer) flush() { _ = http.NewResponseController(a.ResponseWriter).Flush() }

// write sends text as it is, at once.
func (a *answer) write(text string) {
	_, _ = io.WriteString(a.ResponseWriter, text)
	a.flush()
}

// token sends a chunk with one token.
func (a *answer) token() {
	a.sent++
	end := "null"
	if a.sent == a.body.MaxTokens {
		end = `"length"`
	}
	if a.request.URL.Path == "/v1/completions" {
		a.write(fmt.Sprintf(`data: {"id":"cmpl-1","object":"text_completion","choices":[{"index":0,"text":" é%d","logprobs":null,"finish_reason":%s}],"usage":null}`+"\n\n", a.sent, end))
		return
	}
	if a.sent == 1 {
		a.write(`data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}` + "\n\n")
	}
	a.write(fmt.Sprintf(`data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":" é%d"},"finish_reason":%s}]}`+"\n\n", a.sent, end))
}

// promptTokens returns the length of the prompt; a template adds five tokens in a chat.
func (a *answer) promptTokens() int64 {
	if len(a.body.Messages) > 0 {
		words := 1
		for _, c := range a.body.Messages[0].Content {
			if c == ' ' {
				words++
			}
		}
		return int64(words) + 5
	}
	return int64(len(a.body.Prompt))
}

// end sends the usage and the end of the stream.
func (a *answer) end() {
	a.write(fmt.Sprintf(`data: {"choices":[],"usage":{"prompt_tokens":%d,"total_tokens":0,"completion_tokens":%d}}`+"\n\ndata: [DONE]\n\n", a.promptTokens(), a.sent))
	a.s.mu.Lock()
	a.s.finished++
	a.s.tokens += int64(a.sent)
	a.s.prompt += a.promptTokens()
	a.s.mu.Unlock()
}

// all answers completely, and at once.
func (a *answer) all() { a.paced(0, 0) }

// paced answers completely, with a time before the first token and between two.
func (a *answer) paced(first, gap time.Duration) {
	a.start()
	a.pause(first)
	for i := range a.body.MaxTokens {
		if i > 0 {
			a.pause(gap)
		}
		if a.request.Context().Err() != nil {
			return
		}
		a.token()
	}
	a.end()
}

// pause waits as a slow server does, or until the client is gone.
func (a *answer) pause(d time.Duration) {
	if d > 0 {
		select {
		case <-time.After(d):
		case <-a.request.Context().Done():
		}
	}
}

// abort cuts the connection.
func (a *answer) abort() { panic(http.ErrAbortHandler) }
