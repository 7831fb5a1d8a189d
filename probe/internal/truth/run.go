package truth

import (
	"context"
	"time"

	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/probe/scrape"
)

// played is a run that has been read, and what happened in it.
type played struct {
	scenario scenario
	output   aggregate.Output
	facts    *simulation
	readings []reading
	// When the command started and ended, since the simulation's beginning.
	started, ended time.Duration
	modelsQueries  int // the reader's own requests to /v1/models
}

// play has a Prober read a run, on the wall clock. listen serves the network's servers
// and returns the dialer to reach them.
func (sc scenario) play(listen func(*network) scrape.DialFunc) (*played, error) {
	epoch := time.Now()
	served, startServed := sc.build(epoch)
	facts, startFacts := sc.build(epoch)
	facts.record()
	n := newNetwork(served, sc.late, sc.seed)
	p := probe.New(probe.Config{Dial: listen(n)})
	defer n.close()
	for _, server := range served.servers {
		t, err := scrape.ParseTarget("http://" + server.address)
		if err != nil {
			return nil, err
		}
		t.MaxNumSeqs = sc.engine.maxNumSeqs
		p.Add(t)
	}
	time.Sleep(sc.history)
	ctx := context.Background()
	p.ScrapeBaseline(ctx)
	started := time.Now()
	out := &played{scenario: sc, facts: facts, started: started.Sub(epoch)}
	n.mu.Lock()
	served.advance(out.started)
	startServed()
	n.mu.Unlock()
	facts.advance(out.started)
	startFacts()
	for !facts.client.ended {
		facts.advance(facts.events[0].at)
	}
	out.ended = facts.client.endedAt
	p.Start(started)
	time.Sleep(out.ended - time.Since(epoch))
	out.output = p.Finish(ctx, time.Now())
	facts.advance(time.Since(epoch) + time.Second)
	n.mu.Lock()
	defer n.mu.Unlock()
	out.readings = n.readings
	for _, server := range served.servers {
		out.modelsQueries += server.modelsQueries
	}
	return out, nil
}
