package aggregate

import (
	"fmt"
	"maps"
	"slices"

	"github.com/vobs/vobs/internal/vllm/config"
	"github.com/vobs/vobs/schema"
)

// Introspection is what the command's engines told of themselves from inside their processes
// (--instrument).
type Introspection struct {
	// Enabled reports whether --instrument was given.
	Enabled bool
	// Cores are the engine cores that ran.
	Cores []CoreConfig
	// Backends are the classes of attention that each worker chose.
	Backends [][]string
	// DataParallelSizes are those of the configurations that front-ends made.
	DataParallelSizes []int64
	// Version is vLLM's where all processes have the same; else "".
	Version string
	// Reason is why they reported nothing, or not everything; "" if they did.
	Reason string
}

// CoreConfig is one engine core's word on its configuration.
type CoreConfig struct {
	// Index is its data-parallel rank.
	Index  int
	Values config.Values
}

// reasonSuffix is the end of a reason: why the engines did not tell it from inside either.
func (w *Introspection) reasonSuffix() string {
	if !w.Enabled || w.Reason == "" {
		return ""
	}
	return "; --instrument: " + w.Reason
}

// hintSuffix is the end of a reason: what would have them tell.
func (w *Introspection) hintSuffix() string {
	if w.Enabled {
		return ""
	}
	return "; --instrument has it, where the command starts the engine"
}

// introspectionCovers says whether an endpoint's engines are those that told: the command's own.
// One that was there before the command, or is elsewhere, has others.
func (r view) introspectionCovers(e *endpointRecord) bool {
	return r.stage == "" && (e.Files || e.Base == BaseZero && e.Local)
}

// introspectedConfig is what the engines told from inside, as sources, the cores' first; and of
// what the cores tell different things, both.
func (r view) introspectedConfig() (told []config.Layer, differ map[string][2]any) {
	var cores []config.Values
	ranks := map[int]bool{}
	blocks, everywhere := int64(0), true
	for _, c := range r.introspection.Cores {
		v := maps.Clone(c.Values)
		ranks[c.Index] = true
		n, ok := v["num_gpu_blocks"].(int64)
		blocks, everywhere = blocks+n, everywhere && ok
		delete(v, "num_gpu_blocks") // of one core; the event has all together
		cores = append(cores, v)
	}
	common, differ := config.Agree(cores)
	front := config.FromFrontEnd(r.introspection.DataParallelSizes)
	// All engines of one server are those that were seen: none on another machine, and
	// none that followed another.
	if everywhere && len(cores) > 0 && len(r.endpoints) < 2 && len(ranks) == len(cores) && front["data_parallel_size"] == int64(len(cores)) {
		common["num_gpu_blocks"] = blocks
	}
	if r.introspection.Version != "" && len(cores) > 0 {
		common["vllm_version"] = r.introspection.Version
	}
	for _, name := range slices.Sorted(maps.Keys(differ)) {
		pair := differ[name]
		r.Notes.Doubt(schema.CodeSettingsDisagree, schema.Warning, fmt.Sprintf("the engine cores of the command tell different values of %s, %s and %s among them: none was taken", name, pair[0], pair[1]), nil)
	}
	return []config.Layer{
		{Source: config.EngineCore, Values: common},
		{Source: config.Worker, Values: config.FromWorkers(r.introspection.Backends)},
		{Source: config.FrontEnd, Values: front},
	}, differ
}

// configFromIntrospection fills the seed's six keys where no engine could be read: by the engine
// cores' own word. why says why no engine was read.
func (r view) configFromIntrospection(why string) {
	if len(r.introspection.Cores) == 0 {
		r.Notes.Missing("engine_runtime_config", why)
		return
	}
	c := &r.settings
	c.notReported, c.reasons = map[string]string{}, map[string]string{}
	told, differ := r.introspectedConfig()
	c.common, _ = config.Merge(told...)
	for _, name := range config.Names() {
		s, ok := c.common[name]
		switch pair, differs := differ[name]; {
		case differs:
			c.reasons[name] = fmt.Sprintf("the command's engines differ in it: %s and %s", pair[0], pair[1])
		case !ok:
			c.notReported[name] = "the engine core does not tell it"
		default:
			r.noteDisabled(name, s)
		}
	}
	r.fillRuntimeConfig()
	r.noteMissingSettings("engine_runtime_config", "engine_runtime_config", coreSettings[:])
}
