package load

import (
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/vobs/vobs/internal/load/sse"
)

// The kinds of failures, beside http_STATUS for an answer other than 200.
const (
	failedConnect = "connect" // no connection
	failedTimeout = "timeout" // --timeout passed
	failedCut     = "cut"     // the stream or the connection ended early
	failedStream  = "stream"  // the server sent an error within the stream
	failedFormat  = "format"  // the answer is no stream of chunks
	failedEmpty   = "empty"   // a complete stream without a token
)

const (
	// The rest of a body behind the end of its stream is read, so that the connection can be kept,
	// unless it takes longer than tailTimeout or has more than maxTail bytes. The next request
	// waits for it no longer than tailWait, and opens another connection then.
	tailTimeout = time.Second
	tailWait    = 500 * time.Microsecond
	maxTail     = 64 << 10
)

// Request is one request and what the client saw of it. Times are since the start of the run.
type Request struct {
	Number int
	Warmup bool
	// Intended is when the request was meant to be sent, Sent when it was; First and Last are
	// the arrivals of the first and the last chunk with a token, 0 without any; End is that of
	// the end of the answer.
	Intended, Sent, First, Last, End time.Duration
	// Conversation is the number of the conversation, from 0, and Turn that of the turn, from 1;
	// Turn is 0 for single requests.
	Conversation, Turn int
	// Prompt and Generation are the server's counts of tokens. HasUsage reports whether it
	// sent any.
	Prompt, Generation int64
	HasUsage           bool
	Chunks             int64 // with a token
	// Failure is the kind of failure, and Message what is known of it; both are "" if the
	// request did not fail.
	Failure, Message string
	// Cancelled reports whether the client cancelled it: on purpose, or because the run ended.
	Cancelled bool

	plan planned
	body []byte
	at   time.Duration // in a trace, since its beginning
	// conversation is nil for single requests. answer collects what the next turn needs, if
	// there is one.
	conversation *conversation
	answer       *answer
	gaps         []time.Duration // between chunks with a token
}

// completed reports whether the request was answered completely.
func (r *Request) completed() bool { return r.Failure == "" && !r.Cancelled }

// tokens returns the generated tokens: those that the server counted, or the chunks.
func (r *Request) tokens() int64 {
	if r.HasUsage {
		return r.Generation
	}
	return r.Chunks
}

// perToken returns the time per token after the first, if there are any.
func (r *Request) perToken() (time.Duration, bool) {
	if n := r.tokens() - 1; n > 0 {
		return (r.Last - r.First) / time.Duration(n), true
	}
	return 0, false
}

// client sends requests.
type client struct {
	server  *Server
	path    string
	timeout time.Duration
	start   time.Time
	tails   sync.WaitGroup // reads of what is behind the end of streams
}

// now returns the time since the start of the run, by the monotonic clock.
func (c *client) now() time.Duration { return time.Since(c.start) }

var errCancelled = errors.New("cancelled on purpose")

// do sends a request and reads its answer to the end.
func (c *client) do(ctx context.Context, r *Request, reader *sse.Reader) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	request, err := c.server.newRequest(ctx, c.path, r.body)
	r.body = nil
	r.Sent = c.now()
	var body io.ReadCloser
	if err == nil {
		body, err = c.exchange(request, r, reader)
	}
	if r.End == 0 { // not by [DONE]
		r.End = c.now()
	}
	switch {
	case err == nil:
	case errors.Is(err, errCancelled), errors.Is(ctx.Err(), context.Canceled):
		r.Cancelled = true
	case r.Failure == "":
		r.Failure = failureKind(err)
		r.Message = c.server.message([]byte(c.server.clean(err, c.timeout).Error()))
	}
	switch {
	case body == nil:
	case err == nil && r.Failure == "":
		c.readTail(body, cancel)
		return
	default:
		body.Close()
	}
	cancel()
}

// readTail reads what is behind the end of a stream, closes its body, and calls cancel. It returns
// after tailWait at the latest.
func (c *client) readTail(body io.ReadCloser, cancel func()) {
	ended := make(chan struct{})
	c.tails.Go(func() {
		defer cancel()
		late := time.AfterFunc(tailTimeout, cancel)
		defer late.Stop()
		_, _ = io.CopyN(io.Discard, body, maxTail)
		body.Close()
		close(ended)
	})
	wait := time.NewTimer(tailWait)
	defer wait.Stop()
	select {
	case <-ended:
	case <-wait.C:
	}
}

