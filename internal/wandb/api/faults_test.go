package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/wandb/wandbtest"
)

// echo is a body that contains the key, as a careless server or proxy may send it.
const echo = `{"errors":[{"message":"bad key ` + wandbtest.Key + `"}]}`

// Every fault of a server, at each of the requests for an event.
func TestFaults(t *testing.T) {
	always := func(f wandbtest.Fault) wandbtest.Fault { return f }
	once := func(f wandbtest.Fault) wandbtest.Fault { f.Times = 1; return f }
	type fault struct {
		fault wandbtest.Fault
		// kind and text are those of the error if the fault persists. Final faults are
		// not retried; the others do no harm if they happen once.
		kind  Kind
		text  string
		final bool
	}
	html := "<!DOCTYPE html><title>Log in to the café's Wi-Fi</title>"
	faults := map[string]fault{
		"400":                    {wandbtest.Fault{Status: 400, Body: echo}, KindRejected, "bad key [redacted]", true},
		"401":                    {wandbtest.Fault{Status: 401, Body: echo}, KindKey, "check WANDB_API_KEY", true},
		"403":                    {wandbtest.Fault{Status: 403, Body: `{"error":"no write access"}`}, KindForbidden, "no write access", true},
		"404":                    {wandbtest.Fault{Status: 404, Body: html}, KindNotFound, "an HTML page", true},
		"410":                    {wandbtest.Fault{Status: 410}, KindNotFound, "HTTP 410", true},
		"413":                    {wandbtest.Fault{Status: 413}, KindTooLarge, "of this size", true},
		"422":                    {wandbtest.Fault{Status: 422, Body: `{"error":{"message":"no"}}`}, KindRejected, ": no", true},
		"501":                    {wandbtest.Fault{Status: 501}, KindServer, "HTTP 501", true},
		"407":                    {wandbtest.Fault{Status: 407}, KindProxy, "check WANDB_HTTPS_PROXY", true},
		"redirect":               {wandbtest.Fault{Status: 307, Header: map[string]string{"Location": "https://u:pw@elsewhere/x?token=1"}}, KindRedirect, "to https://elsewhere/x", true},
		"429":                    {wandbtest.Fault{Status: 429}, KindRate, "tried 4 times", false},
		"500":                    {wandbtest.Fault{Status: 500, Body: "down\nfor \x1b[31mnow"}, KindServer, "down for [31mnow", false},
		"503":                    {wandbtest.Fault{Status: 503, Body: html}, KindServer, "tried 4 times", false},
		"408":                    {wandbtest.Fault{Status: 408}, KindRejected, "tried 4 times", false},
		"reset":                  {wandbtest.Fault{Reset: true}, KindNetwork, "cannot be reached", false},
		"reset after it is done": {wandbtest.Fault{Reset: true, After: true}, KindNetwork, "tried 4 times", false},
		"500 after it is done":   {wandbtest.Fault{Status: 500, After: true}, KindServer, "tried 4 times", false},
		"HTML under 200":         {wandbtest.Fault{Body: html}, KindResponse, "an HTML page instead of JSON", true},
		"errors under 200":       {wandbtest.Fault{Body: echo}, KindRejected, "bad key [redacted]", true},
		"error under 200":        {wandbtest.Fault{Body: `{"error":"odd"}`}, KindRejected, ": odd", true},
		"error object under 200": {wandbtest.Fault{Body: `{"error":{"message":"odd"},"data":null}`}, KindRejected, ": odd", true},
		"not an object":          {wandbtest.Fault{Body: `[1]`}, KindResponse, "not from a W&B server", true},
	}
	// What only GraphQL responses must have.
	graphql := map[string]fault{
		"empty data":   {wandbtest.Fault{Body: `{"data":{}}`}, KindResponse, "the response names no", true},
		"no data":      {wandbtest.Fault{Body: `{}`}, KindResponse, "without data", true},
		"empty":        {wandbtest.Fault{}, KindResponse, "an empty response", true},
		"odd data":     {wandbtest.Fault{Body: `{"data":"x"}`}, KindResponse, "without data", true},
		"cut response": {wandbtest.Fault{Body: `{"data":{"upse`}, KindResponse, "not JSON", true},
	}
	// The responses of a file storage are not read.
	unread := []string{"HTML under 200", "errors under 200", "error under 200", "error object under 200", "not an object"}

	for _, op := range []string{"RunResumeStatus", "UpsertBucket", "CreateRunFiles", "PUT", "file_stream"} {
		cases := map[string]fault{}
		for name, f := range faults {
			if op != "PUT" || !slices.Contains(unread, name) {
				cases[name] = f
			}
		}
		for name, f := range graphql {
			// Without a model in the response, there is no run yet.
			if op == "UpsertBucket" || op == "CreateRunFiles" || op == "RunResumeStatus" && name != "empty data" {
				cases[name] = f
			}
		}
		cases["409"] = fault{wandbtest.Fault{Status: 409, Body: "x"}, KindConflict, "another program writes", op != "UpsertBucket"}
		for name, f := range cases {
			t.Run(op+"/"+name, func(t *testing.T) {
				t.Parallel()
				f.fault.Op = op
				for _, times := range []func(wandbtest.Fault) wandbtest.Fault{always, once} {
					b := newBench(t)
					set := times(f.fault)
					b.backend.Fail(set)
					got, err := b.Send(context.Background(), event(), Target{})
					text := strings.Join(got.Warnings, "\n")
					if err != nil {
						text += err.Error()
					}
					noSecrets(t, text, "token=1", "u:pw@")
					noSecrets(t, fmt.Sprintf("%+v %#v", got, err))
					tries := 0
					for _, o := range b.backend.Ops() {
						if o == op {
							tries++
						}
					}
					run := b.backend.Run("ent0", "p", "vobs-1")
					files := op == "CreateRunFiles" || op == "PUT"
					switch {
					case !f.final && set.Times == 1:
						if err != nil || text != "" {
							t.Errorf("once: got %q, want that it is tried again", text)
						}
						want(t, "tries", tries, 2)
						want(t, "rows", len(run.History()), 2)
						want(t, "file", len(run.Files), 1)
						continue
					case f.final:
						want(t, "tries", tries, 1)
					default:
						want(t, "tries", tries, 4)
						want(t, "waits", fmt.Sprint(b.clock.waits()), "[1s 2s 4s]")
					}
					if !strings.Contains(text, f.text) || !strings.Contains(text, map[bool]string{false: op, true: "upload of"}[op == "PUT"]) {
						t.Errorf("got %q, want %q in it", text, f.text)
					}
					if files {
						// The figures matter more than a file.
						if err != nil {
							t.Error(err)
						}
						want(t, "warnings", len(got.Warnings), 1)
						want(t, "rows", len(run.History()), 2)
						want(t, "uploaded", len(run.Uploaded), 0)
						continue
					}
					e, ok := errors.AsType[*Error](err)
					if !ok {
						t.Fatalf("got %v", err)
					}
					want(t, "kind", e.Kind, f.kind)
					want(t, "temporary", e.Temporary(), !f.final)
					if op == "file_stream" {
						if !strings.Contains(text, "was created, none of its figures was sent") || got.URL == "" {
							t.Errorf("got %q and %+v", text, got)
						}
					} else if !strings.Contains(text, "nothing was sent") {
						t.Errorf("got %q", text)
					}
				}
			})
		}
	}
}

