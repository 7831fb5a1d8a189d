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
	// maxConfigBytes is the largest answer that tells of an engine's configuration; that
	// of vLLM 0.32.0 has 25 kB.
	maxConfigBytes = 4 << 20
	// serverInfoTimeout is the longest that /server_info may take, beside the polls: the
	// first time vLLM runs a dozen programs to describe the system, which took 3.5 s on
	// two cores (0.32.0); later 5 ms.
	serverInfoTimeout = 10 * time.Second
	// maxCharge is what one question counts as at most: a server that waits for
	// programs to end is not at work, and polls are not to wait for it.
	maxCharge   = 20 * time.Millisecond
	devModeHint = "a vLLM server has it with " + vllm.DevModeVariable + "=1 in its environment, which --dev-mode gives to the command"
)

// configQuery is what a server is asked once, beside the polls.
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

func (q configQuery) source() config.Source {
	return [...]config.Source{config.Version, config.Models, config.ServerInfo}[q]
}

// queryConfig asks, beside the polls, what is not known yet of an engine that is up: each
// question once, and at last, after the command's end, once more those that got no
// answer at all.
func (e *endpoint) queryConfig(last bool) {
	if e.client == nil {
		return // files know no answers
	}
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	var todo []configQuery
	for q := range numConfigQueries {
		if s := &e.answers[q]; !s.Answered && (!s.Asked || last) {
			todo = append(todo, q)
		}
	}
	if !e.up || e.querying || len(todo) == 0 || e.whyNotQueryable() != "" {
		return
	}
	e.querying = true
	for _, q := range todo {
		e.answers[q].Asked = true
	}
	asker, process := e.newQueryClient(), e.process
	e.p.queries.Go(func() {
		defer asker.Close()
		e.recoverPanic(func() {
			for _, q := range todo {
				e.query(q, asker, process)
			}
		})
		e.p.mu.Lock()
		e.querying = false
		e.p.mu.Unlock()
	})
}

// whyNotQueryable returns why this server's answers would not describe the engines, or "".
func (e *endpoint) whyNotQueryable() string { return e.counters.WhyNotQueryable(e.target.Name()) }

// newQueryClient is a client of its own, so that no poll waits for it.
func (e *endpoint) newQueryClient() *scrape.Client {
	c := scrape.NewClient(e.target, e.p.cfg.Headers, e.p.cfg.CA)
	c.Limit = maxConfigBytes
	return c
}

// query asks one question, of the endpoint's nth process.
func (e *endpoint) query(q configQuery, asker *scrape.Client, process int) {
	query := ""
	if q == queryServerInfo {
		asker.Timeout, query = serverInfoTimeout, "config_format=json"
	}
	body, a := asker.Get(e.p.queryCtx, q.path(), query)
	var status *scrape.StatusError
	if q == queryServerInfo && errors.As(a.Err, &status) && status.Status >= http.StatusInternalServerError {
		// What one form cannot be made of the other may be.
		body, a = asker.Get(e.p.queryCtx, q.path(), "config_format=text")
	}
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	e.schedule.Spend(min(a.Latency, maxCharge))
	if e.process != process {
		return // another one answers there now
	}
	e.recordAnswer(q, body, a)
}

// recordAnswer takes in an answer. The Prober's lock is held.
func (e *endpoint) recordAnswer(q configQuery, body []byte, a scrape.Response) {
	s := &e.answers[q]
	*s = aggregate.Answer{Asked: true, Answered: a.Reached, Reason: e.queryFailure(q, a)}
	if a.Err != nil {
		return
	}
	var err error
	switch q {
	case queryVersion:
		if s.Values, err = config.FromVersion(body); err == nil {
			e.version, _ = s.Values["vllm_version"].(string)
		}
	case queryModels:
		s.Values, err = config.FromModels(body)
	case queryServerInfo:
		s.Values, s.AsText, err = config.FromServerInfo(body)
	}
	if err != nil {
		s.Reason = scrape.Truncate(fmt.Sprintf("%s at %s: %v", q.path(), e.target.Name(), err))
	}
}

// queryFailure says why a question got no answer; "" where it did.
func (e *endpoint) queryFailure(q configQuery, a scrape.Response) string {
	var status *scrape.StatusError
	switch {
	case a.Err == nil:
		return ""
	case errors.Is(a.Err, scrape.ErrTooLarge):
		return fmt.Sprintf("the answer of %s at %s is larger than %d MiB", q.path(), e.target.Name(), maxConfigBytes>>20)
	case errors.As(a.Err, &status) && status.Status == http.StatusNotFound && q == queryServerInfo:
		return fmt.Sprintf("the server of %s has no %s: %s", e.target.Name(), q.path(), devModeHint)
	case errors.As(a.Err, &status) && status.Status == http.StatusNotFound:
		return fmt.Sprintf("the server of %s has no %s", e.target.Name(), q.path())
	case errors.As(a.Err, &status) && (status.Status == http.StatusUnauthorized || status.Status == http.StatusForbidden):
		return fmt.Sprintf("the server of %s answers %d at %s: give what it needs by --metrics-header", e.target.Name(), status.Status, q.path())
	case errors.As(a.Err, &status):
		return fmt.Sprintf("the server of %s answers %d at %s", e.target.Name(), status.Status, q.path())
	case errors.Is(a.Err, context.Canceled):
		return fmt.Sprintf("the command ended before %s had answered at %s", e.target.Name(), q.path())
	}
	return fmt.Sprintf("%s: %v", q.path(), a.Err)
}

// forget makes the answers of a process that is no more void. The Prober's lock is held.
func (e *endpoint) forget() {
	e.process++
	e.answers = [numConfigQueries]aggregate.Answer{}
	e.version = ""
}

// finishConfigQueries asks what got no answer so far, and waits within ctx for what is
// under way.
func (p *Prober) finishConfigQueries(ctx context.Context, settled []*endpoint) {
	for _, e := range settled {
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
