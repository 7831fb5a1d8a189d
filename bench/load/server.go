//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// firstID is the first token of the prompt of request 0; that of request n is firstID+n. vobs
// numbers its prompts so: its vocabulary is the middle of vocabSize tokens.
const (
	vocabSize = 1 << 16
	firstID   = vocabSize / 16
	model     = "tiny"
	// idPrefix is the prefix of the request ids of a client that cannot number its prompts.
	idPrefix = "bench-"
)

// pace is how fast the server answers.
type pace struct {
	first, gap time.Duration // before the first chunk, and between two
	batch      int           // chunks per write, if there is no gap
}

func (p pace) String() string { return fmt.Sprintf("%v,%v,%d", p.first, p.gap, p.batch) }

func parsePace(text string) (p pace, err error) {
	words := strings.Split(text, ",")
	if len(words) != 3 {
		return p, fmt.Errorf("pace %q: use FIRST,GAP,BATCH", text)
	}
	var errs [3]error
	p.first, errs[0] = time.ParseDuration(words[0])
	p.gap, errs[1] = time.ParseDuration(words[1])
	p.batch, errs[2] = strconv.Atoi(words[2])
	p.batch = max(1, p.batch)
	return p, errors.Join(errs[:]...)
}

// served is what the server did since it was last asked.
type served struct {
	// Delays are the times from the end of each request to the moment before its first chunk
	// was sent, in seconds, by the request's number.
	Delays map[int]float64
	Chunks int64 // with a token
	// Peak is the highest number of answers under way.
	Peak       int
	CPUSeconds float64
	// Seconds is the time from the first request to the end of the last answer.
	Seconds float64
	Cut     int // connections that broke within an answer
}

// server answers like vLLM's /v1/completions. It is made to cost little: the chunks are
// written beforehand, with the frames of HTTP around them.
type server struct {
	pace

	mu      sync.Mutex
	answers map[int]*answer // by the number of tokens
	now     served
	running int
	began   time.Time
	cpu     float64
}

// answer is the body of an answer in frames of HTTP, one for each chunk as vLLM's server sends
// them. Chunk i is text[at[i]:at[i+1]]; the usage and the end follow.
type answer struct {
	text []byte
	at   []int
}

const head = "HTTP/1.1 200 OK\r\ndate: Mon, 30 Nov 2026 12:00:00 GMT\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"

// newAnswer writes the chunks as vLLM 0.32 does (vllm/entrypoints/openai/completion/serving.py,
// with the fields that it sets).
func newAnswer(tokens int) *answer {
	const id = `"id":"cmpl-3a1f0f1c3b7f4b8e9a6d5c4b3a291807","object":"text_completion","created":1796040000,"model":"` + model + `"`
	words := []string{" the", " of", " and", " a", " performance", " in", " model", " é", " tokens", ","}
	a := &answer{at: []int{0}}
	frame := func(data string) {
		event := "data: " + data + "\n\n"
		a.text = fmt.Appendf(a.text, "%x\r\n%s\r\n", len(event), event)
		a.at = append(a.at, len(a.text))
	}
	for i := range tokens {
		finish := "null"
		if i == tokens-1 {
			finish = `"length"`
		}
		frame(fmt.Sprintf(`{%s,"choices":[{"index":0,"text":%q,"logprobs":null,"finish_reason":%s,"stop_reason":null,"prompt_token_ids":null,"token_ids":null}]}`,
			id, words[i%len(words)], finish))
	}
	frame(fmt.Sprintf(`{%s,"choices":[],"usage":{"prompt_tokens":16,"total_tokens":%d,"completion_tokens":%d}}`, id, 16+tokens, tokens))
	frame("[DONE]")
	a.text = append(a.text, "0\r\n\r\n"...)
	a.at = a.at[:tokens+1]
	return a
}

// serveUntilEOF is the process of the server. It prints its address, and for each line of
// stdin what it has served since the last one.
func serveUntilEOF(text string) error {
	p, err := parsePace(text)
	if err != nil {
		return err
	}
	s := &server{pace: p, answers: map[int]*answer{}}
	s.now.Delays = map[int]float64{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + listener.Addr().String())
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				fmt.Fprintln(os.Stderr, "bench: server:", err)
				os.Exit(1)
			}
			go s.connection(conn)
		}
	}()
	encoder := json.NewEncoder(os.Stdout)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if err := encoder.Encode(s.take()); err != nil {
			return err
		}
	}
	return nil
}