// A request whose response was lost is sent again, and its rows are stored once.
func TestLostResponse(t *testing.T) {
	b := newBench(t)
	b.backend.Put(job())
	b.backend.Fail(wandbtest.Fault{Op: "file_stream", Reset: true, After: true, Times: 2})
	if _, err := b.Send(context.Background(), event(), Target{JobRunID: "job1", JobLog: jobLog()}); err != nil {
		t.Fatal(err)
	}
	kept(t, b)
	want(t, "rows", len(b.backend.Run("ent0", "p", "job1").History()), 5)
	var bodies []string
	for _, r := range b.backend.Requests() {
		if r.Op == "file_stream" {
			bodies = append(bodies, string(r.Body))
		}
	}
	want(t, "different requests", len(slices.Compact(bodies)), 1)
}

func TestRetryAfter(t *testing.T) {
	date := ended.Add(31 * time.Second).Format(http.TimeFormat) // the clock is a second later
	for header, c := range map[string]struct {
		times    int
		deadline time.Duration
		waits    string
		text     string
	}{
		"7":        {times: 1, waits: "[7s]"},
		"0.5":      {times: 1, waits: "[500ms]"},
		date:       {times: 1, waits: "[29.75s]"},
		"0":        {times: 6, waits: "[0s 0s 0s 0s 0s 0s]"},
		"rubbish":  {times: 1, waits: "[1s]"},
		"-5":       {times: 1, waits: "[1s]"},
		"1e300":    {times: 1, waits: "[1s]"},
		"3600":     {deadline: 30 * time.Second, waits: "[]", text: "the next try is due in 1h0m0s, but less time is left"},
		"infinity": {times: 1, waits: "[1s]"},
	} {
		t.Run(header, func(t *testing.T) {
			b := newBench(t)
			b.backend.Fail(wandbtest.Fault{Op: "UpsertBucket", Status: 429, Times: c.times, Header: map[string]string{"Retry-After": header}})
			ctx := context.Background()
			if c.deadline > 0 {
				var cancel func()
				b.clock.t = time.Now()
				ctx, cancel = context.WithTimeout(ctx, c.deadline)
				defer cancel()
			}
			_, err := b.Send(ctx, event(), Target{})
			want(t, "waits", fmt.Sprint(b.clock.waits()), c.waits)
			if (err != nil) != (c.text != "") || err != nil && !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %q", err, c.text)
			}
		})
	}
}

