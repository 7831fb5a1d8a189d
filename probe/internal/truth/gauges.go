package truth

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// means compares the means of gauges over the window. One that rests on Little's law is that
// of what the scheduler did. One that is polled is that of what the gauge showed, which lags
// behind the scheduler: vLLM updates it at the end of a step, so that the first step of each
// request is missing.
func (c *comparer) means() {
	for _, f := range []struct {
		path         string
		state, gauge func(*engineFacts) *trace
		over         func([]float64) float64
		floor        float64
	}{
		{"engine.requests.running", func(f *engineFacts) *trace { return &f.running }, func(f *engineFacts) *trace { return &f.runningGauge }, sum, fewRequests},
		{"engine.requests.waiting", func(f *engineFacts) *trace { return &f.waiting }, func(f *engineFacts) *trace { return &f.waitingGauge }, sum, fewRequests},
		{"engine.kv_cache.usage", func(f *engineFacts) *trace { return &f.usage }, func(f *engineFacts) *trace { return &f.usageGauge }, average, littleUsage},
	} {
		path := f.path + ".mean"
		x := comparison{kind: aMean, path: path}
		if got, ok := c.number(path); ok {
			if method := c.lookup(f.path + ".method"); method != nil && method != "polled" {
				from, to := c.window.span()
				want := combine(c.facts.traces(f.state), f.over).mean(from, to)
				x = near(aMean, path, got, want, want, f.floor)
			} else {
				low, high := c.gaugeMean(combine(c.facts.traces(f.gauge), f.over))
				x = near(aMean, path, got, low, high, f.floor)
			}
		}
		// Little's law is the scheduler's own account. What only polls tell is due if enough of
		// them found the engines at work.
		x.due = c.promptly() && (c.lookup(f.path+".method") == "littles_law" || c.workedFor(manyPeriods))
		c.add(x)
		if bounds, ok := c.lookup(f.path + ".mean_bounds").([]any); ok {
			from, to := c.window.span()
			c.within(f.path+".mean_bounds", bounds, combine(c.facts.traces(f.state), f.over).mean(from, to), tolerance)
		}
	}
	const path = "engine.requests.batch_utilization"
	x := comparison{kind: aMean, path: path}
	if got, ok := c.number(path); ok {
		from, to := c.window.span()
		pick := func(f *engineFacts) *trace { return &f.runningGauge }
		if method := c.lookup("engine.requests.running.method"); method != nil && method != "polled" {
			pick = func(f *engineFacts) *trace { return &f.running }
		}
		running := combine(c.facts.traces(pick), sum)
		want := running.integral(from, to) / c.activeSeconds(c.window) / float64(c.scenario.engine.maxNumSeqs*len(c.facts.engines()))
		x = near(aMean, path, got, want, want, 0)
	}
	// It is the mean over the active time, so it is due only if that is known.
	x.due = c.promptly() && c.lookup("engine.throughput.over") != "window"
	c.add(x)
}

// gaugeMean returns the mean over the window up to the last reading, and over that part of it in which all servers
// answered: while one is down its gauges are unknown.
func (c *comparer) gaugeMean(t *trace) (low, high float64) {
	from, to := c.polled.span()
	whole := t.mean(from, to)
	if !c.restarted() {
		return whole, whole
	}
	return whileUp(t, combine(c.facts.upTraces(), slices.Min), from, to)
}

// gaugeMean returns the mean between two instants of a gauge of one of the server's engines, and
// over that part of the time in which the server answered.
func (s *server) gaugeMean(t *trace, from, to time.Duration) (low, high float64) {
	return whileUp(t, &s.facts.up, from, to)
}

// whileUp returns the mean of a gauge, and over that part of the time in which up is 1.
func whileUp(t, up *trace, from, to time.Duration) (low, high float64) {
	whole, seconds := t.mean(from, to), up.integral(from, to)
	if seconds <= 0 {
		return whole, whole
	}
	answering := combine([]*trace{t, up}, func(v []float64) float64 { return v[0] * v[1] })
	part := answering.integral(from, to) / seconds
	return min(whole, part), max(whole, part)
}

func (s *simulation) upTraces() (out []*trace) {
	for _, server := range s.servers {
		out = append(out, &server.facts.up)
	}
	return out
}

// peaks compares polled peaks: never above the truth, and not under half of it unless it
// lasted less than the longest gap between readings.
func (c *comparer) peaks() {
	for _, f := range []struct {
		path  string
		gauge func(*engineFacts) *trace
		over  func([]float64) float64
	}{
		{"engine.requests.running.peak", func(f *engineFacts) *trace { return &f.runningGauge }, sum},
		{"engine.requests.waiting.peak", func(f *engineFacts) *trace { return &f.waitingGauge }, sum},
		{"engine.kv_cache.usage.peak", func(f *engineFacts) *trace { return &f.usageGauge }, highest},
	} {
		c.peak(f.path, f.path, combine(c.facts.traces(f.gauge), f.over))
	}
	c.waitingByReason()
	c.instances()
	if got, ok := c.number("engine.kv_cache.peak_tokens"); ok {
		usage := combine(c.facts.traces(func(f *engineFacts) *trace { return &f.usageGauge }), highest).peak(c.started, c.ended)
		size := float64(c.scenario.engine.numGPUBlocks * c.scenario.engine.blockSize)
		x := comparison{kind: aPeak, path: "engine.kv_cache.peak_tokens", given: true}
		if got > usage*size+1 {
			x.wrong = fmt.Sprintf("%v, truth %.0f", got, usage*size)
		}
		c.add(x)
	}
}