func failureKind(err error) string {
	var timeout net.Error
	var op *net.OpError
	var dns *net.DNSError
	switch {
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, os.ErrDeadlineExceeded):
		return failedTimeout
	case errors.As(err, &dns), errors.As(err, &op) && op.Op == "dial", errors.Is(err, syscall.ECONNREFUSED):
		return failedConnect
	}
	return failedCut
}

// exchange sends a request and reads the stream. It returns the body, if there is one.
func (c *client) exchange(request *http.Request, r *Request, reader *sse.Reader) (io.ReadCloser, error) {
	response, err := c.server.http.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 64<<10))
		r.Failure, r.Message = "http_"+strconv.Itoa(response.StatusCode), c.server.message(text)
		return response.Body, nil
	}
	if kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); kind != "text/event-stream" {
		r.Failure, r.Message = failedFormat, "the answer is of type "+strconv.Quote(kind)+", expected text/event-stream"
		return response.Body, nil
	}
	arrivals := &timedReader{Reader: response.Body, now: c.now}
	reader.Reset(arrivals)
	defer reader.Reset(nil)
	if r.plan.cancelAfter == 0 {
		return response.Body, errCancelled
	}
	return response.Body, c.stream(reader, arrivals, r)
}

// timedReader keeps the time at which the last bytes arrived: that of all chunks in them.
type timedReader struct {
	io.Reader
	now func() time.Duration
	at  time.Duration
}

func (t *timedReader) Read(b []byte) (int, error) {
	n, err := t.Reader.Read(b)
	if n > 0 {
		t.at = t.now()
	}
	return n, err
}

// stream reads the stream to its end, [DONE], and sets r.End to its arrival. Otherwise it sets
// r.Failure, or returns an error of the connection.
func (c *client) stream(reader *sse.Reader, arrivals *timedReader, r *Request) error {
	var ch chunk
	ended := time.Duration(0) // when a chunk without a text came that ends the answer
	for {
		event, err := reader.Next()
		switch {
		case errors.Is(err, io.EOF):
			r.Failure, r.Message = failedCut, "the stream ended without [DONE]"
			return nil
		case errors.Is(err, sse.ErrTooLarge):
			r.Failure, r.Message = failedFormat, err.Error()
			return nil
		case err != nil:
			return err
		case string(event.Data) == "[DONE]":
			r.End = arrivals.at
			// vLLM's last chunk holds a token that has no text, at which generation stops; other
			// servers send such a chunk without a token.
			if ended > 0 && r.HasUsage && r.Generation == r.Chunks+1 {
				r.countChunk(ended)
			}
			if r.Chunks == 0 && !(r.HasUsage && r.Generation == 0) {
				r.Failure, r.Message = failedEmpty, "the stream had no token"
			}
			return nil
		}
		err = ch.parse(event.Data)
		switch {
		case err != nil && string(event.Type) == "error":
			ch.failed, ch.failure = true, event.Data
		case err != nil:
			r.Failure, r.Message = failedFormat, err.Error()
			return nil
		}
		if ch.failed || string(event.Type) == "error" {
			if ch.failure == nil {
				ch.failure = event.Data
			}
			r.Failure, r.Message = failedStream, c.server.message(ch.failure)
			return nil
		}
		if ch.hasUsage {
			r.HasUsage, r.Prompt, r.Generation = true, ch.prompt, ch.generation
		}
		if !ch.token {
			if ch.end {
				ended = arrivals.at
			}
			continue
		}
		if r.answer != nil {
			r.answer.add(&ch)
		}
		r.countChunk(arrivals.at)
		if r.Chunks == int64(r.plan.cancelAfter) {
			return errCancelled
		}
	}
}

// countChunk takes up a chunk with a token.
func (r *Request) countChunk(at time.Duration) {
	if r.Chunks++; r.Chunks == 1 {
		r.First = at
	} else {
		r.gaps = append(r.gaps, at-r.Last)
	}
	r.Last = at
}