// The backoff grows, is bounded, and has random jitter.
func TestBackoff(t *testing.T) {
	b := newBench(t)
	b.Jitter = func() float64 { return 1 }
	b.backend.Fail(wandbtest.Fault{Op: "UpsertBucket", Status: 500, Times: 3})
	if _, err := b.Send(context.Background(), event(), Target{}); err != nil {
		t.Fatal(err)
	}
	want(t, "waits", fmt.Sprint(b.clock.waits()), "[1.25s 2.5s 5s]")
}

// A server that never answers: each request is bounded, and all of them by the context,
// whose end ends a request or a pause at once.
func TestHang(t *testing.T) {
	t.Run("once", func(t *testing.T) {
		b := newBench(t)
		b.Timeout = 200 * time.Millisecond
		b.backend.Fail(wandbtest.Fault{Op: "UpsertBucket", Hang: true, Times: 1})
		if _, err := b.Send(context.Background(), event(), Target{}); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("always", func(t *testing.T) {
		b := newBench(t)
		b.Timeout = 20 * time.Millisecond
		b.backend.Fail(wandbtest.Fault{Op: "UpsertBucket", Hang: true})
		_, err := b.Send(context.Background(), event(), Target{})
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Kind != KindTimeout || e.Tries != 4 || !strings.Contains(err.Error(), "no response within 20ms") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("kinds", func(t *testing.T) {
		for op, of := range map[string]func(*Client) *time.Duration{
			"file_stream": func(c *Client) *time.Duration { return &c.RowsTimeout },
			"PUT":         func(c *Client) *time.Duration { return &c.FilesTimeout },
		} {
			b := newBench(t)
			b.Timeout = time.Hour
			*of(b.Client) = 20 * time.Millisecond
			b.backend.Fail(wandbtest.Fault{Op: op, Hang: true})
			result, err := b.Send(context.Background(), event(), Target{})
			if text := fmt.Sprint(err, result.Warnings); !strings.Contains(text, "no response within 20ms") {
				t.Errorf("%s: %s", op, text)
			}
		}
	})
	for _, op := range []string{"RunResumeStatus", "UpsertBucket", "file_stream", "PUT"} {
		for name, end := range map[string]error{"deadline": context.DeadlineExceeded, "cancelled": context.Canceled} {
			if op != "file_stream" && end == context.DeadlineExceeded {
				continue // all behave alike, and each takes its time here
			}
			t.Run(op+"/"+name, func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				b.clock.t = time.Now()
				b.Timeout = time.Hour
				b.backend.Fail(wandbtest.Fault{Op: op, Hang: true})
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				if end == context.DeadlineExceeded {
					ctx, cancel = context.WithTimeout(ctx, 500*time.Millisecond)
					defer cancel()
				} else {
					go func() {
						for !slices.Contains(b.backend.Ops(), op) {
							time.Sleep(time.Millisecond)
						}
						cancel()
					}()
				}
				_, err := b.Send(ctx, event(), Target{})
				if !errors.Is(err, end) {
					t.Errorf("got %v, want %v", err, end)
				}
				done := map[string]string{"file_stream": "was created, none of its figures was sent", "PUT": "was created, none of its figures was sent"}[op]
				if done == "" {
					done = "nothing was sent"
				}
				if err == nil || !strings.Contains(err.Error(), done) {
					t.Errorf("got %v, want %q", err, done)
				}
			})
		}
	}
	t.Run("while waiting", func(t *testing.T) {
		b := newBench(t)
		b.Sleep = nil
		b.backend.Fail(wandbtest.Fault{Op: "UpsertBucket", Status: 429, Header: map[string]string{"Retry-After": "3600"}})
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			for !slices.Contains(b.backend.Ops(), "UpsertBucket") {
				time.Sleep(time.Millisecond)
			}
			cancel()
		}()
		if _, err := b.Send(ctx, event(), Target{}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("while lagging", func(t *testing.T) {
		b := newBench(t)
		b.backend.Put(job())
		b.backend.Lag("ent0", "p", "job1", 99, 0, "")
		ctx, cancel := context.WithCancel(context.Background())
		b.Sleep = func(ctx context.Context, _ time.Duration) error { cancel(); return ctx.Err() }
		if _, err := b.Send(ctx, event(), Target{JobRunID: "job1", JobLog: jobLog()}); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "nothing was sent") {
			t.Errorf("got %v", err)
		}
		kept(t, b)
	})
}

// A file storage that hangs takes half of the time; the other half is for the figures.
func TestFilesLeaveTimeForFigures(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.clock.t = time.Now()
	b.backend.Fail(wandbtest.Fault{Op: "PUT", Hang: true})
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	got, err := b.Send(ctx, event(), Target{})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "upload of vobs-event.json") {
		t.Errorf("warnings: %q", got.Warnings)
	}
	want(t, "rows", len(b.backend.Run("ent0", "p", "vobs-1").History()), 2)
}

// There is no server, or not the expected one.
func TestNoServer(t *testing.T) {
	quiet := log.New(io.Discard, "", 0)
	closed := refusing(t)
	secure := httptest.NewUnstartedServer(wandbtest.New())
	secure.Config.ErrorLog = quiet
	secure.StartTLS()
	t.Cleanup(secure.Close)
	garbage, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			c, err := garbage.Accept()
			if err != nil {
				return
			}
			// Only after a request: net/http logs an earlier response as unsolicited.
			_, _ = c.Read(make([]byte, 1))
			_, _ = c.Write([]byte("220 smtp.example.com ESMTP\r\n"))
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = garbage.Close(); <-served })
	plain := httptest.NewServer(wandbtest.New())
	t.Cleanup(plain.Close)
	denying := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(407) }))
	t.Cleanup(denying.Close)
	proxy := func(address string) func(*http.Request) (*url.URL, error) {
		return func(*http.Request) (*url.URL, error) {
			u, err := url.Parse(address)
			if err == nil {
				u.User = url.UserPassword("me", "proxy-secret/9")
			}
			return u, err
		}
	}
	for name, c := range map[string]struct {
		base  string
		proxy func(*http.Request) (*url.URL, error)
		kind  Kind
		text  string
		tries int
	}{
		"refused":               {base: closed, kind: KindNetwork, text: "connection refused", tries: 4},
		"user information":      {base: strings.Replace(closed, "://", "://me:base-secret@", 1), kind: KindNetwork, text: "at " + closed + "/graphql", tries: 4},
		"no TLS to trust":       {base: secure.URL, kind: KindTLS, text: "SSL_CERT_FILE", tries: 1},
		"TLS to a plain server": {base: strings.Replace(plain.URL, "http:", "https:", 1), kind: KindAddress, text: "does not speak TLS", tries: 1},
		"another protocol":      {base: "http://" + garbage.Addr().String(), kind: KindResponse, text: "malformed HTTP", tries: 1},
		"odd scheme":            {base: "ftp://x", kind: KindAddress, text: "unsupported protocol scheme", tries: 1},
		"no address":            {base: "http://me:base-secret@[::1", kind: KindAddress, text: "an invalid address", tries: 1},
		"no host":               {base: "http://", kind: KindAddress, text: "no Host", tries: 1},
		"dead proxy":            {base: "http://api.wandb.invalid", proxy: proxy(closed), kind: KindProxy, text: "check WANDB_HTTPS_PROXY", tries: 4},
		"dead proxy to TLS":     {base: "https://api.wandb.invalid", proxy: proxy(closed), kind: KindProxy, text: "connection refused", tries: 4},
		"denying proxy":         {base: "http://api.wandb.invalid", proxy: proxy(denying.URL), kind: KindProxy, text: "HTTP 407", tries: 1},
		"denying proxy to TLS":  {base: "https://api.wandb.invalid", proxy: proxy(denying.URL), kind: KindProxy, text: "it refuses to connect: HTTP 407 Proxy Authentication Required", tries: 1},
		"odd proxy":             {base: plain.URL, proxy: func(*http.Request) (*url.URL, error) { return nil, errors.New("no proxy like that") }, kind: KindNetwork, text: "no proxy like that", tries: 4},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.BaseURL, b.Proxy = c.base, c.proxy
			_, err := b.Send(context.Background(), event(), Target{})
			e, ok := errors.AsType[*Error](err)
			if !ok {
				t.Fatalf("got %v", err)
			}
			want(t, "kind", e.Kind, c.kind)
			want(t, "tries", e.Tries, c.tries)
			if !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %q, want %q in it", err, c.text)
			}
			noSecrets(t, err.Error(), "proxy-secret", "base-secret", "me:")
		})
	}
}