// waitingByReason compares the requests that wait for capacity, which are all that wait.
func (c *comparer) waitingByReason() {
	const path = "engine.requests.waiting_by_reason.capacity"
	waiting := combine(c.facts.traces(func(f *engineFacts) *trace { return &f.waitingGauge }), sum)
	c.peak(path+".peak", path+".peak", waiting)
	if got, ok := c.number(path + ".mean"); ok {
		low, high := c.gaugeMean(waiting)
		c.add(near(aMean, path+".mean", got, low, high, fewRequests))
	}
	for _, figure := range []string{".last", ".peak", ".mean"} {
		if got, ok := c.number("engine.requests.waiting_by_reason.deferred" + figure); ok {
			x := comparison{kind: aPeak, path: "engine.requests.waiting_by_reason.deferred" + figure, given: true}
			if got != 0 {
				x.wrong = fmt.Sprintf("%v, truth 0", got)
			}
			c.add(x)
		}
	}
}

func (c *comparer) instances() {
	instances, _ := c.lookup("engine.instances").([]any)
	endpoints, _ := c.lookup("engine.endpoints").([]any)
	for _, x := range instances {
		instance := x.(map[string]any)
		endpoint, _ := instance["endpoint"].(float64)
		url := endpoints[int(endpoint)].(map[string]any)["url"].(string)
		for _, s := range c.facts.servers {
			if !strings.Contains(url, s.address+"/") {
				continue
			}
			for _, e := range s.engines {
				if instance["engine"] == fmt.Sprint(e.label) {
					c.peakOf("engine.instances[].kv_cache_usage_peak", instance["kv_cache_usage_peak"], &e.facts.usageGauge)
					c.peakOf("engine.instances[].requests_running_peak", instance["requests_running_peak"], &e.facts.runningGauge)
					c.peakOf("engine.instances[].requests_waiting_peak", instance["requests_waiting_peak"], &e.facts.waitingGauge)
					c.instanceMean("requests_running_mean", instance, s, &e.facts.running, &e.facts.runningGauge)
					c.instanceMean("requests_waiting_mean", instance, s, &e.facts.waiting, &e.facts.waitingGauge)
					c.instancePreemptions(instance, s, e)
				}
			}
		}
	}
}

// instanceMean compares the mean of one engine's requests. It is that of what the scheduler did or
// of what the gauge showed: which of them is not in the event.
func (c *comparer) instanceMean(name string, instance map[string]any, s *server, state, gauge *trace) {
	x := comparison{kind: aMean, path: "engine.instances[]." + name}
	if got, ok := instance[name].(float64); ok {
		exact := state.mean(c.window.span())
		low, high := s.gaugeMean(gauge, c.window.from[s.index], c.polled.to[s.index])
		x = near(aMean, x.path, got, min(low, exact), max(high, exact), fewRequests)
	}
	c.add(x)
}

// instancePreemptions compares the preemptions of one engine as counts does those of all.
func (c *comparer) instancePreemptions(instance map[string]any, s *server, e *engine) {
	facts := *c.facts
	only := *s
	only.engines = []*engine{e}
	facts.servers = []*server{&only}
	all, visible := facts.counted(preempted, c.window, c.readings)
	got, given := instance["preemptions"].(float64)
	x := comparison{kind: aCount, path: "engine.instances[].preemptions", given: given, due: c.promptly()}
	if low, high := total(visible), total(all); given && (got < low || got > high) {
		x.wrong = fmt.Sprintf("%v, truth %v", got, between(low, high))
	}
	c.add(x)
}

func (c *comparer) peak(name, path string, truth *trace) {
	c.peakOf(name, c.lookup(path), truth)
}

func (c *comparer) peakOf(name string, figure any, truth *trace) {
	got, given := figure.(float64)
	x := comparison{kind: aPeak, path: name, given: given}
	_, to := c.polled.span()
	to = max(to, c.ended)
	want := truth.peak(c.started, to)
	burst := truth.longest(c.started, to, want/2)
	if period, ok := c.number("engine.scrapes.period_seconds"); ok && want > 0 {
		x.due = c.promptly() && burst.Seconds() >= 3*period
	}
	if given {
		const rounding = 1e-9
		gap, _ := c.number("engine.scrapes.max_gap_seconds")
		if want > 0 {
			x.err = (want - got) / want
		}
		switch {
		case got > want*(1+rounding):
			x.wrong = fmt.Sprintf("%.4g is above the truth, %.4g", got, want)
		case got < want/2 && burst.Seconds() > gap:
			x.wrong = fmt.Sprintf("%.4g, truth %.4g, at least half of it for %v, which is more than the longest gap, %.3f s", got, want, burst.Round(time.Millisecond), gap)
		}
	}
	c.add(x)
}
