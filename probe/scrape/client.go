package scrape

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

const (
	// requestTimeout is the longest that one request may take, body included.
	requestTimeout = 2 * time.Second
	// maxBody is the largest page that is read, in bytes, on the wire and decompressed.
	maxBody = 64 << 20
	// maxBeside is the largest answer of another path, unless more is asked for.
	maxBeside = 64 << 10
	// maxHeader is the largest header of an answer.
	maxHeader = 256 << 10
	// maxRedirects is how many redirections are followed, on one server.
	maxRedirects = 3
	// maxReason is the longest that an error of other people's making may be, in bytes.
	maxReason = 300
)

// ErrTooLarge is returned for a page of more than maxBody bytes.
var ErrTooLarge = fmt.Errorf("the page is larger than %d MiB: is it a /metrics page?", maxBody>>20)

// Client asks one server. It keeps one connection; net/http itself asks once
// more on a new one where the server closed a kept one meanwhile (uvicorn does
// so after 5 s without a request). It serves one request at a time.
type Client struct {
	transport *http.Transport
	target    Target
	headers   http.Header
	// full and filtered ask for the page and for PollNames alone, in the spelling
	// polls; they are made once.
	full, filtered *http.Request
	Filter         metrics.Naming
	unzip          *gzip.Reader // nil until a server compresses
	cancelDial     context.CancelFunc
	// Timeout bounds one request, limit the answer of another path in bytes.
	Timeout time.Duration
	Limit   int64
	// ContentType is that of the answer being read.
	ContentType string
}

func NewClient(t Target, headers http.Header, ca *x509.CertPool) *Client {
	// A dialling outlives the request that it was for; it ends with the client.
	life, hangUp := context.WithCancel(context.Background())
	dialer := &net.Dialer{}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		defer context.AfterFunc(life, cancel)()
		if t.Socket != "" {
			network, address = "unix", t.Socket
		}
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil || t.URL.Scheme != "https" {
			return conn, err
		}
		_, loopback := t.Loopback()
		// A server on this host has a certificate for another name, or its own.
		secured := tls.Client(conn, &tls.Config{ServerName: t.URL.Hostname(), RootCAs: ca, InsecureSkipVerify: loopback && ca == nil})
		if err := secured.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		return secured, nil
	}
	c := &Client{
		target: t, headers: headers, cancelDial: hangUp, Timeout: requestTimeout, Limit: maxBeside,
		transport: &http.Transport{
			Proxy:                  nil, // an engine is asked directly
			DisableCompression:     true,
			MaxConnsPerHost:        1,
			MaxIdleConns:           1,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: maxHeader,
			DialContext:            dial,
			DialTLSContext:         dial,
		},
	}
	c.full = c.request(t.URL)
	c.SetFilter(metrics.Native, false)
	return c
}

// SetFilter makes the filtered request, for the names as the server spells them, those
// of vllm-omni with them or not.
func (c *Client) SetFilter(s metrics.Naming, omni bool) {
	u := *c.target.URL
	u.Path = strings.TrimSuffix(u.Path, "/") + "/"
	u.RawQuery = url.Values{"name[]": metrics.PollNamesIn(s, omni)}.Encode()
	c.filtered, c.Filter = c.request(&u), s
}

func (c *Client) request(u *url.URL) *http.Request {
	req := &http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: http.Header{}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	req.Header.Set("Accept", "text/plain;version=0.0.4, */*;q=0.1")
	// Without it any encoding may come; compressing costs the server and saves nothing here.
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", "vobs")
	if u.User != nil {
		password, _ := u.User.Password()
		req.SetBasicAuth(u.User.Username(), password)
	}
	for name, values := range c.headers {
		if name == "Host" && len(values) > 0 {
			req.Host = values[0]
			continue
		}
		req.Header[name] = values
	}
	return req
}

// Scrape asks for the page, or filtered for the samples of PollNames alone,
// which prometheus_client's own application supports at the path with a slash
// behind it. The page is given to read as it comes.
func (c *Client) Scrape(ctx context.Context, filtered bool, read func(io.Reader) error) Response {
	req := c.full
	if filtered {
		req = c.filtered
	}
	return c.ask(ctx, req, maxBody, read)
}

// Get asks for another path of the same server.
func (c *Client) Get(ctx context.Context, path, query string) ([]byte, Response) {
	u := *c.target.URL
	u.Path, u.RawPath, u.RawQuery = path, "", query
	var body []byte
	a := c.ask(ctx, c.request(&u), c.Limit, func(r io.Reader) (err error) {
		body, err = io.ReadAll(r)
		return err
	})
	return body, a
}

// Response is how a request went.
type Response struct {
	Err error
	// Latency is the time from sending to the last byte that was read.
	Latency time.Duration
	// Reached says that the server answered something.
	Reached bool
	// Complete says that the body told its own end, and came to it: by a length or by
	// chunks. One that ends with the connection may have been cut off.
	Complete bool
	// Bytes is how long its body was, as it came.
	Bytes int64
	// Partial tells what is missing on a page from files.
	Partial error
}

func (c *Client) ask(ctx context.Context, req *http.Request, limit int64, read func(io.Reader) error) (a Response) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	began := time.Now()
	from := limitedBody{ctx: ctx, limit: limit}
	resp, err := c.send(ctx, req)
	if err == nil {
		a.Reached = true
		a.Complete = resp.ContentLength >= 0 || len(resp.TransferEncoding) > 0
		err = c.read(resp, &from, read)
		resp.Body.Close()
	}
	a.Latency, a.Bytes = time.Since(began), from.n
	if !from.ended.IsZero() {
		a.Latency = from.ended.Sub(began)
	}
	var r responseError
	a.Reached = a.Reached || errors.As(err, &r)
	if err != nil {
		a.Err = c.explain(err, a)
	}
	return a
}

