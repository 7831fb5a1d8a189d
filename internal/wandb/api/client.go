// Package api is a client of the server of Weights & Biases over HTTP. It does what the
// newest SDK does (wandb 0.31.0: wandb/core/internal/{api,filestream,runupserter,
// runbranch}): GraphQL for the run's settings and files, file_stream for its rows and
// summary. W&B has no public Go module.
//
// Nothing here may cost a run its result: every wait is bounded by the caller's context,
// every failure is an [*Error] that says what was tried and what to do, and no text of it
// contains a secret.
package api

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	// DefaultTimeout bounds one request if Client.Timeout is 0. The SDK allows 30 s for
	// GraphQL; all of vobs's upload has no more, and one hanging request must not use it
	// up.
	DefaultTimeout = 10 * time.Second
	// maxTries bounds the tries if no response sets the time to wait.
	maxTries = 4
	// maxWait is the longest pause between two tries that vobs chooses itself (the SDK:
	// 60 s, for days).
	maxWait = 8 * time.Second
	// maxResponse bounds a response; a run's whole config and summary come in one.
	maxResponse = 32 << 20
)

// Client is a client of one server with one key. Set its fields before the first use;
// then it is safe for concurrent use. Close it in the end.
type Client struct {
	// BaseURL is the server's address: https://api.wandb.ai, or another server.
	BaseURL string
	// AppURL is the address of the server's pages; "" derives it from BaseURL.
	AppURL string
	// Auth signs requests.
	Auth Auth
	// Username and Email are the person to whom a service account's run belongs
	// (WANDB_USERNAME, WANDB_USER_EMAIL).
	Username, Email string
	// Headers go with every request to BaseURL (WANDB__EXTRA_HTTP_HEADERS).
	Headers map[string]string
	// Proxy chooses a proxy for a request; nil for none.
	Proxy func(*http.Request) (*url.URL, error)
	// InsecureTLS does not verify certificates (WANDB_INSECURE_DISABLE_SSL).
	InsecureTLS bool
	// Timeout bounds each request; 0 is DefaultTimeout. RowsTimeout and FilesTimeout are
	// for rows with a summary and for files; 0 is Timeout.
	Timeout, RowsTimeout, FilesTimeout time.Duration
	// UserAgent names this program and its version.
	UserAgent string

	// Now, Sleep and Jitter (0 to 1) replace the clock and the random numbers in tests.
	Now    func() time.Time
	Sleep  func(context.Context, time.Duration) error
	Jitter func() float64

	once sync.Once
	http *http.Client

	mu sync.Mutex
	// proxySecrets are passwords of proxies that were used.
	proxySecrets []string
}

// Close ends idle connections.
func (c *Client) Close() {
	c.client().CloseIdleConnections()
}

