package probe

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/vobs/vobs/internal/vllm"
	"github.com/vobs/vobs/internal/vllm/config"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/probe/scrape"
)

const (
	// maxConfigBytes is the size limit of a response with an engine's configuration; that
	// of vLLM 0.32.0 has 25 kB.
	maxConfigBytes = 4 << 20
	// serverInfoTimeout is the longest that /server_info may take, concurrently with the
	// polls. vLLM runs a dozen programs to describe the system at the first request, which
	// took 3.5 s on two idle cores and over 10 s on busy ones (0.32.0); later ones take 5 ms.
	serverInfoTimeout = time.Minute
	// maxQueryCost is the most latency that one query counts for in the schedule: a server
	// that waits for those programs is not at work, and must not delay polls.
	maxQueryCost = 20 * time.Millisecond
	devModeHint  = "vLLM serves it with " + vllm.DevModeVariable + "=1 in its environment, which --dev-mode sets for the command"
)

// configQuery is a query for an engine's configuration. Each is sent once per process,
// concurrently with the polls.
type configQuery int

const (
	queryVersion configQuery = iota
	queryModels
	queryServerInfo
	numConfigQueries
)

func (q configQuery) path() string {
	return [...]string{vllm.VersionPath, vllm.ModelsPath, vllm.ServerInfoPath}[q]
}

// queryConfig starts the queries not yet sent to an engine that is up, or to a server
// without samples, which may be vLLM with --disable-log-stats. After the command's end, with
// last set, it also repeats those that got no response at all.
func (e *endpoint) queryConfig(last bool) {
	if e.client == nil {
		return // files have no configuration
	}
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	var todo []configQuery
	for q := range numConfigQueries {
		if a := &e.answers[q]; !a.Answered && (!a.Asked || last) {
			todo = append(todo, q)
		}
	}
	if !e.up && !e.silent || e.duplicateOf != nil || e.querying || len(todo) == 0 || e.whyNotQueryable() != "" {
		return
	}
	e.querying = true
	for _, q := range todo {
		e.answers[q].Asked = true
	}
	client, restarts := e.newQueryClient(), e.restarts
	e.p.queries.Go(func() {
		defer client.Close()
		e.recoverPanic(func() {
			for _, q := range todo {
				e.query(q, client, restarts)
			}
		})
		e.p.mu.Lock()
		e.querying = false
		e.p.mu.Unlock()
	})
}

// whyNotQueryable returns why this server's answers would not describe the engines, or "".
func (e *endpoint) whyNotQueryable() string { return e.counters.WhyNotQueryable(e.target.Name()) }

// allQueried reports whether every query has been sent. The Prober's lock is held.
func (e *endpoint) allQueried() bool {
	for q := range numConfigQueries {
		if !e.answers[q].Asked && !e.answers[q].Answered {
			return false
		}
	}
	return true
}

// newQueryClient returns a client of its own for queries, so that no poll waits for them.
func (e *endpoint) newQueryClient() *scrape.Client {
	c := e.p.cfg.newClient(e.target)
	c.Limit, c.Dial = maxConfigBytes, e.p.cfg.Dial
	return c
}

// query sends one query and records the answer, unless the process has restarted since
// restarts was read.
func (e *endpoint) query(q configQuery, client *scrape.Client, restarts int) {
	query := ""
	if q == queryServerInfo {
		client.Timeout, query = serverInfoTimeout, "config_format=json"
	}
	body, resp := client.Get(e.p.queryCtx, q.path(), query)
	var status *scrape.StatusError
	if q == queryServerInfo && errors.As(resp.Err, &status) && status.Status >= http.StatusInternalServerError {
		// A configuration that cannot be serialised as JSON may be available as text.
		body, resp = client.Get(e.p.queryCtx, q.path(), "config_format=text")
	}
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	e.schedule.Spend(min(resp.Latency, maxQueryCost))
	if e.restarts == restarts {
		e.recordAnswer(q, body, resp)
	}
}

// recordAnswer stores the answer to a query. The Prober's lock is held.
func (e *endpoint) recordAnswer(q configQuery, body []byte, resp scrape.Response) {
	a := &e.answers[q]
	before := a.Reason
	*a = aggregate.Answer{Asked: true, Answered: resp.Reached, Reason: e.queryFailure(q, resp)}
	if resp.Err != nil {
		if before != "" && scrape.IsRefused(resp.Err) {
			a.Reason = before // that the server has ended since explains less
		}
		return
	}
	var err error
	switch q {
	case queryVersion:
		if a.Values, err = config.FromVersion(body); err == nil {
			e.version, _ = a.Values["vllm_version"].(string)
		}
	case queryModels:
		a.Values, err = config.FromModels(body)
		e.identified = e.identified || config.OwnedByVLLM(body)
	case queryServerInfo:
		if a.Values, a.AsText, err = config.FromServerInfo(body); err == nil {
			a.Reported = config.AllFromServerInfo(body)
			e.identified = true
		}
		a.KVRole = config.KVRole(body)
	}
	if err != nil {
		a.Reason = scrape.Truncate(fmt.Sprintf("%s at %s: %v", q.path(), e.target.Name(), err))
	}
}

// queryFailure returns why a query failed, or "".
func (e *endpoint) queryFailure(q configQuery, resp scrape.Response) string {
	var status *scrape.StatusError
	switch {
	case resp.Err == nil:
		return ""
	case errors.Is(resp.Err, scrape.ErrTooLarge):
		return fmt.Sprintf("the response to %s at %s is larger than %d MiB", q.path(), e.target.Name(), maxConfigBytes>>20)
	case errors.As(resp.Err, &status) && status.Status == http.StatusNotFound && q == queryServerInfo:
		return fmt.Sprintf("the server at %s has no %s: %s", e.target.Name(), q.path(), devModeHint)
	case errors.As(resp.Err, &status) && status.Status == http.StatusNotFound:
		return fmt.Sprintf("the server at %s has no %s", e.target.Name(), q.path())
	case errors.As(resp.Err, &status) && (status.Status == http.StatusUnauthorized || status.Status == http.StatusForbidden):
		return fmt.Sprintf("the server at %s answers %d to %s: give its credentials with --metrics-header, and its address with --metrics-url", e.target.Name(), status.Status, q.path())
	case errors.As(resp.Err, &status):
		return fmt.Sprintf("the server at %s answers %d to %s", e.target.Name(), status.Status, q.path())
	case errors.Is(resp.Err, context.Canceled):
		return fmt.Sprintf("the command ended before the server at %s had responded to %s", e.target.Name(), q.path())
	}
	return resp.Err.Error()
}

// clearAnswers drops the answers of a process that has been replaced. The Prober's lock
// is held.
func (e *endpoint) clearAnswers() {
	e.compareAnswers()
	for q := range numConfigQueries {
		if e.answers[q].Values != nil {
			e.answersBefore[q] = e.answers[q]
		}
	}
	e.restarts++
	e.answers = [numConfigQueries]aggregate.Answer{}
	e.version = ""
}

// finishConfigQueries repeats the queries that got no response so far, and waits within
// ctx for those in progress.
func (p *Prober) finishConfigQueries(ctx context.Context, endpoints []*endpoint) {
	for _, e := range endpoints {
		e.queryConfig(true)
	}
	done := make(chan struct{})
	go func() {
		p.queries.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	p.stopQueries()
	<-done
}