// refusing returns an address that refuses connections: a port that is bound, so that no
// other test gets it, without a listener.
func refusing(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("http://127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
}

// A server with a self-signed certificate, which the user allows.
func TestInsecureTLS(t *testing.T) {
	backend := wandbtest.New()
	server := httptest.NewTLSServer(backend)
	t.Cleanup(server.Close)
	b := newBench(t)
	b.BaseURL, b.InsecureTLS = server.URL, true
	got, err := b.Send(context.Background(), event(), Target{})
	if err != nil || len(got.Warnings) > 0 {
		t.Fatal(got, err)
	}
	want(t, "file", len(backend.Run("ent0", "p", "vobs-1").Files), 1)
}

// No redirect is followed: the key is sent only to its own server.
func TestRedirect(t *testing.T) {
	other := wandbtest.New()
	elsewhere := httptest.NewServer(other)
	t.Cleanup(elsewhere.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		b := newBench(t)
		b.backend.Fail(wandbtest.Fault{Status: status, Header: map[string]string{"Location": elsewhere.URL + "/graphql"}})
		_, err := b.Send(context.Background(), event(), Target{})
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Kind != KindRedirect || !strings.Contains(err.Error(), elsewhere.URL) {
			t.Errorf("%d: got %v", status, err)
		}
	}
	want(t, "requests elsewhere", len(other.Requests()), 0)
}

// An endless response is cut off.
func TestResponseIsBounded(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 1<<20)
		for {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	b := newBench(t)
	b.BaseURL = server.URL
	_, err := b.Send(context.Background(), event(), Target{})
	if err == nil || !strings.Contains(err.Error(), "more than 32 MiB") {
		t.Errorf("got %v", err)
	}
}

// The server returns unusable addresses for files.
func TestUnusableUploadAddresses(t *testing.T) {
	for body, text := range map[string]string{
		`{"data":{"createRunFiles":{"files":[]}}}`:                                                                "has no address for it",
		`{"data":{"createRunFiles":{"files":[{"name":"vobs-event.json","uploadUrl":""}]}}}`:                       "has no address for it",
		`{"data":{"createRunFiles":{"files":[{"name":"vobs-event.json","uploadUrl":"ftp://x/y"}]}}}`:              "no usable address",
		`{"data":{"createRunFiles":{"files":[{"name":"vobs-event.json","uploadUrl":"file:///etc/passwd"}]}}}`:     "no usable address",
		`{"data":{"createRunFiles":{"files":[{"name":"vobs-event.json","uploadUrl":"http://[x"}]}}}`:              "no usable address",
		`{"data":{"createRunFiles":{"files":[{"name":"vobs-event.json","uploadUrl":"/storage/x?signature=a"}]}}}`: "HTTP 404",
	} {
		b := newBench(t)
		b.backend.Fail(wandbtest.Fault{Op: "CreateRunFiles", Body: body})
		got, err := b.Send(context.Background(), event(), Target{})
		if err != nil || len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], text) {
			t.Errorf("%s: got %q, %v; want %q", body, got.Warnings, err, text)
		}
	}
	b := newBench(t)
	b.backend.Fail(wandbtest.Fault{Op: "CreateRunFiles", Body: `{"data":{"createRunFiles":{"uploadHeaders":["X-Extra: 1","broken"],"files":[{"name":"vobs-event.json","uploadUrl":"/storage/ent0/p/vobs-1/vobs-event.json?signature=s3cr3t"}]}}}`})
	if got, err := b.Send(context.Background(), event(), Target{}); err != nil || len(got.Warnings) > 0 {
		t.Fatal(got, err)
	}
	for _, r := range b.backend.Requests() {
		if r.Op == "PUT" {
			want(t, "header", r.Header.Get("X-Extra"), "1")
		}
	}
}

// Responses to UpsertBucket that lack something.
func TestIncompleteResponses(t *testing.T) {
	for bucket, text := range map[string]string{
		`null`: "names no run",
		`{"name":"","project":{"name":"p","entity":{"name":"e"}}}`: "names no run",
		`{"name":"x"}`: "names no project",
		`{"name":"x","project":{"name":"","entity":{"name":"e"}}}`: "names no project",
		`{"name":"x","project":{"name":"p"}}`:                      "names no entity",
		`{"name":"x","project":{"name":"p","entity":{"name":""}}}`: "names no entity",
	} {
		b := newBench(t)
		b.backend.Fail(wandbtest.Fault{Op: "UpsertBucket", Body: `{"data":{"upsertBucket":{"bucket":` + bucket + `}}}`})
		if _, err := b.Send(context.Background(), event(), Target{}); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: got %v, want %q", bucket, err, text)
		}
	}
}
