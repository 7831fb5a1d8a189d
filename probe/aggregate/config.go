package aggregate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vobs/vobs/internal/vllm/config"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/schema"
)

// effectiveConfig is the configuration of the engines that the figures describe.
type effectiveConfig struct {
	// byEndpoint has the settings that each endpoint reports, in their order; nil for one
	// without engines of the stage.
	byEndpoint []map[string]config.Setting
	// common are the settings that all of them have in common.
	common map[string]config.Setting
	// notReported has the reasons for settings that no source reports, reasons those for
	// settings that are reported without a common value: they are off, or differ.
	notReported, reasons map[string]string
}

// configure combines the sources of the configuration. Except for what --instrument reports
// from inside an engine's processes, all of them have the front end's copy: an engine core
// may switch off chunked prefill and prefix caching on its own (for models without a KV
// cache or with attention that is not causal) and does not report that back
// (vllm/v1/engine/core.py, core_client.py of 0.32.0).
func (v view) configure() {
	c := &v.settings
	c.common, c.notReported, c.reasons = map[string]config.Setting{}, map[string]string{}, map[string]string{}
	differ := make([]map[string][2]any, len(v.endpoints))
	c.byEndpoint = make([]map[string]config.Setting, len(v.endpoints))
	own, coresDiffer := v.introspectedConfig()
	for i, e := range v.endpoints {
		if e.lacksStage(v.stage) {
			continue
		}
		var layers []config.Layer
		layers, differ[i] = e.configLayers(v.stage)
		if len(layers) > 0 && v.introspectionCovers(e) {
			layers = append(layers, own...)
			for name := range coresDiffer {
				differ[i][name] = coresDiffer[name]
			}
		}
		var conflicts []config.Conflict
		c.byEndpoint[i], conflicts = config.Merge(layers...)
		for _, k := range conflicts {
			v.Notes.Doubt(schema.CodeSettingsDisagree, schema.Warning, fmt.Sprintf("%s reports %s=%s (%s) and %s (%s): the former was used", e.Name, k.Name, config.Format(k.Won.Value), k.Won.Source, config.Format(k.Lost.Value), k.Lost.Source), nil)
		}
	}
	for _, name := range config.Names() {
		v.mergeAcrossEngines(name, differ)
	}
	v.Settings = c.values()
	v.Reported = v.reported()
}

// values returns the common settings as the event has them.
func (c *effectiveConfig) values() map[string]any {
	out := map[string]any{}
	for name, s := range c.common {
		out[name] = s.Value
		if x, ok := s.Value.(float64); ok {
			out[name] = schema.Float(x)
		}
	}
	return out
}

// reported returns all settings that the endpoints have in common, from /server_info and
// from the labels of vllm:cache_config_info.
func (v view) reported() config.Reported {
	var all []config.Reported
	for i, e := range v.endpoints {
		if v.settings.byEndpoint[i] != nil {
			all = append(all, e.reported(v.stage))
		}
	}
	return config.Common(all...)
}

func (e *endpoint) reported(stage string) config.Reported {
	if e.Counters.LoadBalanced {
		return nil
	}
	var each []config.Reported
	for id, labels := range e.Counters.Configs {
		if id.Stage != stage {
			continue
		}
		byName := map[string]string{}
		for _, l := range labels.Pairs() {
			byName[l.Name] = l.Value
		}
		each = append(each, config.AllFromLabels(byName))
	}
	if stage != "" {
		return config.Common(each...)
	}
	return e.Answers.ServerInfo.Reported.Over(config.Common(each...))
}

// mergeAcrossEngines sets the common value of a setting, or the reason why there is none.
func (v view) mergeAcrossEngines(name string, differ []map[string][2]any) {
	c := &v.settings
	var found []config.Setting
	for i, e := range v.endpoints {
		if c.byEndpoint[i] == nil {
			continue
		}
		if pair, ok := differ[i][name]; ok {
			c.reasons[name] = fmt.Sprintf("the engines at %s have different values: %s and %s", e.Name, pair[0], pair[1])
			delete(c.byEndpoint[i], name)
			return
		}
		s, ok := c.byEndpoint[i][name]
		if !ok {
			if strings.Contains(name, "speculative") && !e.Counters.LoadBalanced && v.speculationOff() {
				c.reasons[name] = SpeculationOff
			} else {
				c.notReported[name] = v.whyNotReported(e, name)
			}
			return
		}
		if len(found) > 0 && s.Value != found[0].Value {
			pair := []string{config.Format(found[0].Value), config.Format(s.Value)}
			slices.Sort(pair)
			c.reasons[name] = fmt.Sprintf("the engines have different values: %s and %s", pair[0], pair[1])
			return
		}
		found = append(found, s)
	}
	if len(found) == 0 {
		return // no endpoint has the stage
	}
	if v.noteDisabled(name, found[0]) {
		return
	}
	c.common[name] = config.LeastTrusted(found)
}

// noteDisabled notes a setting that the engine reports as off, and reports whether it is one.
func (v view) noteDisabled(name string, s config.Setting) bool {
	if _, disabled := s.Value.(config.Disabled); !disabled {
		return false
	}
	v.settings.reasons[name] = "the engine reports that it has none"
	v.Off = append(v.Off, name)
	return true
}

