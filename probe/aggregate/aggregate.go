package aggregate

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/window"
	"github.com/vobs/vobs/schema"
)

// Output is what the engines' readings amount to over one run.
type Output struct {
	// Engine is the event's group; nil where no engine was read.
	Engine *schema.Engine
	// Omni is the event's group; nil for a plain engine.
	Omni *schema.Omni
	// The core's figures of the engine.
	KVCacheUsagePerc    *schema.Float
	PrefixCacheHitRate  *schema.Float
	SpecAcceptRate      *schema.Float
	EngineRuntimeConfig schema.EngineRuntimeConfig
	// Off are settings of which the engine says that it has none, as quantization.
	Off []string
	// Notes has the reasons and doubts, by paths of the event.
	Notes schema.Notes
}

// shortWindowIntervals is the number of active intervals between polls from
// which on rates are taken over them, not over the whole window.
const shortWindowIntervals = 3

// maxUnix is the end of the year 9999: later times have no form in the event.
const maxUnix = 253402300800

// aggregator makes a Report of an Input.
type aggregator struct {
	Output
	endpoints     []*endpointRecord
	gauges        *window.Gauges
	activity      *window.ActiveTime
	ended         time.Time
	settings      effectiveConfig
	introspection Introspection
}

// view is a report's view of one stage; the stage is "" without stages.
type view struct {
	*aggregator
	stage string
}

// at returns the view of a stage.
func (r view) at(stage string) view { return view{r.aggregator, stage} }

// newAggregator prepares an Input: it looks at every endpoint's counters once.
func newAggregator(in Input) *aggregator {
	r := &aggregator{gauges: in.Gauges, activity: in.Active, ended: in.Ended, introspection: in.Introspection}
	for _, e := range in.Endpoints {
		r.endpoints = append(r.endpoints, &endpointRecord{Endpoint: e, stages: stagesIn(e.Counters), unrecorded: unrecordedIn(e.Counters)})
	}
	return r
}

// Aggregate turns an Input into the event's groups.
func Aggregate(in Input) Output {
	v := view{aggregator: newAggregator(in)}
	v.noteForeign(in)
	if len(in.Endpoints) == 0 {
		v.noEngine(in.Others)
		return v.Output
	}
	v.noteUnreadTargets(in.Others)
	v.stage = v.chooseStage()
	v.aggregate(in.Started)
	return v.Output
}

// noteForeign notes the servers that were there before the command.
func (r view) noteForeign(in Input) {
	note := func(name string) {
		r.Notes.Doubt(schema.CodeEngineNotOurs, schema.Warning, fmt.Sprintf("%s: another server answers there, which was started before the command: it is not read", name), nil)
	}
	for _, e := range in.Endpoints {
		if e.Foreign {
			note(e.Name)
		}
	}
	for _, e := range in.Others {
		if e.Foreign {
			note(e.Name)
		}
	}
}

// aggregate fills the groups of the view's stage.
func (r view) aggregate(started time.Time) {
	r.configure()
	g := &schema.Engine{Source: r.endpoints[0].Source(), Stage: notEmpty(r.stage)}
	r.Engine = g
	g.Endpoints = r.endpointList()
	g.Models = r.models()
	g.Window = r.window(started)
	g.Scrapes = r.scrapes()
	g.Requests = r.requests()
	g.Tokens = r.tokens()
	g.Throughput = r.throughput()
	g.LatencySeconds = r.latency()
	g.KVCache = r.kvCache()
	g.PrefixCache = r.prefixCache()
	g.Speculative = r.speculative()
	g.KVOffload = r.offload()
	g.KVConnectors = r.connectors()
	g.Instances = r.instances()
	r.runtimeConfig()
	r.Omni = r.omni()
	r.doubtConsistency()
}

// noEngine says why no engine was read.
func (r view) noEngine(all []Unread) {
	reason := "no engine is known: give its address by --metrics-url http://HOST:PORT/metrics; one without a port (LLM() in a script) has figures with --instrument --multiproc on"
	if len(all) > 0 {
		var reasons []string
		for _, e := range all {
			if e.LastError != nil {
				reasons = append(reasons, e.LastError.Error())
			}
		}
		slices.Sort(reasons)
		if reasons = slices.Compact(reasons); len(reasons) > 0 {
			reason = "no engine answered: " + reasons[0]
			if len(reasons) > 1 {
				reason += fmt.Sprintf(" (and %d more addresses)", len(reasons)-1)
			}
		}
	}
	reason += r.introspection.reasonSuffix()
	for _, field := range []string{"engine", "kv_cache_usage_perc", "prefix_cache_hit_rate", "spec_accept_rate", "omni"} {
		r.Notes.Missing(field, reason)
	}
	r.configFromIntrospection(reason)
}

