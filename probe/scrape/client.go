package scrape

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/vobs/vobs/internal/vllm"
	"github.com/vobs/vobs/internal/vllm/metrics"
)

const (
	// requestTimeout is the longest that one request may take, body included.
	requestTimeout = 2 * time.Second
	// maxPage is the size limit of a page in bytes, both on the wire and decompressed.
	maxPage = 64 << 20
	// defaultGetLimit is the size limit of the body of a [Client.Get] in bytes.
	defaultGetLimit = 64 << 10
	// maxHeader is the size limit of a response's header in bytes.
	maxHeader = 256 << 10
	// maxRedirects is how many redirects are followed, all on one server.
	maxRedirects = 3
	// roundTripTimeout bounds a request that measures the round trip. It is not repeated,
	// and the next poll waits for it.
	roundTripTimeout = time.Second
	// maxDrained is how much of a response that is not wanted is read, so that its
	// connection can be kept.
	maxDrained = 4 << 10
	// maxReason is the length limit of text that comes from a server, in bytes.
	maxReason = 300
)

// ErrTooLarge is returned for a page of more than 64 MiB.
var ErrTooLarge = fmt.Errorf("the page is larger than %d MiB: is it a /metrics page?", maxPage>>20)

// Client sends requests to one server over one kept connection. If the server has
// closed that connection meanwhile, net/http retries once on a new one (uvicorn
// closes it after 5 s without a request). A Client serves one request at a time.
type Client struct {
	transport *http.Transport
	target    Target
	headers   http.Header
	// pageRequest is for the whole page, filteredRequest for metrics.PollNames only,
	// as Naming spells them. Both are built once.
	pageRequest, filteredRequest *http.Request
	// Naming is how filtered requests spell the names.
	Naming     metrics.Naming
	gunzip     *gzip.Reader // nil until a server compresses
	cancelDial context.CancelFunc
	// Timeout bounds one request, body included.
	Timeout time.Duration
	// Limit is the size limit of the body of a [Client.Get] in bytes.
	Limit int64
	// ContentType is that of the response being read.
	ContentType string
	// Dial, if set, connects to the server instead of a net.Dialer, for tests on a
	// simulated network.
	Dial DialFunc
}

// DialFunc connects to an address, as [net.Dialer.DialContext] does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// NewClient returns a client of the server at t that sends headers with every
// request. ca verifies https servers; nil means the system's CAs, with no
// verification of a loopback server.
func NewClient(t Target, headers http.Header, ca *x509.CertPool) *Client {
	// net/http lets a dial outlive its request; it must end with the client.
	dialCtx, cancelDial := context.WithCancel(context.Background())
	var c *Client
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		defer context.AfterFunc(dialCtx, cancel)()
		if t.Socket != "" {
			network, address = "unix", t.Socket
		}
		connect := c.Dial
		if connect == nil {
			connect = (&net.Dialer{}).DialContext
		}
		conn, err := connect(ctx, network, address)
		if err != nil || t.URL.Scheme != "https" {
			return conn, err
		}
		_, loopback := t.Loopback()
		// A server on this host has a self-signed certificate, or one for another name.
		secured := tls.Client(conn, &tls.Config{ServerName: t.URL.Hostname(), RootCAs: ca, InsecureSkipVerify: loopback && ca == nil})
		if err := secured.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		return secured, nil
	}
	c = &Client{
		target: t, headers: headers, cancelDial: cancelDial, Timeout: requestTimeout, Limit: defaultGetLimit,
		transport: &http.Transport{
			Proxy:                  nil, // engines are reached directly
			DisableCompression:     true,
			MaxConnsPerHost:        1,
			MaxIdleConns:           1,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: maxHeader,
			DialContext:            dial,
			DialTLSContext:         dial,
		},
	}
	c.pageRequest = c.newRequest(t.URL)
	c.SetFilter(metrics.Native, false)
	return c
}

// SetFilter builds the filtered request for metrics.PollNames as naming spells them,
// with vllm-omni's names if omni is set.
func (c *Client) SetFilter(naming metrics.Naming, omni bool) {
	u := *c.target.URL
	u.Path = strings.TrimSuffix(u.Path, "/") + "/"
	u.RawQuery = url.Values{"name[]": metrics.PollNamesIn(naming, omni)}.Encode()
	c.filteredRequest, c.Naming = c.newRequest(&u), naming
}

