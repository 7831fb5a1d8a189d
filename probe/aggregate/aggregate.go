package aggregate

import (
	"fmt"
	"slices"
	"time"

	"github.com/vobs/vobs/internal/curve"
	"github.com/vobs/vobs/internal/vllm/config"
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
	// Settings are the settings that the engine reports, by the event's names, whether the
	// event has a group for them or not.
	Settings map[string]any
	// Off are the settings that the engine reports as off, such as quantization.
	Off []string
	// Reported are all settings that the engine reports.
	Reported config.Reported
	// Curves are the engine's figures over the run.
	Curves []curve.Figure
	// Conditions are what the event has no key for.
	Conditions Conditions
	// Local reports whether all engines that were read run on this host.
	Local bool
	// ActiveAfterFull is for how many seconds the engines worked after the last full page:
	// tokens are counted up to a later reading, all else is not.
	ActiveAfterFull float64
	// Notes has the reasons and doubts, by paths of the event.
	Notes schema.Notes
}

// aggregator turns an Input into an Output.
type aggregator struct {
	Output
	all      []*endpoint
	gauges   *window.Gauges
	active   *window.ActiveTime
	ended    time.Time
	settings effectiveConfig
	// split has the role of each of all endpoints; nil if they have none. whySplitUnknown is
	// the reason why their counters must not be added up, or "".
	split           []role
	whySplitUnknown string
	introspection   Introspection
	few             []fewObservations
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

// view is the aggregator's look at one stage of the engines behind some endpoints; the stage is
// "" without stages. The endpoints are those of one role, see roles.go, or all.
type view struct {
	*aggregator
	stage     string
	endpoints []*endpoint
	// engine restricts the view to one engine behind its only endpoint; nil if it has all.
	engine *window.EngineID
}

// newView returns the view of all endpoints, without a stage.
func newView(a *aggregator) view { return view{aggregator: a, endpoints: a.all} }

// at returns the view of a stage.
func (v view) at(stage string) view {
	v.stage = stage
	return v
}

// of returns the view of some endpoints.
func (v view) of(endpoints ...*endpoint) view {
	v.endpoints = endpoints
	return v
}

// ofEngine returns the view of one engine behind an endpoint.
func (v view) ofEngine(e *endpoint, id window.EngineID) view {
	v = v.of(e).at(id.Stage)
	v.engine = &id
	return v
}

// ofAll returns the view of the endpoints of all roles.
func (v view) ofAll() view { return v.of(v.all...) }

// newAggregator prepares an Input: it goes through every endpoint's counters once.
func newAggregator(in Input) *aggregator {
	a := &aggregator{gauges: in.Gauges, active: in.Active, ended: in.Ended, introspection: in.Introspection}
	a.add(in.Endpoints)
	return a
}

func (a *aggregator) add(endpoints []Endpoint) {
	for _, e := range endpoints {
		a.all = append(a.all, &endpoint{Endpoint: e, stages: stagesIn(e.Counters), unrecorded: unrecordedIn(e.Counters)})
	}
}

// Aggregate turns an Input into the event's groups.
func Aggregate(in Input) Output {
	v := newView(newAggregator(in))
	v.noteForeign(in)
	if len(in.Endpoints) == 0 {
		v.Conditions = v.conditions(in.Silent)
		v.noEngine(in)
		return v.Output
	}
	v.noteUnreadTargets(in.Others)
	v.Local = !slices.ContainsFunc(in.Endpoints, func(e Endpoint) bool { return !e.Local && !e.Files })
	v = v.chooseRole()
	v.stage = v.chooseStage()
	v.aggregate(in.Started)
	v.Conditions = v.ofAll().conditions(nil)
	return v.Output
}

// aggregate fills the groups. The figures are those of the view's stage and endpoints, except
// where they are about the reading of the servers, or about each engine on its own.
func (v view) aggregate(started time.Time) {
	v.configure()
	g := &schema.Engine{Source: v.endpoints[0].source(), Stage: notEmpty(v.stage)}
	v.Engine = g
	g.Endpoints = v.ofAll().endpointList()
	g.Models = v.ofAll().models()
	g.Window = v.ofAll().window(started)
	g.Scrapes = v.ofAll().scrapes()
	g.Roles = v.roles()
	g.Requests = v.requests()
	g.HTTP = v.http()
	g.Tokens = v.tokens()
	g.Throughput = v.throughput()
	g.LatencySeconds = v.latency()
	g.KVCache = v.kvCache()
	g.PrefixCache = v.prefixCache()
	g.Speculative = v.speculative()
	g.KVOffload = v.kvOffload()
	g.KVConnectors = v.ofAll().kvConnectors()
	g.Instances = v.ofAll().instances()
	v.runtimeConfig()
	v.Curves = v.curves()
	v.Omni = v.omni()
	v.ofAll().doubtConsistency()
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
func (v view) noEngine(in Input) {
	reason := "no engine was found: give its address with --metrics-url http://HOST:PORT/metrics; for an engine without a port (LLM() in a script), use --instrument --multiproc on"
	var failures []string
	for _, e := range in.Others {
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
	if len(in.Silent) > 0 {
		reason = fmt.Sprintf("the engine at %s has no figures: it answered without vLLM's samples (--disable-log-stats)", in.Silent[0].Name)
		if len(in.Silent) > 1 {
			reason += fmt.Sprintf(" (and %d more engines)", len(in.Silent)-1)
		}
	}
	reason += v.introspection.reasonSuffix()
	for _, field := range []string{"engine", "kv_cache_usage_perc", "prefix_cache_hit_rate", "spec_accept_rate", "omni"} {
		v.Notes.Missing(field, reason)
	}
	if !v.configOfSilent(in.Silent) {
		v.configFromIntrospection(reason)
	}
}

// configOfSilent fills the core's engine_runtime_config from the answers of servers without
// samples, and reports whether it did. What --instrument reported takes precedence if it
// is not about these servers.
func (v view) configOfSilent(silent []Endpoint) bool {
	v.add(silent)
	v = v.ofAll()
	covered := slices.ContainsFunc(v.endpoints, v.introspectionCovers)
	if len(v.endpoints) == 0 || len(v.introspection.Cores) > 0 && !covered {
		v.all = nil
		return false
	}
	v.configure()
	v.fillRuntimeConfig()
	v.noteMissingSettings("engine_runtime_config", "engine_runtime_config", coreSettings[:])
	return true
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