// whyNotReported returns why an endpoint does not report a setting, and what would.
func (v view) whyNotReported(e *endpoint, name string) (why string) {
	if why := e.whyNotQueryable(); why != "" {
		return why
	}
	info := &e.Answers.ServerInfo
	if v.stage == "" && v.introspection.Enabled {
		defer func() { why += v.introspection.reasonSuffix() }()
	}
	switch {
	case name == "vllm_version":
		info = &e.Answers.Version
	case v.stage != "":
		return "only vllm:cache_config_info reports settings of a stage's engines"
	}
	switch {
	case e.Files && info.Reason == "" && !info.Asked:
		return "the engine's metric files do not include it" + v.introspection.hintSuffix()
	case info.Reason != "":
		return info.Reason + v.introspection.hintSuffix()
	case !info.Answered:
		return "the engine was gone before " + e.Name + " could be queried"
	case info.AsText:
		return "the /server_info of this version is a text that does not include it"
	case name == "attention_backend":
		return "the engine chose the backend itself, and its front end does not know it" + v.introspection.hintSuffix()
	}
	return "this version's /server_info does not include it"
}

// runtimeConfig fills the core's engine_runtime_config and engine.config.
func (v view) runtimeConfig() {
	c := &v.settings
	v.fillRuntimeConfig()
	v.noteMissingSettings("engine_runtime_config", "engine_runtime_config", coreSettings[:])

	out := &schema.EngineConfig{Values: c.values(), Sources: map[string]string{}}
	for name, s := range c.common {
		out.Sources[name] = string(s.Source)
	}
	if len(out.Values) == 0 {
		v.noteMissingSettings("engine.config", "engine.config.values", config.Names())
		return
	}
	v.noteMissingSettings("engine.config.values", "engine.config.values", config.Names())
	v.Engine.Config = out
	if on, ok := c.common["enable_prefix_caching"]; ok && on.Value == true {
		v.doubtCaching()
	}
}

// doubtCaching notes that prefix caching is reported as on but was not used. A core that
// switched it off does not report that.
func (v view) doubtCaching() {
	queries, why := v.counter(metrics.PrefixQueries)
	prompt, whyPrompt := v.counter(metrics.PromptTokens)
	if why == "" && whyPrompt == "" && queries == 0 && prompt > 0 {
		because := "its core switched caching off for this model, or the requests bypass it (those with prompt_logprobs do)"
		if v.settings.common["enable_prefix_caching"].Source == config.EngineCore {
			because = "the requests bypass it (those with prompt_logprobs do)"
		}
		v.Notes.Doubt(schema.CodePrefixCacheNotUsed, schema.Info, fmt.Sprintf("the engine reports enable_prefix_caching=true, but none of %d prompt tokens was looked up: %s", prompt, because), &schema.Evidence{Field: "engine_runtime_config.enable_prefix_caching", Value: true, Threshold: nil})
	}
}

// coreSettings are the keys of the core's engine_runtime_config.
var coreSettings = [...]string{"max_num_seqs", "max_num_batched_tokens", "enable_chunked_prefill", "enable_prefix_caching", "kv_cache_dtype", "speculative_method"}

// fillRuntimeConfig sets the keys of the core's engine_runtime_config that are known.
func (v view) fillRuntimeConfig() {
	c, out := &v.settings, &v.EngineRuntimeConfig
	setIfKnown(c, "max_num_seqs", &out.MaxNumSeqs)
	setIfKnown(c, "max_num_batched_tokens", &out.MaxNumBatchedTokens)
	setIfKnown(c, "enable_chunked_prefill", &out.EnableChunkedPrefill)
	setIfKnown(c, "enable_prefix_caching", &out.EnablePrefixCaching)
	setIfKnown(c, "kv_cache_dtype", &out.KVCacheDtype)
	setIfKnown(c, "speculative_method", &out.SpeculativeMethod)
}

// setIfKnown sets *to to the common value of a setting if there is one of that type.
func setIfKnown[T any](c *effectiveConfig, name string, to **T) {
	if s, ok := c.common[name]; ok {
		if x, ok := s.Value.(T); ok {
			*to = &x
		}
	}
}

// noteMissingSettings notes why settings are missing: at each setting that is off or
// differs, and at the group for those that no source reports.
func (v view) noteMissingSettings(group, each string, names []string) {
	c := &v.settings
	var reasons []string
	byReason := map[string][]string{}
	for _, name := range names {
		if why, ok := c.reasons[name]; ok {
			v.Notes.Missing(each+"."+name, why)
		}
		if why, ok := c.notReported[name]; ok {
			if byReason[why] == nil {
				reasons = append(reasons, why)
			}
			byReason[why] = append(byReason[why], name)
		}
	}
	for i, why := range reasons {
		reasons[i] = "not reported: " + strings.Join(byReason[why], ", ") + " (" + why + ")"
	}
	if len(reasons) > 0 {
		v.Notes.Missing(group, strings.Join(reasons, "; "))
	}
}

// configLayers returns what each source reports of a stage's engines at one endpoint, and
// two values each of the settings in which its engines differ.
func (e *endpoint) configLayers(stage string) (layers []config.Layer, differ map[string][2]any) {
	if e.Counters.LoadBalanced {
		return nil, nil
	}
	layers = append(layers, config.Layer{Source: config.Version, Values: e.Answers.Version.Values})
	if stage == "" { // with several stages, it is unknown which one the server's answers describe
		layers = append(layers, config.Layer{Source: config.Models, Values: e.Answers.Models.Values},
			config.Layer{Source: config.ServerInfo, Values: e.Answers.ServerInfo.Values})
	}
	var each []config.Values
	for _, id := range slices.SortedFunc(maps.Keys(e.Counters.Configs), compareEngines) {
		if id.Stage == stage {
			each = append(each, config.FromLabels(e.Counters.Configs[id].Get))
		}
	}
	labels, differ := config.Agree(each)
	return append(layers, config.Layer{Source: config.CacheConfig, Values: labels}), differ
}
