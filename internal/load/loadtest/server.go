// Package loadtest is a simulated OpenAI-compatible server, for tests: it streams as a test
// tells it to, and counts what it sends.
package loadtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"
)

// Server is a simulated server.
type Server struct {
	*httptest.Server
	// Stream writes the answer of the request of a number, counted as they arrive; if nil,
	// every request is answered at once.
	Stream func(a *Answer, number int)
	// NoTokenizer makes /tokenize missing, and NoTokenIDs return_token_ids unknown.
	NoTokenizer, NoTokenIDs bool
	// Refuse, if not 0, is the status of all answers.
	Refuse int

	mu       sync.Mutex
	requests []Body
	headers  []http.Header
	totals   Totals
	metrics  metrics
}

// Totals are what a server has sent in answers that it has finished.
type Totals struct{ Requests, PromptTokens, GenerationTokens int64 }

// Body is the body of a request.
type Body struct {
	Model         string
	Prompt        []int
	Text          string // the prompt, if it is no list of ids
	Messages      []Message
	MaxTokens     int  `json:"max_tokens"`
	MinTokens     int  `json:"min_tokens"`
	IgnoreEOS     bool `json:"ignore_eos"`
	Stream        bool
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
	ReturnTokenIDs bool `json:"return_token_ids"`
}

// UnmarshalJSON reads the body of a request.
func (b *Body) UnmarshalJSON(text []byte) error {
	type plain Body
	in := struct {
		*plain
		Prompt json.RawMessage
	}{plain: (*plain)(b)}
	if err := json.Unmarshal(text, &in); err != nil || in.Prompt == nil {
		return err
	}
	if json.Unmarshal(in.Prompt, &b.Text) == nil {
		return nil
	}
	return json.Unmarshal(in.Prompt, &b.Prompt)
}

// Message is a message of a chat. Content that is no text is kept as JSON.
type Message struct{ Role, Content string }

// UnmarshalJSON reads a message.
func (m *Message) UnmarshalJSON(text []byte) error {
	var in struct {
		Role    string
		Content json.RawMessage
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	if m.Role = in.Role; json.Unmarshal(in.Content, &m.Content) != nil {
		m.Content = string(in.Content)
	}
	return nil
}

// Answer is one streamed answer.
type Answer struct {
	http.ResponseWriter
	Request *http.Request
	Body    Body
	server  *Server
	sent    int
	timing  timing
}

// New returns a server on a loopback port. Close ends it.
func New(stream func(a *Answer, number int)) *Server {
	s := &Server{Stream: stream}
	s.Server = httptest.NewServer(s)
	return s
}

// Requests returns the bodies and headers of the requests so far, in the order of arrival.
func (s *Server) Requests() ([]Body, []http.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests), slices.Clone(s.headers)
}

// Totals returns what the server has sent.
func (s *Server) Totals() Totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.totals
}

// Listen serves on a unix socket, too, until the returned function is called.
func (s *Server) Listen(path string) (closeSocket func(), err error) {
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: s}
	go func() { _ = server.Serve(listener) }()
	return func() { server.Close() }, nil
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.Refuse != 0 {
		http.Error(w, `{"error":{"message":"no key"}}`, s.Refuse)
		return
	}
	switch r.URL.Path {
	case "/v1/models":
		io.WriteString(w, `{"object":"list","data":[{"id":"tiny","object":"model"}]}`)
	case "/metrics", "/metrics/":
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		s.mu.Lock()
		defer s.mu.Unlock()
		s.metrics.write(w)
	case "/tokenize":
		s.tokenize(w, r)
	case "/v1/completions", "/v1/chat/completions":
		a := &Answer{ResponseWriter: w, Request: r, server: s, timing: timing{arrived: time.Now()}}
		if err := json.NewDecoder(r.Body).Decode(&a.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		number := len(s.requests)
		s.requests = append(s.requests, a.Body)
		s.headers = append(s.headers, r.Header)
		s.metrics.running++
		s.mu.Unlock()
		defer func() {
			s.mu.Lock()
			s.metrics.running--
			s.mu.Unlock()
		}()
		if s.Stream != nil {
			s.Stream(a, number)
		} else {
			a.All()
		}
	default:
		http.NotFound(w, r)
	}
}

