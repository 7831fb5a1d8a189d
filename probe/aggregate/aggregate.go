package aggregate

import (
	"fmt"
	"slices"
	"time"

	"github.com/vobs/vobs/probe/window"
	"github.com/vobs/vobs/schema"
)

// Output is the engine's part of the event.
type Output struct {
	// Engine is the event's group; nil if no engine was read.
	Engine *schema.Engine
	// Omni is the event's group; nil for a plain engine.
	Omni *schema.Omni
	// The engine's figures in the frozen core.
	KVCacheUsagePerc    *schema.Float
	PrefixCacheHitRate  *schema.Float
	SpecAcceptRate      *schema.Float
	EngineRuntimeConfig schema.EngineRuntimeConfig
	// Off are the settings that the engine reports as off, such as quantization.
	Off []string
	// Notes has the reasons and doubts, by paths of the event.
	Notes schema.Notes
}

// aggregator turns an Input into an Output.
type aggregator struct {
	Output
	endpoints     []*endpoint
	gauges        *window.Gauges
	active        *window.ActiveTime
	ended         time.Time
	settings      effectiveConfig
	introspection Introspection
	few           []fewObservations
	// contradictions describe counters that contradict each other.
	contradictions []string
}

// endpoint is an Endpoint with what its counters imply.
type endpoint struct {
	Endpoint
	// stages are the stages that vLLM's own series belong to.
	stages map[string]bool
	// unrecorded has the stages whose engines worked without recording it, with the
	// reason.
	unrecorded map[string]string
}

// whyUnusable returns why a metric's gains cannot be used, or "".
func (e *endpoint) whyUnusable(m *window.Metric) string {
	return e.Counters.WhyUnusable(m, e.unrecorded)
}

// whyNotQueryable returns why this server's answers would not describe the engines,
// or "".
func (e *endpoint) whyNotQueryable() string { return e.Counters.WhyNotQueryable(e.Name) }

// view is the aggregator's look at one stage; the stage is "" without stages.
type view struct {
	*aggregator
	stage string
}

// at returns the view of a stage.
func (v view) at(stage string) view { return view{v.aggregator, stage} }

// newAggregator prepares an Input: it goes through every endpoint's counters once.
func newAggregator(in Input) *aggregator {
	a := &aggregator{gauges: in.Gauges, active: in.Active, ended: in.Ended, introspection: in.Introspection}
	for _, e := range in.Endpoints {
		a.endpoints = append(a.endpoints, &endpoint{Endpoint: e, stages: stagesIn(e.Counters), unrecorded: unrecordedIn(e.Counters)})
	}
	return a
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

// aggregate fills the groups of the view's stage.
func (v view) aggregate(started time.Time) {
	v.configure()
	g := &schema.Engine{Source: v.endpoints[0].source(), Stage: notEmpty(v.stage)}
	v.Engine = g
	g.Endpoints = v.endpointList()
	g.Models = v.models()
	g.Window = v.window(started)
	g.Scrapes = v.scrapes()
	g.Requests = v.requests()
	g.Tokens = v.tokens()
	g.Throughput = v.throughput()
	g.LatencySeconds = v.latency()
	g.KVCache = v.kvCache()
	g.PrefixCache = v.prefixCache()
	g.Speculative = v.speculative()
	g.KVOffload = v.kvOffload()
	g.KVConnectors = v.kvConnectors()
	g.Instances = v.instances()
	v.runtimeConfig()
	v.Omni = v.omni()
	v.doubtConsistency()
	v.doubtFew()
}

// noteForeign notes the servers that were there before the command.
func (v view) noteForeign(in Input) {
	note := func(name string) {
		v.Notes.Doubt(schema.CodeEngineNotOurs, schema.Warning, fmt.Sprintf("another server answers at %s, which was started before the command: it is not read", name), nil)
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

// noEngine notes why no engine was read.
func (v view) noEngine(others []Unread) {
	reason := "no engine was found: give its address with --metrics-url http://HOST:PORT/metrics; for an engine without a port (LLM() in a script), use --instrument --multiproc on"
	var failures []string
	for _, e := range others {
		if e.LastError != nil {
			failures = append(failures, e.LastError.Error())
		}
	}
	slices.Sort(failures)
	if failures = slices.Compact(failures); len(failures) > 0 {
		reason = "no engine answered: " + failures[0]
		if len(failures) > 1 {
			reason += fmt.Sprintf(" (and %d more addresses)", len(failures)-1)
		}
	}
	reason += v.introspection.reasonSuffix()
	for _, field := range []string{"engine", "kv_cache_usage_perc", "prefix_cache_hit_rate", "spec_accept_rate", "omni"} {
		v.Notes.Missing(field, reason)
	}
	v.configFromIntrospection(reason)
}

// noteUnreadTargets notes the addresses that the user gave and that are in no figure: the
// sums of the others would look complete.
func (v view) noteUnreadTargets(others []Unread) {
	for _, e := range others {
		if e.Foreign || !e.Given {
			continue
		}
		why := "it was not scraped"
		if e.LastError != nil {
			why = e.LastError.Error()
		}
		v.Notes.Doubt(schema.CodeEndpointNotRead, schema.Warning, fmt.Sprintf("%s yielded no metrics, and no figure includes its engines: %s", e.Name, why), nil)
	}
}

func notEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
