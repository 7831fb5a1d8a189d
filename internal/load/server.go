package load

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

const (
	// setupTimeout bounds a request before the load begins.
	setupTimeout = 30 * time.Second
	// idleTimeout is how long a connection without a request is kept: less than the 5 s after
	// which vLLM's server closes it (VLLM_HTTP_TIMEOUT_KEEP_ALIVE in vllm/envs.py), so that no
	// request meets a connection that is being closed.
	idleTimeout = 4 * time.Second
	// maxAnswer is the size limit of an answer that is no stream, in bytes.
	maxAnswer = 8 << 20
	// maxMessage is the length limit of a server's error message, in bytes.
	maxMessage = 300
)

// Server is an OpenAI-compatible server, and how it is reached.
type Server struct {
	base *url.URL // without /v1
	name string
	http *http.Client
	key  string
}

// ServerOptions are how a server is reached.
type ServerOptions struct {
	// Key is sent as a bearer token, if it is not empty.
	Key string
	// CA verifies https servers; nil means the system's CAs, with no verification of a
	// loopback server.
	CA *x509.CertPool
}

// Key returns the key in a text, which is one line.
func Key(text string) (string, error) {
	key := strings.TrimSpace(text)
	if key == "" {
		return "", errors.New("is empty")
	}
	if strings.ContainsAny(key, "\r\n\x00") {
		return "", errors.New("has more than one line")
	}
	return key, nil
}

// NewServer returns the server at an address: http://HOST:PORT, https://… or
// unix:///PATH/TO.sock; /v1 at its end may be left out. Proxies are those of the environment,
// but never for a loopback server or a socket.
func NewServer(address string, o ServerOptions) (*Server, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("the address is not a valid URL: use http://HOST:PORT or unix:///PATH")
	}
	socket := ""
	switch u.Scheme {
	case "http", "https":
		if u.Host == "" {
			return nil, errors.New("the address has no host: use http://HOST:PORT")
		}
	case "unix":
		if u.Host != "" || u.Path == "" {
			return nil, errors.New("the address is not of the form unix:///PATH/TO.sock")
		}
		socket = u.Path
		u = &url.URL{Scheme: "http", Host: "localhost"}
	default:
		return nil, errors.New("the address does not begin with http://, https:// or unix://")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the address has a query: use http://HOST:PORT")
	}
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/v1")
	u.RawPath = ""
	loopback := socket != "" || isLoopback(u.Hostname())
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DisableCompression:  true,
		MaxIdleConnsPerHost: 100_000,
		IdleConnTimeout:     idleTimeout,
		TLSClientConfig:     &tls.Config{RootCAs: o.CA, InsecureSkipVerify: loopback && o.CA == nil},
	}
	if loopback {
		transport.Proxy = nil
	}
	if socket != "" {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}
	}
	name := "unix://" + socket
	if socket == "" {
		name = u.Scheme + "://" + u.Host + u.Path
	}
	noRedirects := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Server{base: u, name: name, key: o.Key, http: &http.Client{Transport: transport, CheckRedirect: noRedirects}}, nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// Name returns the server's address without user info.
func (s *Server) Name() string { return s.name }

// Close closes all connections that serve no request.
func (s *Server) Close() { s.http.CloseIdleConnections() }

// newRequest returns a request for a path; body may be nil.
func (s *Server) newRequest(ctx context.Context, path string, body []byte) (*http.Request, error) {
	method, reader := http.MethodGet, io.Reader(nil)
	if body != nil {
		method, reader = http.MethodPost, bytes.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, s.base.String()+path, reader)
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if s.key != "" {
		r.Header.Set("Authorization", "Bearer "+s.key)
	}
	return r, nil
}

// call sends a request whose answer is one JSON document.
func (s *Server) call(ctx context.Context, path string, body []byte, to any) error {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	request, err := s.newRequest(ctx, path, body)
	if err != nil {
		return err
	}
	response, err := s.http.Do(request)
	if err != nil {
		return s.clean(err, setupTimeout)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	switch {
	case err != nil:
		return s.clean(err, setupTimeout)
	case response.StatusCode != http.StatusOK:
		return &StatusError{response.StatusCode, s.message(text)}
	}
	if err := json.Unmarshal(text, to); err != nil {
		return fmt.Errorf("%s does not answer in JSON: is it an OpenAI-compatible server?", path)
	}
	return nil
}

// StatusError is returned if the server answers with another status than 200 before the load
// begins.
type StatusError struct {
	Status  int
	message string
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("status %d", e.Status)
	if e.message != "" {
		text += ": " + e.message
	}
	return text
}

// message returns a server's error as one line of limited length, without the key.
func (s *Server) message(answer []byte) string {
	text := strings.Join(strings.Fields(failureText(answer)), " ")
	if s.key != "" {
		text = strings.ReplaceAll(text, s.key, "<redacted>")
	}
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	return text
}

// clean drops the URL from an error of net/http, because it may have a password and is known, and
// rewords errors that do not explain themselves. timeout is that of the request.
func (s *Server) clean(err error, timeout time.Duration) error {
	var e *url.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no complete answer within %v", timeout)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the connection broke within the answer")
	case errors.Is(err, io.EOF):
		return errors.New("the server closed the connection without an answer")
	case errors.Is(err, syscall.EMFILE):
		return errors.New("this process has too many open files: raise its limit, ulimit -n, above the number of requests under way")
	}
	return err
}

// model returns the first model that the server serves.
func (s *Server) model(ctx context.Context) (string, error) {
	var answer struct{ Data []struct{ ID string } }
	if err := s.call(ctx, "/v1/models", nil, &answer); err != nil {
		return "", fmt.Errorf("reading the model from /v1/models: %w", err)
	}
	if len(answer.Data) == 0 {
		return "", errors.New("the server serves no model")
	}
	return answer.Data[0].ID, nil
}

// tokenize returns the tokens of a text, by vLLM's /tokenize.
func (s *Server) tokenize(ctx context.Context, model, text string) ([]int, error) {
	body, err := json.Marshal(map[string]any{"model": model, "prompt": text, "add_special_tokens": false})
	if err != nil {
		return nil, err
	}
	var answer struct{ Tokens []int }
	if err := s.call(ctx, "/tokenize", body, &answer); err != nil {
		return nil, err
	}
	return answer.Tokens, nil
}
