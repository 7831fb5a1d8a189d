package truth

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// tolerance is how far means and rates may be from the truth.
const tolerance = 0.1

// Means below these are compared with these instead of a share of the truth.
const (
	fewRequests = 0.01
	littleUsage = 0.001
)

// Figures are due in runs that last longRun and finish manyRequests, with answers within
// promptAnswer.
const (
	longRun      = 3 * time.Second
	manyRequests = 20
	promptAnswer = 100 * time.Millisecond
)

// Means that only polls tell are due if the engines worked for manyPeriods of the polls.
const manyPeriods = 20

// kindOfFigure is how a figure is held against the truth.
type kindOfFigure string

const (
	aMean   kindOfFigure = "mean"
	aRate   kindOfFigure = "rate"
	aCount  kindOfFigure = "count"
	aPeak   kindOfFigure = "peak"
	aBound  kindOfFigure = "bounds"
	anExact kindOfFigure = "exact mean"
)

// comparison is one figure of one run beside the truth.
type comparison struct {
	kind  kindOfFigure
	path  string
	given bool // it is not null
	// wrong says how the figure contradicts the truth, or is "".
	wrong string
	// err is the relative error, for means, rates and peaks.
	err float64
	// due reports whether the figure should be given: a run that is long and busy
	// enough, read promptly.
	due bool
}

// comparer compares one run.
type comparer struct {
	*played
	event map[string]any
	// window ends with the last whole page, polled with the last page of any kind.
	window, polled window
	out            []comparison
}

// event returns the reader's part of the event, as a user gets it.
func (p *played) event() (event map[string]any, err error) {
	encoded, err := json.Marshal(map[string]any{"engine": p.output.Engine})
	if err == nil {
		err = json.Unmarshal(encoded, &event)
	}
	return event, err
}

// compare returns all comparisons of a run with what its event says, or an error if they
// cannot be compared.
func (p *played) compare(event map[string]any) ([]comparison, error) {
	c := &comparer{played: p, event: event}
	if event["engine"] == nil {
		return nil, errors.New("no engine was read")
	}
	if err := c.findWindow(); err != nil {
		return nil, err
	}
	c.counts()
	c.cpuTimes()
	c.rates()
	c.curves()
	c.means()
	c.peaks()
	c.distributions()
	return c.out, nil
}

// findWindow finds the time between the first and the last page of each server. Servers
// that were not read are no part of the facts if the event notes that.
func (c *comparer) findWindow() error {
	c.window = window{map[int]time.Duration{}, map[int]time.Duration{}}
	c.polled = window{c.window.from, map[int]time.Duration{}}
	facts := *c.facts
	facts.servers = nil
	for _, s := range c.facts.servers {
		if !c.isRead(s) {
			if !c.noted("endpoint_not_read") {
				return fmt.Errorf("the server at %s is not read, and nothing is noted", s.address)
			}
			continue
		}
		facts.servers = append(facts.servers, s)
		for _, r := range c.readings {
			if r.server != s.index {
				continue
			}
			c.polled.to[s.index] = max(c.polled.to[s.index], r.at)
			if !r.whole {
				continue
			}
			if _, ok := c.window.from[s.index]; !ok {
				c.window.from[s.index] = r.at
			}
			c.window.to[s.index] = max(c.window.to[s.index], r.at)
		}
		if c.scenario.coldStart > 0 {
			c.window.from[s.index] = c.started // counters count from zero
		}
		if c.window.to[s.index] == 0 {
			return fmt.Errorf("the server at %s is read, although it delivered no whole page", s.address)
		}
	}
	p := *c.played
	p.facts = &facts
	c.played = &p
	return nil
}

// isRead reports whether a server is among the endpoints that were read.
func (c *comparer) isRead(s *server) bool {
	endpoints, _ := c.lookup("engine.endpoints").([]any)
	return slices.ContainsFunc(endpoints, func(x any) bool {
		url, _ := x.(map[string]any)["url"].(string)
		return strings.Contains(url, s.address+"/")
	})
}

// lookup returns what is at a path of the event: nil if it is null or absent.
func (c *comparer) lookup(path string) any {
	var x any = c.event
	for key := range strings.SplitSeq(path, ".") {
		m, _ := x.(map[string]any)
		x = m[key]
	}
	return x
}

func (c *comparer) number(path string) (float64, bool) {
	x, ok := c.lookup(path).(float64)
	return x, ok
}

// exists reports whether this version of the event has the key, even if it is null.
func (c *comparer) exists(path string) bool {
	i := strings.LastIndexByte(path, '.')
	m, ok := c.lookup(path[:i]).(map[string]any)
	_, has := m[path[i+1:]]
	return ok && has
}

func (c *comparer) add(x comparison) { c.out = append(c.out, x) }

