package probe

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/vobs/vobs/internal/vllm/config"
)

const (
	// maxSettings is the largest answer that tells of an engine's configuration; that
	// of vLLM 0.32.0 has 25 kB.
	maxSettings = 4 << 20
	// infoTimeout is the longest that /server_info may take, beside the polls: the
	// first time vLLM runs a dozen programs to describe the system, which took 3.5 s on
	// two cores (0.32.0); later 5 ms.
	infoTimeout = 10 * time.Second
	// maxCharge is what one question counts as at most: a server that waits for
	// programs to end is not at work, and polls are not to wait for it.
	maxCharge   = 20 * time.Millisecond
	devModeHint = "a vLLM server has it with VLLM_SERVER_DEV_MODE=1 in its environment, which --dev-mode gives to the command"
)

// question is what a server is asked once, beside the polls.
type question int

const (
	askVersion question = iota
	askModels
	askServerInfo
	questions
)

func (q question) path() string { return [...]string{"/version", "/v1/models", "/server_info"}[q] }

func (q question) source() config.Source {
	return [...]config.Source{config.Version, config.Models, config.ServerInfo}[q]
}

// wonder asks, beside the polls, what is not known yet of an engine that is up: each
// question once, and at last, after the command's end, once more those that got no
// answer at all.
func (e *endpoint) wonder(last bool) {
	if e.client == nil {
		return // files know no answers
	}
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	var todo []question
	for q := range questions {
		if s := &e.questions[q]; !s.Answered && (!s.Asked || last) {
			todo = append(todo, q)
		}
	}
	if !e.up || e.wondering || len(todo) == 0 || e.unaskable() != "" {
		return
	}
	e.wondering = true
	for _, q := range todo {
		e.questions[q].Asked = true
	}
	asker, process := e.asker(), e.process
	e.p.asking.Go(func() {
		defer asker.close()
		e.guard(func() {
			for _, q := range todo {
				e.put(q, asker, process)
			}
		})
		e.p.mu.Lock()
		e.wondering = false
		e.p.mu.Unlock()
	})
}

// unaskable returns why this server's answers would not describe the engines, or "".
func (e *endpoint) unaskable() string { return e.ledger.whyNotQueryable(e.target.Name()) }

// asker is a client of its own, so that no poll waits for it.
func (e *endpoint) asker() *client {
	c := newClient(e.target, e.p.cfg.Headers, e.p.cfg.CA)
	c.limit = maxSettings
	return c
}

// put asks one question, of the endpoint's nth process.
func (e *endpoint) put(q question, asker *client, process int) {
	query := ""
	if q == askServerInfo {
		asker.timeout, query = infoTimeout, "config_format=json"
	}
	body, a := asker.beside(e.p.askCtx, q.path(), query)
	var status *statusError
	if q == askServerInfo && errors.As(a.err, &status) && status.status >= http.StatusInternalServerError {
		// What one form cannot be made of the other may be.
		body, a = asker.beside(e.p.askCtx, q.path(), "config_format=text")
	}
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	e.pace.charge(min(a.wall, maxCharge))
	if e.process != process {
		return // another one answers there now
	}
	e.hear(q, body, a)
}

// hear takes in an answer. The Prober's lock is held.
func (e *endpoint) hear(q question, body []byte, a answer) {
	s := &e.questions[q]
	*s = Answer{Asked: true, Answered: a.reached, Reason: e.silence(q, a)}
	if a.err != nil {
		return
	}
	var err error
	switch q {
	case askVersion:
		if s.Values, err = config.FromVersion(body); err == nil {
			e.version, _ = s.Values["vllm_version"].(string)
		}
	case askModels:
		s.Values, err = config.FromModels(body)
	case askServerInfo:
		s.Values, s.AsText, err = config.FromServerInfo(body)
	}
	if err != nil {
		s.Reason = clip(fmt.Sprintf("%s at %s: %v", q.path(), e.target.Name(), err))
	}
}

// silence says why a question got no answer; "" where it did.
func (e *endpoint) silence(q question, a answer) string {
	var status *statusError
	switch {
	case a.err == nil:
		return ""
	case errors.Is(a.err, errTooLarge):
		return fmt.Sprintf("the answer of %s at %s is larger than %d MiB", q.path(), e.target.Name(), maxSettings>>20)
	case errors.As(a.err, &status) && status.status == http.StatusNotFound && q == askServerInfo:
		return fmt.Sprintf("the server of %s has no /server_info: %s", e.target.Name(), devModeHint)
	case errors.As(a.err, &status) && status.status == http.StatusNotFound:
		return fmt.Sprintf("the server of %s has no %s", e.target.Name(), q.path())
	case errors.As(a.err, &status) && (status.status == http.StatusUnauthorized || status.status == http.StatusForbidden):
		return fmt.Sprintf("the server of %s answers %d at %s: give what it needs by --metrics-header", e.target.Name(), status.status, q.path())
	case errors.As(a.err, &status):
		return fmt.Sprintf("the server of %s answers %d at %s", e.target.Name(), status.status, q.path())
	case errors.Is(a.err, context.Canceled):
		return fmt.Sprintf("the command ended before %s had answered at %s", e.target.Name(), q.path())
	}
	return fmt.Sprintf("%s: %v", q.path(), a.err)
}

// forget makes the answers of a process that is no more void. The Prober's lock is held.
func (e *endpoint) forget() {
	e.process++
	e.questions = [questions]Answer{}
	e.version = ""
}

// wonderLast asks what got no answer so far, and waits within ctx for what is
// under way.
func (p *Prober) wonderLast(ctx context.Context, settled []*endpoint) {
	for _, e := range settled {
		e.wonder(true)
	}
	done := make(chan struct{})
	go func() {
		p.asking.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	p.stopAsking()
	<-done
}