// tokenize takes each word for a token; the id of a word is its length.
func (s *Server) tokenize(w http.ResponseWriter, r *http.Request) {
	var in struct{ Prompt string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || s.NoTokenizer {
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

// Start sends the head of a stream.
func (a *Answer) Start() {
	a.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	a.WriteHeader(http.StatusOK)
	a.Flush()
}

// Flush sends what is written.
func (a *Answer) Flush() { _ = http.NewResponseController(a.ResponseWriter).Flush() }

// Send sends text as it is, at once.
func (a *Answer) Send(text string) {
	_, _ = io.WriteString(a.ResponseWriter, text)
	a.Flush()
}

// FirstID is less by 1 than the id of the first token of every answer; the others follow it.
const FirstID = 1000

// Token sends a chunk with one token.
func (a *Answer) Token() {
	a.sent++
	a.server.mu.Lock()
	a.server.metrics.token(&a.timing, time.Now())
	a.server.mu.Unlock()
	end := "null"
	if a.sent == a.Body.MaxTokens {
		end = `"length"`
	}
	if a.Request.URL.Path == "/v1/completions" {
		ids := ""
		if a.Body.ReturnTokenIDs && !a.server.NoTokenIDs {
			ids = fmt.Sprintf(`,"token_ids":[%d]`, FirstID+a.sent)
		}
		a.Send(fmt.Sprintf(`data: {"id":"cmpl-1","object":"text_completion","choices":[{"index":0,"text":" é%d","logprobs":null,"finish_reason":%s%s}],"usage":null}`+"\n\n", a.sent, end, ids))
		return
	}
	if a.sent == 1 {
		a.Send(`data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}` + "\n\n")
	}
	a.Send(fmt.Sprintf(`data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":" é%d"},"finish_reason":%s}]}`+"\n\n", a.sent, end))
}

// PromptTokens returns the length of the prompt; a template adds five tokens in a chat.
func (a *Answer) PromptTokens() int64 {
	words := 0
	for _, m := range a.Body.Messages {
		words += len(strings.Fields(m.Content))
	}
	if words > 0 {
		return int64(words) + 5
	}
	return int64(len(a.Body.Prompt) + len(strings.Fields(a.Body.Text)))
}

// End sends the usage and the end of the stream. The totals have the answer before the client has
// its end.
func (a *Answer) End() {
	a.server.mu.Lock()
	a.server.metrics.finish(&a.timing, a.PromptTokens(), a.sent)
	a.server.totals.Requests++
	a.server.totals.PromptTokens += a.PromptTokens()
	a.server.totals.GenerationTokens += int64(a.sent)
	a.server.mu.Unlock()
	a.Send(fmt.Sprintf(`data: {"choices":[],"usage":{"prompt_tokens":%d,"total_tokens":0,"completion_tokens":%d}}`+"\n\ndata: [DONE]\n\n", a.PromptTokens(), a.sent))
}

// All answers completely, and at once.
func (a *Answer) All() { a.Paced(0, 0) }

// Paced answers completely, with a time before the first token and between two.
func (a *Answer) Paced(first, gap time.Duration) {
	a.Start()
	a.Pause(first)
	for i := range a.Body.MaxTokens {
		if i > 0 {
			a.Pause(gap)
		}
		if a.Request.Context().Err() != nil {
			return
		}
		a.Token()
	}
	a.End()
}

// Pause waits as a slow server does, or until the client is gone.
func (a *Answer) Pause(d time.Duration) {
	if d > 0 {
		select {
		case <-time.After(d):
		case <-a.Request.Context().Done():
		}
	}
}

// Abort cuts the connection.
func (a *Answer) Abort() { panic(http.ErrAbortHandler) }