// take returns what was served, and begins anew.
func (s *server) take() served {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.now
	cpu := ownCPU()
	out.CPUSeconds, s.cpu = cpu-s.cpu, cpu
	s.now, s.began = served{Delays: map[int]float64{}}, time.Time{}
	return out
}

// ownCPU returns the user and system time of this process in seconds.
func ownCPU() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it fails only for a bad argument
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// connection serves the requests of one connection.
func (s *server) connection(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		request, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return
		}
		received := time.Now()
		if request.URL.Path != "/v1/completions" {
			if _, err := io.WriteString(conn, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"); err != nil {
				return
			}
			continue
		}
		var asked struct {
			Prompt    json.RawMessage
			MaxTokens int `json:"max_tokens"`
		}
		if err := json.Unmarshal(body, &asked); err != nil || asked.MaxTokens < 1 {
			_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
			return
		}
		number := -1
		var ids []int
		if text, ok := strings.CutPrefix(request.Header.Get("x-request-id"), idPrefix); ok {
			number, _ = strconv.Atoi(text)
		} else if json.Unmarshal(asked.Prompt, &ids) == nil && len(ids) > 0 {
			number = ids[0] - firstID
		}
		if err := s.stream(conn, s.begin(asked.MaxTokens, received), number, received); err != nil {
			return
		}
	}
}

func (s *server) begin(tokens int, received time.Time) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began.IsZero() {
		s.began = received
	}
	s.running++
	s.now.Peak = max(s.now.Peak, s.running)
	if s.answers[tokens] == nil {
		s.answers[tokens] = newAnswer(tokens)
	}
	return s.answers[tokens]
}

// stream sends an answer.
func (s *server) stream(conn net.Conn, a *answer, number int, received time.Time) (err error) {
	tokens, sent := len(a.at)-1, 0
	var first time.Time
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.running--
		s.now.Chunks += int64(sent)
		s.now.Seconds = time.Since(s.began).Seconds()
		if s.now.Delays[number] = first.Sub(received).Seconds(); err != nil {
			s.now.Cut++
		}
	}()
	if _, err := io.WriteString(conn, head); err != nil {
		return err
	}
	time.Sleep(time.Until(received.Add(s.first)))
	first = time.Now()
	for sent < tokens {
		n := min(s.batch, tokens-sent)
		if s.gap > 0 {
			n = 1
			time.Sleep(time.Until(first.Add(time.Duration(sent) * s.gap)))
		}
		if _, err := conn.Write(a.text[a.at[sent]:a.at[sent+n]]); err != nil {
			return err
		}
		sent += n
	}
	_, err = conn.Write(a.text[a.at[tokens]:])
	return err
}

// serverProcess is the server in a process of its own.
type serverProcess struct {
	command *exec.Cmd
	ask     io.WriteCloser
	answers *bufio.Reader
	url     string
}

func startServer(p pace) (*serverProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &serverProcess{command: exec.Command(self, "-serve", p.String())}
	s.command.Stderr = os.Stderr
	if s.ask, err = s.command.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.command.Start(); err != nil {
		return nil, fmt.Errorf("starting the server: %w", err)
	}
	s.answers = bufio.NewReader(out)
	line, err := s.answers.ReadString('\n')
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("the server prints no address: %w", err)
	}
	s.url = strings.TrimSpace(line)
	return s, nil
}

// take returns what the server has served since the last call.
func (s *serverProcess) take() (out served, err error) {
	if _, err := io.WriteString(s.ask, "\n"); err != nil {
		return out, fmt.Errorf("asking the server: %w", err)
	}
	line, err := s.answers.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &out)
	}
	if err != nil {
		return out, fmt.Errorf("reading the server's counts: %w", err)
	}
	return out, nil
}

func (s *serverProcess) stop() {
	s.ask.Close()
	_ = s.command.Wait() // it has nothing to report
}