func (c *Client) newRequest(u *url.URL) *http.Request {
	req := &http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: http.Header{}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	req.Header.Set("Accept", "text/plain;version=0.0.4, */*;q=0.1")
	// Without this header the server may use any encoding. Compressing costs the server
	// CPU time and saves nothing here.
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

// Scrape requests the whole page, or if filtered only the samples of
// metrics.PollNames: prometheus_client's own application filters by name[] at the
// page's path with a slash appended. It calls read with the body as it arrives.
func (c *Client) Scrape(ctx context.Context, filtered bool, read func(io.Reader) error) Response {
	req := c.pageRequest
	if filtered {
		req = c.filteredRequest
	}
	r := c.do(ctx, req, maxPage, read)
	if r.Err != nil {
		r.Err = fmt.Errorf("scraping %s: %w", c.target.Name(), r.Err)
	}
	return r
}

// Get requests another path of the same server and returns the body.
func (c *Client) Get(ctx context.Context, path, query string) ([]byte, Response) {
	u := *c.target.URL
	u.Path, u.RawPath, u.RawQuery = path, "", query
	var body []byte
	r := c.do(ctx, c.newRequest(&u), c.Limit, func(from io.Reader) (err error) {
		body, err = io.ReadAll(from)
		return err
	})
	if r.Err != nil {
		r.Err = fmt.Errorf("requesting %s from the server at %s: %w", path, c.target.Name(), r.Err)
	}
	return body, r
}

// RoundTrip requests a path that costs the server next to nothing, on the connection of
// the polls, and returns the latency: that of the network, and of whatever else the
// server does. The path is /health beside the page, which load balancers request from
// vLLM all the time (0.25 ms of CPU time in vLLM 0.32.0). On another exporter it is a 404
// page, which costs no more and serves as well.
func (c *Client) RoundTrip(ctx context.Context) (time.Duration, error) {
	u := *c.target.URL
	u.Path, u.RawPath, u.RawQuery = path.Join(path.Dir(strings.TrimSuffix(u.Path, "/")), vllm.HealthPath), "", ""
	ctx, cancel := context.WithTimeout(ctx, roundTripTimeout)
	defer cancel()
	began := time.Now()
	resp, err := c.transport.RoundTrip(c.newRequest(&u).WithContext(ctx))
	if err != nil {
		return 0, fmt.Errorf("requesting %s from the server at %s: %w", u.Path, c.target.Name(), err)
	}
	latency := time.Since(began)
	_, _ = io.CopyN(io.Discard, resp.Body, maxDrained)
	resp.Body.Close()
	return latency, nil
}

// Response is the outcome of a request.
type Response struct {
	Err error
	// Latency is the time from sending the request to the last byte read.
	Latency time.Duration
	// Reached reports whether the server sent any response.
	Reached bool
	// TimedOut reports whether the response was not complete within the client's Timeout.
	TimedOut bool
	// Complete reports whether the body had a length or chunks and came to its end.
	// A body that ends with the connection may have been cut off.
	Complete bool
	// Bytes is the size of the body on the wire.
	Bytes int64
	// Partial is what a page read from files lacks; nil if nothing.
	Partial error
}

// do sends a request and calls read with at most limit bytes of the body.
func (c *Client) do(ctx context.Context, req *http.Request, limit int64, read func(io.Reader) error) (r Response) {
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	began := time.Now()
	body := limitedBody{ctx: ctx, limit: limit}
	resp, err := c.roundTrip(ctx, req)
	if err == nil {
		r.Reached = true
		r.Complete = resp.ContentLength >= 0 || len(resp.TransferEncoding) > 0
		err = c.readBody(resp, &body, read)
		resp.Body.Close()
	}
	r.Latency, r.Bytes = time.Since(began), body.n
	if !body.ended.IsZero() {
		r.Latency = body.ended.Sub(began)
	}
	var refused redirectError
	r.Reached = r.Reached || errors.As(err, &refused)
	if err != nil {
		r.TimedOut = ctx.Err() != nil && outer.Err() == nil
		r.Err = explain(err, r)
	}
	return r
}

// roundTrip sends a request and follows redirects on the same server. It replaces
// http.Client, which copies every header once more for each request.
func (c *Client) roundTrip(ctx context.Context, req *http.Request) (*http.Response, error) {
	first := req.URL
	for redirects := 0; ; redirects++ {
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
			return nil, redirectError{fmt.Errorf("the server answers %d without a usable Location header", resp.StatusCode)}
		case to.Host != first.Host || to.Scheme != first.Scheme:
			return nil, redirectError{fmt.Errorf("redirected to another server, %s, which is not scraped: give its address if it is the engine", Truncate(to.Scheme+"://"+to.Host))}
		case redirects == maxRedirects:
			return nil, redirectError{fmt.Errorf("redirected more than %d times: give the page's own address", maxRedirects)}
		}
		// The first address's user info is already in the headers.
		to.User = nil
		next := *req
		next.URL = to
		req = &next
	}
}