// noteUnreadTargets notes addresses that the user gave and that are in no figure: where others
// answered, the sums would look whole.
func (r view) noteUnreadTargets(others []Unread) {
	for _, e := range others {
		if e.Foreign || !e.Given {
			continue
		}
		why := "it was not asked"
		if e.LastError != nil {
			why = e.LastError.Error()
		}
		r.Notes.Doubt(schema.CodeEndpointNotRead, schema.Warning, fmt.Sprintf("%s yielded nothing, and what its engines did is in no figure: %s", e.Name, why), nil)
	}
}

func (r view) endpointList() []schema.Endpoint {
	var out []schema.Endpoint
	for i, e := range r.endpoints {
		entry := schema.Endpoint{URL: e.Name, Source: e.Source()}
		path := fmt.Sprintf("engine.endpoints.%d.", i)
		if e.Version != "" {
			entry.Version = &e.Version
		} else if version, ok := r.settings.common["vllm_version"].Value.(string); ok {
			entry.Version = &version
		} else if e.Files {
			r.Notes.Missing(path+"version", "the files of the engine's metrics do not tell it")
		} else {
			r.Notes.Missing(path+"version", cmp.Or(e.whyNotQueryable(), e.Answers.Version.Reason, "the server was not asked for /version: it was gone before that"))
		}
		if seconds, ok := e.Counters.ProcessStart(); ok && seconds < maxUnix {
			started := time.UnixMilli(int64(math.Round(seconds * 1e3))).UTC().Format("2006-01-02T15:04:05.999Z07:00")
			entry.ProcessStartTime = &started
		} else {
			why := "the page has no process_start_time_seconds (prometheus_client leaves it out in multiprocess mode)"
			if e.Counters.Naming != metrics.Native {
				why = "the page is not the engine's own: it is of one that collects the metrics"
			}
			r.Notes.Missing(path+"process_start_time", why)
		}
		out = append(out, entry)
	}
	return out
}