func (c *Client) client() *http.Client {
	c.once.Do(func() {
		transport := &http.Transport{
			MaxIdleConnsPerHost: 2,
			IdleConnTimeout:     30 * time.Second,
			ForceAttemptHTTP2:   true,
		}
		if c.Proxy != nil {
			transport.Proxy = c.proxy
			transport.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, r *http.Response) error {
				if r.StatusCode != http.StatusOK {
					return proxyRefusal(r.StatusCode)
				}
				return nil
			}
		}
		if c.InsecureTLS {
			transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
		}
		c.http = &http.Client{
			Transport: transport,
			// Redirects are never followed: most would turn a POST into a GET, and
			// net/http passes the key to subdomains and other ports, and headers that it
			// does not know to any host.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	})
	return c.http
}

// proxy remembers the password of the proxy, which must not appear in an error.
func (c *Client) proxy(r *http.Request) (*url.URL, error) {
	u, err := c.Proxy(r)
	if u != nil && u.User != nil {
		if password, ok := u.User.Password(); ok {
			c.mu.Lock()
			c.proxySecrets = append(c.proxySecrets, password, url.QueryEscape(password), u.User.String())
			c.mu.Unlock()
		}
	}
	return u, err
}

// base returns BaseURL without a slash at the end.
func (c *Client) base() string { return strings.TrimRight(c.BaseURL, "/") }

// Server returns BaseURL for messages: without a password.
func (c *Client) Server() string { return cleanURL(c.base()) }

// App returns the address of the server's pages.
func (c *Client) App() string {
	if c.AppURL != "" {
		return strings.TrimRight(c.AppURL, "/")
	}
	return AppURL(c.Server())
}

// AppURL returns the address of a server's pages (api_to_app_url of wandb/util.py).
func AppURL(base string) string {
	switch {
	case strings.Contains(base, "://api.wandb.test"):
		return strings.Replace(base, "://api.", "://app.", 1)
	case strings.Contains(base, "://api.wandb."):
		return strings.Replace(base, "://api.", "://", 1)
	}
	return strings.Replace(base, "://api.", "://app.", 1)
}

// RunURL returns the page of a run.
func (c *Client) RunURL(entity, project, id string) string {
	return c.App() + "/" + url.PathEscape(entity) + "/" + url.PathEscape(project) + "/runs/" + url.PathEscape(id)
}

func (c *Client) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// sleep pauses; it returns the context's error if that ends first.
func (c *Client) sleep(ctx context.Context, d time.Duration) error {
	if c.Sleep != nil {
		return c.Sleep(ctx, d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// call is one request, which may be sent several times.
type call struct {
	op     string // for messages: UpsertBucket
	method string
	url    string
	body   []byte
	header http.Header
	// toServer marks a request to BaseURL: it gets the key and the extra headers.
	toServer bool
	// unsigned omits the key from such a request: from the one that fetches a token.
	unsigned bool
	// timeout bounds the request; 0 is Client.Timeout.
	timeout time.Duration
	// retries overrides, by status, whether a failure is temporary.
	retries map[int]bool
	// accept processes the response, or returns what is wrong with it.
	accept func(response) *Error
}

// response is the server's response.
type response struct {
	status int
	header http.Header
	body   []byte
}

// do sends a request until it succeeds, or until no further try can help or would fit
// before the context's deadline.
func (c *Client) do(ctx context.Context, q call) error {
	for try := 1; ; try++ {
		e := c.send(ctx, q)
		if e == nil {
			return nil
		}
		e.Tries = try
		if cause := ctx.Err(); cause != nil {
			return c.clean(e.contextEnded(cause))
		}
		if !e.Temporary() || (try >= maxTries && !e.waitGiven) {
			return c.clean(e)
		}
		wait := e.retryAfter
		if !e.waitGiven {
			wait = min(time.Second<<(try-1), maxWait)
			wait += time.Duration(float64(wait) * 0.25 * c.jitter())
		}
		// A pause that ends with the deadline leaves no time for another try.
		if deadline, ok := ctx.Deadline(); ok && c.now().Add(wait).After(deadline) {
			e.tooLate = wait
			return c.clean(e)
		}
		if err := c.sleep(ctx, wait); err != nil {
			return c.clean(e.contextEnded(err))
		}
	}
}

func (c *Client) jitter() float64 {
	if c.Jitter != nil {
		return c.Jitter()
	}
	return rand.Float64()
}

// send sends a request once.
func (c *Client) send(ctx context.Context, q call) *Error {
	e := &Error{Op: q.op, URL: cleanURL(q.url)}
	timeout := cmp.Or(max(q.timeout, 0), max(c.Timeout, 0), DefaultTimeout)
	each, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(each, q.method, q.url, bytes.NewReader(q.body))
	if err != nil {
		e.Kind, e.Detail = KindAddress, innermost(err)
		return e
	}
	if q.toServer {
		for name, value := range c.Headers {
			req.Header.Set(name, value)
		}
	}
	for name, values := range q.header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", c.UserAgent)
	if q.toServer && !q.unsigned && c.Auth != nil {
		if err := c.Auth.sign(each, c, req); err != nil {
			return authError(err, e)
		}
	}
	resp, err := c.client().Do(req)
	if err != nil {
		return e.transportFailed(err, each, timeout)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse+1))
	switch {
	case err != nil:
		return e.transportFailed(err, each, timeout)
	case len(body) > maxResponse:
		e.Kind, e.Status, e.Detail = KindResponse, resp.StatusCode, "a response of more than 32 MiB"
		return e
	}
	a := response{resp.StatusCode, resp.Header, body}
	if a.status < 200 || a.status > 299 {
		e.statusFailed(a, c.now())
		if retry, special := q.retries[a.status]; special {
			e.retry = retry
		}
		return e
	}
	if q.accept == nil {
		return nil
	}
	if wrong := q.accept(a); wrong != nil {
		wrong.Op, wrong.URL, wrong.Status = e.Op, e.URL, a.status
		return wrong
	}
	return nil
}

// clean removes every secret from an error's texts.
func (c *Client) clean(e *Error) *Error {
	e.scrub(c.secrets())
	return e
}

// secrets returns the texts that no error may contain.
func (c *Client) secrets() []string {
	var out []string
	if c.Auth != nil {
		out = append(out, c.Auth.secrets()...)
	}
	for _, value := range c.Headers {
		out = append(out, value)
	}
	if u, err := url.Parse(c.BaseURL); err == nil && u.User != nil {
		password, _ := u.User.Password()
		out = append(out, password, u.User.String())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return append(out, c.proxySecrets...)
}

// cleanURL returns an address for messages: scheme, host and path. Signed addresses of
// files have their signature in the query.
func cleanURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "an invalid address"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