// redirectError is an error about a redirect that is not followed: the server was
// reached.
type redirectError struct{ error }

// readBody calls read with the body of a response, decompressed if the server
// compressed it unasked.
func (c *Client) readBody(resp *http.Response, body *limitedBody, read func(io.Reader) error) error {
	if resp.StatusCode != http.StatusOK {
		return &StatusError{resp.StatusCode}
	}
	body.r = resp.Body
	c.ContentType = resp.Header.Get("Content-Type")
	switch encoding := strings.ToLower(strings.TrimSpace(strings.Join(resp.Header.Values("Content-Encoding"), ", "))); encoding {
	case "", "identity":
		return body.cause(read(body))
	case "gzip", "x-gzip":
		if c.gunzip == nil {
			c.gunzip = &gzip.Reader{}
		}
		if err := c.gunzip.Reset(body); err != nil {
			return body.cause(gunzipError(err))
		}
		page := &limitedBody{r: c.gunzip, ctx: body.ctx, limit: body.limit}
		return body.cause(gunzipError(page.cause(read(page))))
	default:
		return fmt.Errorf("the server compresses the page (%s) although the request does not accept that: turn compression off for this page", Truncate(encoding))
	}
}

func gunzipError(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) {
		return fmt.Errorf("the response is marked as gzip and is not valid gzip: %w", err)
	}
	return err
}

// limitedBody reads a body up to a limit and until the context ends, even if the
// bytes are already buffered or come from a decompressor. It keeps the error that
// ended it.
type limitedBody struct {
	r        io.Reader
	ctx      context.Context
	limit, n int64
	err      error
	ended    time.Time // when the last byte arrived
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.err = b.ctx.Err(); b.err != nil {
		return 0, b.err
	}
	n, err := b.r.Read(p)
	if b.n += int64(n); b.n > b.limit {
		n, err = 0, ErrTooLarge
	}
	if b.err = err; err == io.EOF {
		b.ended = time.Now()
	}
	return n, err
}

// cause returns the error of the body itself if it has one, and err otherwise.
func (b *limitedBody) cause(err error) error {
	if b.err != nil && b.err != io.EOF {
		return b.err
	}
	return err
}

// StatusError is returned for a response with a status other than 200.
type StatusError struct{ Status int }

func (e *StatusError) Error() string {
	message := fmt.Sprintf("the server answers %d %s", e.Status, http.StatusText(e.Status))
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		message += ": give its credentials with --metrics-header, and its address with --metrics-url"
	case http.StatusNotFound:
		message += ": vLLM serves its page at /metrics"
	}
	return message
}

// explain rewrites a bare network error into one that names the remedy. The URL is
// left out: its query or user info may hold a secret.
func explain(err error, r Response) error {
	var netErr net.Error
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var noTLS tls.RecordHeaderError
	switch {
	case errors.Is(err, context.Canceled):
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		within := max(r.Latency.Round(50*time.Millisecond), 50*time.Millisecond)
		if r.Reached {
			err = fmt.Errorf("timed out: an incomplete response of %d bytes within %v", r.Bytes, within)
		} else {
			err = fmt.Errorf("timed out: no response within %v", within)
		}
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("the response is cut off after %d bytes: %w", r.Bytes, err)
	case errors.As(err, &unknown), errors.As(err, &host):
		err = fmt.Errorf("%w: give the CA that signed it with --metrics-ca", err)
	case errors.As(err, &noTLS):
		err = errors.New("the server does not speak TLS: use http://")
	case errors.Is(err, io.EOF):
		err = fmt.Errorf("the server closed the connection without a response (%w): is it an HTTP server, or does it need https://?", err)
	case strings.Contains(err.Error(), `malformed HTTP response "\x15\x03`):
		err = errors.New("the server speaks TLS: use https://")
	}
	if len(err.Error()) > maxReason {
		err = errors.New(Truncate(err.Error()))
	}
	return err
}

// Truncate shortens text that comes from a server to at most 300 bytes and an
// ellipsis.
func Truncate(s string) string {
	if len(s) <= maxReason {
		return s
	}
	return strings.ToValidUTF8(s[:maxReason], "") + "…"
}

// IsRefused reports whether err means that nothing listens at the address: the
// connection was refused, or the socket or directory does not exist.
func IsRefused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
}

// Close closes the connection and ends a dial in progress.
func (c *Client) Close() {
	c.cancelDial()
	c.transport.CloseIdleConnections()
}