// promptly reports whether the run is one in which figures are due.
func (c *comparer) promptly() bool {
	finished, _ := c.counted(finishedRequests, false)
	return c.ended-c.started >= longRun && len(finished) >= manyRequests && c.scenario.late.most() < promptAnswer
}

// workedFor reports whether the engines worked for a number of polling periods in all.
func (c *comparer) workedFor(periods float64) bool {
	period, ok := c.number("engine.scrapes.period_seconds")
	return ok && c.activeSeconds(c.window) >= periods*period
}

func observations(h histogramID) func(*engineFacts) []observation {
	return func(f *engineFacts) []observation { return f.observations[h] }
}

func generated(f *engineFacts) []observation {
	out := make([]observation, 0, len(f.observations[interTokenLatency])+len(f.observations[timeToFirstToken]))
	for _, h := range []histogramID{timeToFirstToken, interTokenLatency} {
		for _, o := range f.observations[h] {
			out = append(out, observation{o.at, o.life, 1})
		}
	}
	return out
}

func finishedRequests(f *engineFacts) []observation {
	out := slices.Clone(f.observations[e2eLatency])
	for i := range out {
		out[i].value = 1
	}
	return out
}

// counted returns what was counted up to the last whole page, or for a counter that is
// polled, up to the last page of any kind. visible is what whole pages showed.
func (c *comparer) counted(pick func(*engineFacts) []observation, polled bool) (all, visible []float64) {
	w := c.window
	if polled {
		w = c.polled
	}
	return c.facts.counted(pick, w, c.readings)
}

func prompted(f *engineFacts) []observation { return f.prompted }

func preempted(f *engineFacts) []observation { return f.preempted }

// restarted reports whether a process ended within the run. What it counted after its
// last page is lost, and the event notes that.
func (c *comparer) restarted() bool {
	for _, s := range c.facts.servers {
		if len(s.facts.kills) > 0 {
			return true
		}
	}
	return false
}

func (c *comparer) noted(code string) bool {
	for _, v := range c.output.Notes.Validity {
		if string(v.Code) == code {
			return true
		}
	}
	return false
}

// counts compares totals, which are exact. Across a restart they are what pages showed at
// least, and what happened at most.
func (c *comparer) counts() {
	for _, f := range []struct {
		path   string
		pick   func(*engineFacts) []observation
		polled bool
	}{
		{"engine.requests.finished.length", finishedRequests, false},
		{"engine.requests.preemptions", preempted, false},
		{"engine.tokens.prompt", prompted, true},
		{"engine.tokens.generation", generated, true},
	} {
		all, visible := c.counted(f.pick, f.polled)
		low, high := total(visible), total(all)
		got, given := c.number(f.path)
		x := comparison{kind: aCount, path: f.path, given: given}
		switch {
		case !given:
		case got < low || got > high:
			x.wrong = fmt.Sprintf("%v, truth %v", got, between(low, high))
		case got < high && !c.noted("counter_reset") && !c.noted("final_reading_lost"):
			x.wrong = fmt.Sprintf("%v, truth %v, and nothing is noted", got, high)
		}
		c.add(x)
	}
	// What the server answered. Its own /v1/models queries are not the command's.
	if c.exists("engine.http.2xx") && !c.restarted() && c.scenario.history == 0 {
		finished, _ := c.counted(finishedRequests, false)
		got, given := c.number("engine.http.2xx")
		x := comparison{kind: aCount, path: "engine.http.2xx", given: given}
		low, high := total(finished), total(finished)+float64(c.modelsQueries+c.facts.client.givenUp)
		if given && (got < low || got > high) {
			x.wrong = fmt.Sprintf("%v, truth %s", got, between(low, high))
		}
		c.add(x)
	}
	if got, given := c.number("engine.requests.unaccounted_min"); given {
		x := comparison{kind: aCount, path: "engine.requests.unaccounted_min", given: true}
		if most := float64(c.facts.client.givenUp); got > most {
			x.wrong = fmt.Sprintf("%v, truth %v given up", got, most)
		}
		c.add(x)
	}
}

// cpuTimes compares the CPU time of each server's process. Across a restart it is what pages
// showed at least, and what was used at most.
func (c *comparer) cpuTimes() {
	endpoints, _ := c.lookup("engine.endpoints").([]any)
	for _, x := range endpoints {
		endpoint := x.(map[string]any)
		for _, s := range c.facts.servers {
			if !strings.Contains(endpoint["url"].(string), s.address+"/") {
				continue
			}
			const rounding = 1e-6
			got, given := endpoint["cpu_seconds"].(float64)
			x := comparison{kind: aCount, path: "engine.endpoints[].cpu_seconds", given: given, due: c.promptly()}
			all, visible := s.cpuWithin(c.window, c.readings)
			if given && (got < visible-rounding || got > all+rounding) {
				x.wrong = fmt.Sprintf("%v, truth %s", got, between(visible, all))
			}
			c.add(x)
		}
	}
}

