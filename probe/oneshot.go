package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/vobs/vobs/internal/vllm"
	"github.com/vobs/vobs/probe/exposition"
	"github.com/vobs/vobs/probe/scrape"
)

// Listening reports whether something accepts connections at t. Before the command
// starts a server, that is a foreign one.
func Listening(ctx context.Context, t scrape.Target) bool {
	network, address := "tcp", scrape.HostPort(t.URL.Hostname(), t.URL.Port())
	switch {
	case t.Socket != "":
		network, address = "unix", t.Socket
	case t.URL.Port() == "":
		address = net.JoinHostPort(t.URL.Hostname(), map[string]string{"http": "80", "https": "443"}[t.URL.Scheme])
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// Check scrapes t once, for --strict. It returns nil if the page has vLLM samples, or is a
// dcgm-exporter's.
func Check(ctx context.Context, cfg Config, t scrape.Target) error {
	p := New(cfg)
	p.Add(t)
	defer p.cancel()
	e := p.endpoints[0]
	defer e.client.Close()
	if _, err := e.read(ctx, true, phaseBefore); err != nil {
		return fmt.Errorf("no engine: %w", err)
	}
	return nil
}

// Fetch returns the whole page at t as the server sent it.
func Fetch(ctx context.Context, cfg Config, t scrape.Target) (page []byte, err error) {
	c := cfg.newClient(t)
	defer c.Close()
	resp := c.Scrape(ctx, false, func(r io.Reader) (err error) {
		page, err = io.ReadAll(r)
		if err == nil && exposition.IsOpenMetrics(c.ContentType) && !exposition.EndsInEOF(page) {
			err = exposition.ErrNoEOF
		}
		return err
	})
	return page, resp.Err
}

// Health requests /health once, on its own connection, and returns the status code. vLLM
// returns 200, and 503 once it knows that its engine is dead
// (vllm/entrypoints/serve/instrumentator/health.py).
func Health(ctx context.Context, cfg Config, t scrape.Target) (status int, err error) {
	c := cfg.newClient(t)
	defer c.Close()
	_, resp := c.Get(ctx, vllm.HealthPath, "")
	var statusErr *scrape.StatusError
	switch {
	case resp.Err == nil:
		return http.StatusOK, nil
	case errors.As(resp.Err, &statusErr):
		return statusErr.Status, nil
	}
	return 0, resp.Err
}
