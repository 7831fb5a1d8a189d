package probe

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/probe/scrape"
)

// player feeds pages to a Prober at simulated times, as its own polls would: without a
// server, without waiting, and with the same report every time.
type player struct {
	t     *testing.T
	p     *Prober
	began time.Time // when the command started
	// version is each endpoint's response at /version.
	version string
	// answers are each endpoint's responses at other paths; "" is a 404.
	answers map[configQuery]string
}

func newPlayer(t *testing.T, targets ...scrape.Target) *player {
	t.Helper()
	pl := &player{t: t, p: New(Config{}), began: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), version: "0.32.0"}
	for _, tg := range targets {
		pl.p.Add(tg)
	}
	return pl
}

// at feeds a page to the nth endpoint, seconds after the command's start.
func (pl *player) at(seconds float64, n int, ph phase, full bool, page string) {
	pl.t.Helper()
	pl.late(seconds, 8*time.Millisecond, n, ph, full, page)
}

// late is at for a page whose request took that long.
func (pl *player) late(seconds float64, latency time.Duration, n int, ph phase, full bool, page string) {
	pl.t.Helper()
	pl.p.started = pl.began
	e := pl.p.endpoints[n]
	if !full {
		page = filteredPage(page)
	}
	if err := e.parse(strings.NewReader(page)); err != nil {
		pl.t.Fatal(err)
	}
	at := pl.began.Add(time.Duration(seconds * float64(time.Second)))
	if _, err := e.ingest(at, scrape.Response{Latency: latency, Complete: true, Bytes: int64(len(page))}, full, ph); err != nil {
		pl.t.Fatal(err)
	}
	pl.answer(e)
}

// answer records an endpoint's responses to the configuration queries.
func (pl *player) answer(e *endpoint) {
	for q := range numConfigQueries {
		resp, body := scrape.Response{Reached: true}, pl.answers[q]
		if q == queryVersion && pl.version != "" {
			body = `{"version":"` + pl.version + `"}`
		}
		if body == "" {
			resp.Err = &scrape.StatusError{Status: http.StatusNotFound}
		}
		e.recordAnswer(q, []byte(body), resp)
	}
}

// report returns the report if the command ended at that second and the engines settled.
func (pl *player) report(ended float64) aggregate.Output {
	settled := map[*endpoint]bool{}
	for _, e := range pl.p.endpoints {
		settled[e] = true
	}
	report := pl.p.aggregate(pl.p.selected(), settled, pl.began.Add(time.Duration(ended*float64(time.Second))))
	checkNulls(pl.t, report)
	return report
}

// runPages are the pages of one endpoint's run.
type runPages struct{ pre, load, post string }

// run plays the usual run on all endpoints: a reading before the start, polls under load
// each second from 1 to 9 and near both ends, the command's end at 10 s and two final pages.
func (pl *player) run(endpoints ...runPages) {
	pl.t.Helper()
	each := func(seconds float64, ph phase, full bool, page func(runPages) string) {
		for n, e := range endpoints {
			if page := page(e); page != "" {
				pl.at(seconds, n, ph, full, page)
			}
		}
	}
	each(-0.1, phaseBefore, true, func(e runPages) string { return e.pre })
	load := func(e runPages) string { return e.load }
	each(0.1, phaseDuring, false, load)
	for s := 1; s < 10; s++ {
		each(float64(s), phaseDuring, s%5 == 1, load)
	}
	each(9.9, phaseDuring, false, load)
	each(10.1, phaseAfter, true, func(e runPages) string { return e.post })
	each(10.2, phaseAfter, true, func(e runPages) string { return e.post })
}