// send sends a request and follows redirections on the same server. It stands
// in for http.Client, which copies every header once more for each request.
func (c *Client) send(ctx context.Context, req *http.Request) (*http.Response, error) {
	first := req.URL
	for redirected := 0; ; redirected++ {
		resp, err := c.transport.RoundTrip(req.WithContext(ctx))
		if err != nil {
			return nil, err
		}
		switch resp.StatusCode {
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		default:
			return resp, nil
		}
		resp.Body.Close()
		to, err := resp.Location()
		switch {
		case err != nil:
			return nil, responseError{fmt.Errorf("the server answers %d and tells no address to go on at", resp.StatusCode)}
		case to.Host != first.Host || to.Scheme != first.Scheme:
			return nil, responseError{fmt.Errorf("redirected to another server, %s, which is not asked: give its address if it is the engine", Truncate(to.Scheme+"://"+to.Host))}
		case redirected == maxRedirects:
			return nil, responseError{fmt.Errorf("redirected more than %d times: give the page's own address", maxRedirects)}
		}
		// The user info stays with the first address's headers.
		to.User = nil
		next := *req
		next.URL = to
		req = &next
	}
}

// responseError marks an error that an answer gave rise to.
type responseError struct{ error }

// read gives a body to read, decompressed where the server compressed it unasked.
func (c *Client) read(resp *http.Response, from *limitedBody, read func(io.Reader) error) error {
	if resp.StatusCode != http.StatusOK {
		return &StatusError{resp.StatusCode}
	}
	from.r = resp.Body
	c.ContentType = resp.Header.Get("Content-Type")
	switch encoding := strings.ToLower(strings.TrimSpace(strings.Join(resp.Header.Values("Content-Encoding"), ", "))); encoding {
	case "", "identity":
		return from.cause(read(from))
	case "gzip", "x-gzip":
		if c.unzip == nil {
			c.unzip = &gzip.Reader{}
		}
		if err := c.unzip.Reset(from); err != nil {
			return from.cause(unzipError(err))
		}
		page := &limitedBody{r: c.unzip, ctx: from.ctx, limit: from.limit}
		return from.cause(unzipError(page.cause(read(page))))
	default:
		return fmt.Errorf("the server compresses its answer (%s) although none was asked for: switch that off for this page", Truncate(encoding))
	}
}

func unzipError(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) {
		return fmt.Errorf("the server says that its answer is gzip, and it is not: %w", err)
	}
	return err
}

// limitedBody reads a body up to a limit and as long as the context lasts, also where
// the bytes are here already or come from a decompressor. It keeps the reason
// for which it ended.
type limitedBody struct {
	r        io.Reader
	ctx      context.Context
	limit, n int64
	err      error
	ended    time.Time // when the last byte had come
}

func (s *limitedBody) Read(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if s.err = s.ctx.Err(); s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(b)
	if s.n += int64(n); s.n > s.limit {
		n, err = 0, ErrTooLarge
	}
	if s.err = err; err == io.EOF {
		s.ended = time.Now()
	}
	return n, err
}

// cause is the error of the body itself where it has one, else err.
func (s *limitedBody) cause(err error) error {
	if s.err != nil && s.err != io.EOF {
		return s.err
	}
	return err
}

// StatusError is an answer with a status other than 200.
type StatusError struct{ Status int }

func (e *StatusError) Error() string {
	message := fmt.Sprintf("the server answers %d %s", e.Status, http.StatusText(e.Status))
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		message += ": give what it needs by --metrics-header"
	case http.StatusNotFound:
		message += ": a vLLM server has its page at /metrics"
	}
	return message
}

// explain says what was tried and what a bare error means for the user. The URL
// stays out of it: a query or user info may hold a secret.
func (c *Client) explain(err error, a Response) error {
	var netErr net.Error
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var noTLS tls.RecordHeaderError
	switch {
	case errors.Is(err, context.Canceled):
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		within := max(a.Latency.Round(50*time.Millisecond), 50*time.Millisecond)
		if a.Reached {
			err = fmt.Errorf("no whole answer in time: %d bytes within %v", a.Bytes, within)
		} else {
			err = fmt.Errorf("no answer in time: nothing within %v", within)
		}
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("the answer is cut off after %d bytes: %w", a.Bytes, err)
	case errors.As(err, &unknown), errors.As(err, &host):
		err = fmt.Errorf("%w: give the CA that vouches for it by --metrics-ca", err)
	case errors.As(err, &noTLS):
		err = errors.New("the server does not speak TLS: use http://")
	case errors.Is(err, io.EOF):
		err = fmt.Errorf("the server closed the connection without an answer (%w): is it an HTTP server, or does it need https://?", err)
	case strings.Contains(err.Error(), `malformed HTTP response "\x15\x03`):
		err = errors.New("the server speaks TLS: use https://")
	}
	if len(err.Error()) > maxReason {
		err = errors.New(Truncate(err.Error()))
	}
	return fmt.Errorf("asking %s: %w", c.target.Name(), err)
}

// Truncate shortens what a server made long.
func Truncate(s string) string {
	if len(s) <= maxReason {
		return s
	}
	return strings.ToValidUTF8(s[:maxReason], "") + "…"
}

// IsRefused says whether err means that nobody listens at the address.
func IsRefused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
}

func (c *Client) Close() {
	c.cancelDial()
	c.transport.CloseIdleConnections()
}
