package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// RecordedFrom is the time at which every recorded scenario begins.
var RecordedFrom = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// Page is the exposition of a scenario's server at one time.
type Page struct {
	At   time.Time
	Text []byte
}

// Recording is a whole scenario, as a poller would have seen it.
type Recording struct {
	// Pages are those that a poll got: there are none while the server is down. The first
	// is from before the first request, the last from after the last one.
	Pages []Page
	// ServerInfo is the server's response at /server_info?config_format=json.
	ServerInfo []byte
	// Totals are the counts of the clients, one per server process: a restart begins a new
	// one.
	Totals []Totals
	// Lost is the number of requests that ended with a server process, and Refused that of
	// requests sent while none ran. No page counts either.
	Lost, Refused int
	// SharedPrefix is the share of the prompt tokens that a perfect prefix cache would have
	// found: full blocks of prefixes that an earlier prompt had, too.
	SharedPrefix float64
}

// Record runs a scenario in simulated time, as fast as possible, and polls its page in
// equal intervals. The same scenario and seed give the same recording.
func Record(s Scenario, seed int64, pollEvery time.Duration) (*Recording, error) {
	return record(s, seed, pollEvery, nil)
}

// record is Record that shows each step to see, unless see is nil.
func record(s Scenario, seed int64, pollEvery time.Duration, see func(*core, *stepRecord)) (*Recording, error) {
	if pollEvery <= 0 {
		return nil, errors.New("demo: the interval of the polls is not positive")
	}
	cfg := Config{Scenario: &s, Seed: seed}
	cfg.fill()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	info, err := json.Marshal(cfg.serverInfo(true))
	if err != nil {
		return nil, err
	}
	sim, rec := newSimulation(&cfg, RecordedFrom), &Recording{ServerInfo: info}
	sim.see = see
	end, limit := never, 20*s.length()
	for at := 0.0; at < end+pollEvery.Seconds(); at += pollEvery.Seconds() {
		if at > limit {
			return nil, fmt.Errorf("demo: scenario %q: requests are still left %.0f s after the start", s.Name, limit)
		}
		if !sim.advance(at) && end == never {
			end = max(at, s.Load.Seconds) + s.Load.Idle
		}
		if text := sim.page(nil); text != nil {
			rec.Pages = append(rec.Pages, Page{sim.wall(at), text})
		}
	}
	rec.Totals = append(sim.previous, sim.totals())
	rec.Lost, rec.Refused = sim.lost, sim.refused
	all, reusable := 0, 0
	for _, t := range rec.Totals {
		all += t.sentTokens
		reusable += t.reusableTokens
	}
	rec.SharedPrefix = float64(reusable) / float64(max(1, all))
	return rec, nil
}