func between(low, high float64) string {
	if low == high {
		return fmt.Sprint(low)
	}
	return fmt.Sprintf("%v to %v", low, high)
}

// near compares a figure with an interval of true values, usually of one.
func near(kind kindOfFigure, path string, got, low, high, floor float64) comparison {
	x := comparison{kind: kind, path: path, given: true}
	off := 0.0
	switch {
	case got < low:
		off, x.err = low-got, (low-got)/low
	case got > high:
		off, x.err = got-high, (got-high)/high
	}
	if off <= floor {
		x.err = 0
	}
	if x.err > tolerance || math.IsNaN(x.err) {
		x.wrong = fmt.Sprintf("%.4g, truth %s", got, between(round(low), round(high)))
	}
	return x
}

func round(x float64) float64 {
	if x == 0 {
		return 0
	}
	digits := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(x))))
	return math.Round(x*digits) / digits
}

// activeSeconds is the time of a window in which any engine had requests.
func (c *comparer) activeSeconds(w window) float64 {
	from, to := w.span()
	return combine(c.facts.traces(func(f *engineFacts) *trace { return &f.busy }), highest).integral(from, to)
}

func (c *comparer) rates() {
	_, active := c.number("engine.window.active_seconds_est")
	if over, ok := c.lookup("engine.throughput.over").(string); ok {
		active = over == "active"
	}
	for _, f := range []struct {
		name   string
		pick   func(*engineFacts) []observation
		polled bool
	}{
		{"requests_per_second", finishedRequests, false},
		{"prompt_tokens_per_second", prompted, true},
		{"generation_tokens_per_second", generated, true},
	} {
		path := "engine.throughput." + f.name
		x := comparison{kind: aRate, path: path}
		if got, ok := c.number(path); ok {
			w := c.window
			if f.polled {
				w = c.polled
			}
			from, to := w.span()
			seconds := (to - from).Seconds()
			if active {
				seconds = c.activeSeconds(w)
			}
			all, visible := c.counted(f.pick, f.polled)
			x = near(aRate, path, got, total(visible)/seconds, total(all)/seconds, 0)
		}
		x.due = c.promptly()
		c.add(x)
	}
}

// within checks that an interval contains the truth.
func (c *comparer) within(path string, bounds []any, truth, slack float64) {
	x := comparison{kind: aBound, path: path, given: true}
	low, _ := bounds[0].(float64)
	high, closed := bounds[1].(float64)
	if truth < low*(1-slack)-1e-9 || closed && truth > high*(1+slack)+1e-9 {
		x.wrong = fmt.Sprintf("%v do not contain the truth, %.6g", bounds, truth)
	}
	c.add(x)
}

// distributions compares histograms: counts, means, and bounds of quantiles.
func (c *comparer) distributions() {
	for _, f := range []struct {
		path string
		id   histogramID
	}{
		{"engine.latency_seconds.time_to_first_token", timeToFirstToken},
		{"engine.latency_seconds.inter_token_latency", interTokenLatency},
		{"engine.latency_seconds.time_per_output_token", timePerOutputToken},
		{"engine.latency_seconds.e2e_request_latency", e2eLatency},
		{"engine.latency_seconds.request_queue_time", queueTime},
		{"engine.latency_seconds.request_prefill_time", prefillTime},
		{"engine.latency_seconds.request_decode_time", decodeTime},
		{"engine.latency_seconds.request_inference_time", inferenceTime},
		{"engine.tokens.prompt_per_request", promptPerRequest},
		{"engine.tokens.generation_per_request", generationPerRequest},
		{"engine.tokens.per_iteration", iterationTokens},
	} {
		_, values := c.counted(observations(f.id), false)
		n, given := c.number(f.path + ".count")
		x := comparison{kind: aCount, path: f.path + ".count", given: given}
		if given && int(n) != len(values) {
			x.wrong = fmt.Sprintf("%v, truth %d", n, len(values))
		}
		c.add(x)
		if len(values) == 0 {
			continue
		}
		x = comparison{kind: anExact, path: f.path + ".mean", due: c.promptly()}
		if got, ok := c.number(f.path + ".mean"); ok {
			want := total(values) / float64(len(values))
			x = near(anExact, x.path, got, want, want, 1e-9)
			x.due = c.promptly()
		}
		c.add(x)
		for name, q := range map[string]float64{"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99} {
			path := f.path + "." + name + "_bounds"
			bounds, ok := c.lookup(path).([]any)
			if ok {
				c.within(path, bounds, quantile(values, q), 0)
				c.out[len(c.out)-1].due = c.promptly()
			} else if c.exists(path) || !given {
				c.add(comparison{kind: aBound, path: path, due: c.promptly()})
			}
		}
	}
}
