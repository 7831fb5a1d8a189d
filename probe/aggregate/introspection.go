package aggregate

import (
	"fmt"
	"maps"
	"slices"

	"github.com/vobs/vobs/internal/vllm/config"
	"github.com/vobs/vobs/schema"
)

// Introspection is what the plugin of --instrument reported from inside the processes of
// the command's engines.
type Introspection struct {
	// Enabled reports whether --instrument was given.
	Enabled bool
	// Cores are the engine cores that ran.
	Cores []CoreConfig
	// Backends are the classes of the attention backends that each worker chose.
	Backends [][]string
	// DataParallelSizes are those of the configurations that front ends created.
	DataParallelSizes []int64
	// Version is vLLM's if all processes have the same one; otherwise "".
	Version string
	// Reason is why the plugin reported nothing, or not everything; "" if it did.
	Reason string
}

// CoreConfig is the configuration that one engine core reported.
type CoreConfig struct {
	// Index is its data-parallel rank.
	Index  int
	Values config.Values
}

// reasonSuffix returns the end of a reason: why --instrument did not report a setting
// either.
func (in *Introspection) reasonSuffix() string {
	if !in.Enabled || in.Reason == "" {
		return ""
	}
	return "; --instrument: " + in.Reason
}

// hintSuffix returns the end of a reason: what would report a setting.
func (in *Introspection) hintSuffix() string {
	if in.Enabled {
		return ""
	}
	return "; --instrument reports it if the command starts the engine"
}

// introspectionCovers reports whether an endpoint's engines are the command's own, which the
// plugin can report on. An endpoint that was there before the command, or is on another
// host, has others.
func (v view) introspectionCovers(e *endpoint) bool {
	return v.stage == "" && (e.Files || e.Base == BaseZero && e.Local)
}

// introspectedConfig returns what the plugin reported as layers, the cores' first, and two
// values each of the settings in which the cores differ.
func (v view) introspectedConfig() (layers []config.Layer, differ map[string][2]any) {
	var cores []config.Values
	ranks := map[int]bool{}
	blocks, everywhere := int64(0), true
	for _, c := range v.introspection.Cores {
		values := maps.Clone(c.Values)
		ranks[c.Index] = true
		n, ok := values["num_gpu_blocks"].(int64)
		blocks, everywhere = blocks+n, everywhere && ok
		delete(values, "num_gpu_blocks") // one core's; the event has the sum
		cores = append(cores, values)
	}
	common, differ := config.Agree(cores)
	front := config.FromFrontEnd(v.introspection.DataParallelSizes)
	// The sum is that of one server if all of its engines were seen: none is on another
	// machine, and none replaced another.
	if everywhere && len(cores) > 0 && len(v.all) < 2 && len(ranks) == len(cores) && front["data_parallel_size"] == int64(len(cores)) {
		common["num_gpu_blocks"] = blocks
	}
	if v.introspection.Version != "" && len(cores) > 0 {
		common["vllm_version"] = v.introspection.Version
	}
	for _, name := range slices.Sorted(maps.Keys(differ)) {
		pair := differ[name]
		v.Notes.Doubt(schema.CodeSettingsDisagree, schema.Warning, fmt.Sprintf("the command's engine cores report different values of %s, among them %s and %s: none was used", name, pair[0], pair[1]), nil)
	}
	return []config.Layer{
		{Source: config.EngineCore, Values: common},
		{Source: config.Worker, Values: config.FromWorkers(v.introspection.Backends)},
		{Source: config.FrontEnd, Values: front},
	}, differ
}

// configFromIntrospection fills the core's engine_runtime_config from what the plugin
// reported if no engine could be read; why is the reason for that.
func (v view) configFromIntrospection(why string) {
	if len(v.introspection.Cores) == 0 {
		v.Notes.Missing("engine_runtime_config", why)
		return
	}
	c := &v.settings
	c.notReported, c.reasons = map[string]string{}, map[string]string{}
	layers, differ := v.introspectedConfig()
	c.common, _ = config.Merge(layers...)
	for _, name := range config.Names() {
		s, ok := c.common[name]
		switch pair, differs := differ[name]; {
		case differs:
			c.reasons[name] = fmt.Sprintf("the command's engines have different values: %s and %s", pair[0], pair[1])
		case !ok:
			c.notReported[name] = "the engine core does not report it"
		default:
			v.noteDisabled(name, s)
		}
	}
	v.Settings = c.values()
	v.fillRuntimeConfig()
	v.noteMissingSettings("engine_runtime_config", "engine_runtime_config", coreSettings[:])
}
