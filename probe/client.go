package probe

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
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
	// maxBody is the largest page that is read, in bytes.
	maxBody = 64 << 20
)

// errTooLarge is returned for a page of more than maxBody bytes.
var errTooLarge = fmt.Errorf("the page is larger than %d MiB", maxBody>>20)

// client asks one server. It keeps one connection; net/http itself asks once
// more on a new one where the server closed a kept one meanwhile (uvicorn does
// so after 5 s without a request).
type client struct {
	http    http.Client
	target  Target
	headers http.Header
	body    bytes.Buffer // reused: pages come in every second
}

func newClient(t Target, headers http.Header, ca *x509.CertPool) *client {
	dialer := &net.Dialer{Timeout: requestTimeout}
	transport := &http.Transport{
		Proxy:              nil, // an engine is asked directly
		DisableCompression: true,
		MaxConnsPerHost:    1,
		MaxIdleConns:       1,
		IdleConnTimeout:    time.Minute,
		DialContext:        dialer.DialContext,
	}
	if t.Socket != "" {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", t.Socket)
		}
	}
	if t.URL.Scheme == "https" {
		_, loopback := t.Loopback()
		// A server on this host has a certificate for another name, or its own.
		transport.TLSClientConfig = &tls.Config{RootCAs: ca, InsecureSkipVerify: loopback && ca == nil}
	}
	return &client{
		target:  t,
		headers: headers,
		http: http.Client{
			Transport: transport,
			CheckRedirect: func(req *http.Request, via []*http.Request) error {
				if len(via) > 3 {
					return errors.New("redirected more than 3 times")
				}
				if req.URL.Host != via[0].URL.Host || req.URL.Scheme != via[0].URL.Scheme {
					return fmt.Errorf("redirected to another host, %s", req.URL.Host)
				}
				return nil
			},
		},
	}
}

// metrics asks for the page, or where names are given for the samples of these
// names alone, which prometheus_client's own application supports at the path
// with a slash behind it. The bytes are valid until the next call. wall is the
// time from sending to the last byte.
func (c *client) metrics(ctx context.Context, names []string) (body []byte, wall time.Duration, err error) {
	u := *c.target.URL
	if len(names) > 0 {
		u.Path = strings.TrimSuffix(u.Path, "/") + "/"
		u.RawQuery = url.Values{"name[]": names}.Encode()
	}
	return c.get(ctx, &u)
}

// beside asks for another path of the same server.
func (c *client) beside(ctx context.Context, path string) ([]byte, error) {
	u := *c.target.URL
	u.Path, u.RawQuery = path, ""
	body, _, err := c.get(ctx, &u)
	return body, err
}

func (c *client) get(ctx context.Context, u *url.URL) ([]byte, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, 0, fmt.Errorf("asking %s: %w", c.target.Name(), err)
	}
	req.Header.Set("Accept", "text/plain;version=0.0.4, */*;q=0.1")
	req.Header.Set("User-Agent", "vobs")
	for name, values := range c.headers {
		if name == "Host" {
			req.Host = values[0]
			continue
		}
		req.Header[name] = values
	}
	began := time.Now()
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, 0, c.explain(err)
	}
	defer resp.Body.Close()
	c.body.Reset()
	n, err := c.body.ReadFrom(io.LimitReader(resp.Body, maxBody+1))
	wall := time.Since(began)
	switch {
	case err != nil:
		return nil, wall, c.explain(err)
	case n > maxBody:
		return nil, wall, fmt.Errorf("asking %s: %w", c.target.Name(), errTooLarge)
	case resp.StatusCode != http.StatusOK:
		return nil, wall, &statusError{c.target.Name(), resp.StatusCode}
	}
	return c.body.Bytes(), wall, nil
}

// statusError is an answer with a status other than 200.
type statusError struct {
	name   string
	status int
}

func (e *statusError) Error() string {
	message := fmt.Sprintf("asking %s: the server answers %d %s", e.name, e.status, http.StatusText(e.status))
	if e.status == http.StatusUnauthorized || e.status == http.StatusForbidden {
		message += ": give what it needs by --metrics-header"
	}
	return message
}

// explain drops the URL that net/http puts into its errors (a query or user info
// may hold a secret) and says what a time-out means.
func (c *client) explain(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no whole answer in time")
	}
	return fmt.Errorf("asking %s: %w", c.target.Name(), err)
}

// refused says whether err means that nobody listens at the address.
func refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
}

func (c *client) close() { c.http.CloseIdleConnections() }