func (r view) models() []string {
	var out []string
	for _, e := range r.endpoints {
		for m := range e.Counters.Models {
			out = append(out, m)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (r view) window(started time.Time) *schema.Window {
	w := &schema.Window{Base: "scraped", Final: "settled"}
	from, to := r.endpoints[0].BaseAt, r.endpoints[0].FullAt
	rank := []Final{FinalSettled, FinalFiles, FinalUnsettled, FinalBeforeSignal, FinalLastGood}
	var worst *endpointRecord // whose final reading is the most doubtful
	for _, e := range r.endpoints {
		if slices.Index(rank, e.Final) > slices.Index(rank, Final(w.Final)) {
			w.Final, worst = string(e.Final), e
		}
		switch {
		case e.Base == BaseZero:
			w.Base = "zero"
		case e.Files:
			w.Base = "files"
		}
		if e.BaseAt.Before(from) {
			from = e.BaseAt
		}
		if e.FullAt.After(to) {
			to = e.FullAt
		}
		w.Resets += e.Counters.Resets
		// Of several engines the one that was lost first, and settled last.
		w.FinalAgeSeconds = max(w.FinalAgeSeconds, schema.Float(r.ended.Sub(e.FullAt).Seconds()))
		w.SettleSeconds = max(w.SettleSeconds, schema.Float(e.FullAt.Sub(r.ended).Seconds()))
		r.doubtCounters(e, started)
	}
	w.DurationSeconds = schema.Float(to.Sub(from).Seconds())
	switch w.Final {
	case "unsettled":
		r.Notes.Doubt(schema.CodeUnsettled, schema.Warning, "the engine was still busy, or its counters still moved, when the final reading was taken: other clients use it, or the command left requests behind", &schema.Evidence{Field: "engine.window.settle_seconds", Value: w.SettleSeconds, Threshold: SettleTimeout.Seconds()})
	case "last_good", "before_signal":
		how := "the engine was gone when the command ended"
		if worst.LastError != nil && !worst.Refused && worst.FailedAt.After(worst.LastAt) {
			how = fmt.Sprintf("the engine could not be read when the command had ended (%v)", worst.LastError)
		}
		r.Notes.Doubt(schema.CodeFinalReadingLost, schema.Warning, fmt.Sprintf("%s: its figures are those of %s, and what it did since then is not counted", how, r.ages(w.FinalAgeSeconds)), &schema.Evidence{Field: "engine.window.final_age_seconds", Value: w.FinalAgeSeconds, Threshold: 0})
	}
	if r.activity.Intervals >= shortWindowIntervals {
		w.ActiveSecondsEst = schema.F(r.activity.Seconds())
	} else {
		r.Notes.Missing("engine.window.active_seconds_est", fmt.Sprintf("fewer than %d intervals between polls saw the engine active", shortWindowIntervals))
		r.Notes.Doubt(schema.CodeShortWindow, schema.Info, "too few polls saw the engine active: rates are taken over the whole window, idle time included", &schema.Evidence{Field: "engine.scrapes.count", Value: r.readings(), Threshold: shortWindowIntervals})
	}
	return w
}

// ages tells how long before the command's end the figures were read: polls for
// a few names alone, which followed the last full page, have made some of them
// younger than the others.
func (r view) ages(full schema.Float) string {
	polled := schema.Float(0)
	for _, e := range r.endpoints {
		polled = max(polled, schema.Float(r.ended.Sub(e.LastAt).Seconds()))
	}
	all, some := fmt.Sprintf("%.2f s before", full), fmt.Sprintf("%.2f s before", polled)
	if all == some {
		return all
	}
	return fmt.Sprintf("%s (tokens.prompt, tokens.generation, their rates and the gauges, which are polled more often: %s)", all, some)
}

// doubtCounters notes what casts doubt on one endpoint's counters and gauges.
func (r view) doubtCounters(e *endpointRecord, started time.Time) {
	name, l := e.Name, e.Counters
	if e.Partial != nil {
		r.Notes.Doubt(schema.CodeFilesNotRead, schema.Warning, fmt.Sprintf("some of the engine's metrics are left out: %v", e.Partial), nil)
	}
	if e.Base == BaseLate {
		r.Notes.Doubt(schema.CodeLateBase, schema.Warning, fmt.Sprintf("%s did not answer as an engine before the command started: what its engine did until the first answer, %.1f s into the run, is not counted", name, e.BaseAt.Sub(started).Seconds()), nil)
	}
	if l.Naming != metrics.Native {
		r.Notes.Doubt(schema.CodeDelayedMetrics, schema.Warning, fmt.Sprintf("%s has vLLM's metrics under other names (%s): whoever renames them passes them on from time to time, Ray every 10 s by default (metrics_report_interval_ms), so what the engine did last may not be counted, and what it did just before the start may be", name, l.Naming.Spell("vllm:…")), nil)
	}
	switch {
	case l.LoadBalanced:
		r.Notes.Doubt(schema.CodeSeveralServers, schema.Warning, fmt.Sprintf("several servers answer at %s in turn (by a load balancer?): its counters mean nothing and are left out, its gauges are now of one, now of another; give the address of each", name), nil)
	case l.Resets > 0:
		r.Notes.Doubt(schema.CodeCounterReset, schema.Warning, fmt.Sprintf("the counters of %s restarted %d times inside the window: what they gained between the last reading before and the restart is lost", name, l.Resets), &schema.Evidence{Field: "engine.window.resets", Value: l.Resets, Threshold: 0})
	}
	switch {
	case l.Conflicts > 0:
		r.Notes.Doubt(schema.CodeDuplicateSeries, schema.Warning, fmt.Sprintf("%s exported the same series twice on a page with different values, %d times: neither was taken", name, l.Conflicts), nil)
	case l.Duplicates > 0:
		r.Notes.Doubt(schema.CodeDuplicateSeries, schema.Info, fmt.Sprintf("%s exported the same series twice on a page with the same value, %d times: it was counted once", name, l.Duplicates), nil)
	}
	if l.Invalid > 0 {
		r.Notes.Doubt(schema.CodeInvalidValues, schema.Warning, fmt.Sprintf("%s exported %d values that cannot be (NaN, infinite, or a negative count), the last of %s: they were left out", name, l.Invalid, l.InvalidDesc.Name()), nil)
	}
	if e.Errors > 0 && e.LastCounted != nil {
		r.Notes.Doubt(schema.CodeScrapesFailed, schema.Warning, fmt.Sprintf("%d of %d readings failed while the engine was up, and what its gauges showed then is not known; the last failure: %v", e.Errors, e.Errors+e.Scrapes, e.LastCounted), &schema.Evidence{Field: "engine.scrapes.errors", Value: e.Errors, Threshold: 0})
	}
}

func (r view) readings() int64 {
	n := int64(0)
	for _, e := range r.endpoints {
		n += e.Scrapes
	}
	return n
}

func (r view) scrapes() *schema.Scrapes {
	s := &schema.Scrapes{Count: r.readings()}
	var walls []time.Duration
	var span, gap time.Duration
	steps := int64(0)
	for _, e := range r.endpoints {
		s.Errors += e.Errors
		walls = append(walls, e.Latencies...)
		if e.Scrapes > 1 {
			span += e.LastAt.Sub(e.FirstAt)
			steps += e.Scrapes - 1
			gap = max(gap, e.MaxGap)
		}
	}
	s.MedianSeconds = schema.F(medianOf(walls).Seconds())
	if steps > 0 {
		s.PeriodSeconds = schema.F(span.Seconds() / float64(steps))
		s.MaxGapSeconds = schema.F(gap.Seconds())
	} else {
		r.Notes.Missing("engine.scrapes.period_seconds", "there was one reading only")
		r.Notes.Missing("engine.scrapes.max_gap_seconds", "there was one reading only")
	}
	return s
}

// medianOf sorts durations and returns the one in the middle; 0 if there are none.
func medianOf(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[len(d)/2]
}

func (r view) requests() *schema.Requests {
	q := &schema.Requests{
		Finished:    r.countBy("engine.requests.finished", metrics.RequestSuccess),
		Preemptions: r.count("engine.requests.preemptions", metrics.Preemptions),
		Running:     r.gauge("engine.requests.running", metrics.RequestsRunning),
		Waiting:     r.gauge("engine.requests.waiting", metrics.RequestsWaiting),
	}
	q.BatchUtilization = r.batchUtilization(q.Running)
	return q
}

func (r view) tokens() *schema.Tokens {
	return &schema.Tokens{
		Prompt:               r.count("engine.tokens.prompt", metrics.PromptTokens),
		PromptBySource:       r.countBy("engine.tokens.prompt_by_source", metrics.PromptBySource),
		Generation:           r.count("engine.tokens.generation", metrics.GenerationTokens),
		PromptPerRequest:     r.distribution("engine.tokens.prompt_per_request", metrics.PromptPerRequest),
		GenerationPerRequest: r.distribution("engine.tokens.generation_per_request", metrics.GenerationPerRequest),
		PerIteration:         r.distribution("engine.tokens.per_iteration", metrics.TokensPerIteration),
		Diffusion:            r.diffusion(),
	}
}

// activeSeconds are what rates are taken over: up to the last full page, and up
// to the last reading. Where the engine was lost, filtered polls have followed the
// last full page: tokens are known up to them, all else up to the page.
func (r view) activeSeconds() (toFull, toLast float64) {
	w := r.Engine.Window
	toFull = float64(w.DurationSeconds)
	toLast = toFull
	if x, ok := w.ActiveSecondsEst.Value(); ok {
		toFull, toLast = x, x
		if w.Final == "last_good" || w.Final == "before_signal" {
			toFull = 0
			for _, e := range r.endpoints {
				toFull = max(toFull, e.ActiveAtFull)
			}
		}
	} else {
		var full, last time.Time
		for _, e := range r.endpoints {
			full, last = later(full, e.FullAt), later(last, e.LastAt)
		}
		toLast += last.Sub(full).Seconds()
	}
	return toFull, toLast
}

func (r view) throughput() *schema.Throughput {
	toFull, toLast := r.activeSeconds()
	rate := func(path string, n int64, why string, seconds float64) *schema.Float {
		if why == "" && seconds <= 0 {
			why = "the window has no length"
		}
		if why != "" {
			r.Notes.Missing("engine.throughput."+path, why)
			return nil
		}
		return schema.F(float64(n) / seconds)
	}
	finished, finishedWhy := r.counter(metrics.RequestSuccess)
	prompt, promptWhy := r.counter(metrics.PromptTokens)
	generation, generationWhy := r.counter(metrics.GenerationTokens)
	return &schema.Throughput{
		RequestsPerSecond:         rate("requests_per_second", finished, finishedWhy, toFull),
		PromptTokensPerSecond:     rate("prompt_tokens_per_second", prompt, promptWhy, toLast),
		GenerationTokensPerSecond: rate("generation_tokens_per_second", generation, generationWhy, toLast),
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (r view) latency() *schema.Latency {
	d := func(name string, f metrics.ID) *schema.Distribution {
		return r.distribution("engine.latency_seconds."+name, f)
	}
	return &schema.Latency{
		TimeToFirstToken:     d("time_to_first_token", metrics.TimeToFirstToken),
		InterTokenLatency:    d("inter_token_latency", metrics.InterTokenLatency),
		TimePerOutputToken:   d("time_per_output_token", metrics.TimePerOutputToken),
		E2ERequestLatency:    d("e2e_request_latency", metrics.E2ELatency),
		RequestQueueTime:     d("request_queue_time", metrics.QueueTime),
		RequestPrefillTime:   d("request_prefill_time", metrics.PrefillTime),
		RequestDecodeTime:    d("request_decode_time", metrics.DecodeTime),
		RequestInferenceTime: d("request_inference_time", metrics.InferenceTime),
	}
}
