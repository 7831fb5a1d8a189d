// Package api speaks to the server of Weights & Biases over HTTP, as the newest SDK
// does (wandb 0.31.0: wandb/core/internal/{api,filestream,runupserter,runbranch}):
// GraphQL for the run's settings and files, file_stream for its rows and summary.
// W&B has no public Go module.
//
// Nothing in here may cost a run its result: every wait is bounded by the caller's
// context, every failure is an [*Error] that says what was tried and what to do, and
// no text of it holds a secret.
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
	// DefaultTimeout bounds one request where Client.Timeout does not. The SDK allows
	// 30 s for GraphQL; all of vobs's upload has no more, and one hang must not eat it.
	DefaultTimeout = 10 * time.Second
	// maxTries bounds what is tried where no answer asks for patience.
	maxTries = 4
	// maxWait is the longest pause between two tries that we choose ourselves (the
	// SDK: 60 s, within days).
	maxWait = 8 * time.Second
	// maxAnswer bounds an answer; a run's whole config and summary come in one.
	maxAnswer = 32 << 20
)

// Client speaks to one server with one key. Its fields are set before its first use;
// then it may be used by many goroutines. Close it in the end.
type Client struct {
	// BaseURL is the server's address: https://api.wandb.ai, or a server of one's own.
	BaseURL string
	// AppURL is where people look at runs; "" derives it from BaseURL.
	AppURL string
	// Auth signs requests.
	Auth Auth
	// Username and Email name the person whom a service account's run belongs to
	// (WANDB_USERNAME, WANDB_USER_EMAIL).
	Username, Email string
	// Headers go with every request to BaseURL (WANDB__EXTRA_HTTP_HEADERS).
	Headers map[string]string
	// Proxy chooses a proxy for a request; nil for none.
	Proxy func(*http.Request) (*url.URL, error)
	// InsecureTLS leaves certificates unchecked (WANDB_INSECURE_DISABLE_SSL).
	InsecureTLS bool
	// Timeout bounds each request; 0 is DefaultTimeout. RowsTimeout and FilesTimeout do
	// so for rows with a summary and for files; 0 is Timeout.
	Timeout, RowsTimeout, FilesTimeout time.Duration
	// UserAgent names this program and its version.
	UserAgent string

	// Now, Sleep and Jitter (0 to 1) are the clock's and chance's; nil for the real ones.
	Now    func() time.Time
	Sleep  func(context.Context, time.Duration) error
	Jitter func() float64

	once sync.Once
	http *http.Client

	mu sync.Mutex
	// proxySecrets are passwords of proxies that were met.
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
			// A redirect is never followed: most would turn a POST into a GET, and
			// net/http takes the key along to subdomains and other ports, and headers
			// that it does not know to any host.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	})
	return c.http
}

// proxy remembers the password of the proxy, for it must not show in an error.
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

// base is BaseURL without a slash at its end.
func (c *Client) base() string { return strings.TrimRight(c.BaseURL, "/") }

// Server is BaseURL for people: without a password.
func (c *Client) Server() string { return cleanURL(c.base()) }

// App is where people look at runs.
func (c *Client) App() string {
	if c.AppURL != "" {
		return strings.TrimRight(c.AppURL, "/")
	}
	return AppURL(c.Server())
}

// AppURL is where a server's pages are (api_to_app_url of wandb/util.py).
func AppURL(base string) string {
	switch {
	case strings.Contains(base, "://api.wandb.test"):
		return strings.Replace(base, "://api.", "://app.", 1)
	case strings.Contains(base, "://api.wandb."):
		return strings.Replace(base, "://api.", "://", 1)
	}
	return strings.Replace(base, "://api.", "://app.", 1)
}

// RunURL is the page of a run.
func (c *Client) RunURL(entity, project, id string) string {
	return c.App() + "/" + url.PathEscape(entity) + "/" + url.PathEscape(project) + "/runs/" + url.PathEscape(id)
}

func (c *Client) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// sleep waits; it says why it could not.
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
	op     string // for people: UpsertBucket
	method string
	url    string
	body   []byte
	header http.Header
	// ours says that the request goes to BaseURL: with the key and the extra headers.
	ours bool
	// unsigned leaves the key out of a request of ours: that which fetches a token.
	unsigned bool
	// timeout bounds it; 0 is Client.Timeout.
	timeout time.Duration
	// retries says what of a status that is not the rule: whether it is temporary.
	retries map[int]bool
	// accept takes the answer, or says what is wrong with it.
	accept func(answer) *Error
}

// answer is what the server said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends a request until it is answered, or until no further try can help or
// would fit before the context's deadline.
func (c *Client) do(ctx context.Context, q call) error {
	for try := 1; ; try++ {
		e := c.send(ctx, q)
		if e == nil {
			return nil
		}
		e.Tries = try
		if cause := ctx.Err(); cause != nil {
			return c.clean(e.ended(cause))
		}
		if !e.Temporary() || (try >= maxTries && !e.asked) {
			return c.clean(e)
		}
		wait := e.retryAfter
		if !e.asked {
			wait = min(time.Second<<(try-1), maxWait)
			wait += time.Duration(float64(wait) * 0.25 * c.jitter())
		}
		// A wait that ends with the deadline leaves no time for the try.
		if deadline, ok := ctx.Deadline(); ok && c.now().Add(wait).After(deadline) {
			e.tooLate = wait
			return c.clean(e)
		}
		if err := c.sleep(ctx, wait); err != nil {
			return c.clean(e.ended(err))
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
	if q.ours {
		for name, value := range c.Headers {
			req.Header.Set(name, value)
		}
	}
	for name, values := range q.header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", c.UserAgent)
	if q.ours && !q.unsigned && c.Auth != nil {
		if err := c.Auth.sign(each, c, req); err != nil {
			return asError(err, e)
		}
	}
	resp, err := c.client().Do(req)
	if err != nil {
		return e.network(err, each, timeout)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return e.network(err, each, timeout)
	case len(body) > maxAnswer:
		e.Kind, e.Status, e.Detail = KindAnswer, resp.StatusCode, "an answer of more than 32 MiB"
		return e
	}
	a := answer{resp.StatusCode, resp.Header, body}
	if a.status < 200 || a.status > 299 {
		e.refused(a, c.now())
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

// clean takes every secret out of an error's texts.
func (c *Client) clean(e *Error) *Error {
	e.scrub(c.secrets())
	return e
}

// secrets are the texts that no error may show.
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

// cleanURL is an address for people: scheme, host and path. Signed addresses of
// files carry their signature in the query.
func cleanURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "an address that cannot be read"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
