package aggregate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vobs/vobs/internal/vllm/config"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/schema"
)

// effectiveConfig is the configuration of the engines that the figures are of.
type effectiveConfig struct {
	// byEndpoint has what is told at each endpoint, in their order; nil for one that is not of
	// the stage.
	byEndpoint []map[string]config.Setting
	// common are the settings that all of them have alike.
	common map[string]config.Setting
	// notReported has the reasons of those that are not told, own of those that are told and
	// have no value: they are off, or differ.
	notReported, reasons map[string]string
}

// configure puts together what the sources tell. But for what an engine's processes tell
// from inside all of it is the front-end's copy: an engine core may switch chunked prefill
// and prefix caching off on its own (for models without a KV cache or with attention that
// is not causal) and does not report that back (vllm/v1/engine/core.py, core_client.py of
// 0.32.0).
func (r view) configure() {
	c := &r.settings
	c.common, c.notReported, c.reasons = map[string]config.Setting{}, map[string]string{}, map[string]string{}
	differ := make([]map[string][2]any, len(r.endpoints))
	c.byEndpoint = make([]map[string]config.Setting, len(r.endpoints))
	own, coresDiffer := r.introspectedConfig()
	for i, e := range r.endpoints {
		if e.lacksStage(r.stage) {
			continue
		}
		var told []config.Layer
		told, differ[i] = e.configLayers(r.stage)
		if len(told) > 0 && r.introspectionCovers(e) {
			told = append(told, own...)
			for name := range coresDiffer {
				differ[i][name] = coresDiffer[name]
			}
		}
		var conflicts []config.Conflict
		c.byEndpoint[i], conflicts = config.Merge(told...)
		for _, k := range conflicts {
			r.Notes.Doubt(schema.CodeSettingsDisagree, schema.Warning, fmt.Sprintf("%s tells %s=%s by %s and %s by %s: the former was taken", e.Name, k.Name, config.Format(k.Won.Value), k.Won.Source, config.Format(k.Lost.Value), k.Lost.Source), nil)
		}
	}
	for _, name := range config.Names() {
		r.mergeAcrossEngines(name, differ)
	}
}

// mergeAcrossEngines takes a setting where all engines have it alike.
func (r view) mergeAcrossEngines(name string, differ []map[string][2]any) {
	c := &r.settings
	var found []config.Setting
	for i, e := range r.endpoints {
		if c.byEndpoint[i] == nil {
			continue
		}
		if pair, ok := differ[i][name]; ok {
			c.reasons[name] = fmt.Sprintf("the engines at %s differ in it: %s and %s", e.Name, pair[0], pair[1])
			delete(c.byEndpoint[i], name)
			return
		}
		s, ok := c.byEndpoint[i][name]
		if !ok {
			if strings.Contains(name, "speculative") && !e.Counters.LoadBalanced && r.speculationOff() {
				c.reasons[name] = SpeculationOff
			} else {
				c.notReported[name] = r.whyNotReported(e, name)
			}
			return
		}
		if len(found) > 0 && s.Value != found[0].Value {
			pair := []string{config.Format(found[0].Value), config.Format(s.Value)}
			slices.Sort(pair)
			c.reasons[name] = fmt.Sprintf("the engines differ in it: %s and %s", pair[0], pair[1])
			return
		}
		found = append(found, s)
	}
	if len(found) == 0 {
		return // no endpoint of the stage: there is no report then
	}
	if r.noteDisabled(name, found[0]) {
		return
	}
	c.common[name] = config.LeastTrusted(found)
}

// noteDisabled notes a setting that the engine says it has none of, and reports whether it is one.
func (r view) noteDisabled(name string, s config.Setting) bool {
	if _, none := s.Value.(config.Disabled); !none {
		return false
	}
	r.settings.reasons[name] = "the engine tells that it has none"
	r.Off = append(r.Off, name)
	return true
}

// whyNotReported says why an endpoint does not tell a setting, and what would.
func (r view) whyNotReported(e *endpointRecord, name string) (why string) {
	if why := e.whyNotQueryable(); why != "" {
		return why
	}
	info := &e.Answers.ServerInfo
	if r.stage == "" && r.introspection.Enabled {
		defer func() { why += r.introspection.reasonSuffix() }()
	}
	switch {
	case name == "vllm_version":
		info = &e.Answers.Version
	case r.stage != "":
		return "of a stage's engines vllm:cache_config_info alone tells settings"
	}
	switch {
	case e.Files && info.Reason == "" && !info.Asked:
		return "the files of an engine's metrics do not tell it" + r.introspection.hintSuffix()
	case info.Reason != "":
		return info.Reason + r.introspection.hintSuffix()
	case !info.Answered:
		return e.Name + " was not asked: the engine was gone before that"
	case info.AsText:
		return "the /server_info of this version is a text that does not have it"
	case name == "attention_backend":
		return "the engine chose it on its own, and its front-end does not know which" + r.introspection.hintSuffix()
	}
	return "this version's /server_info does not tell it"
}

// runtimeConfig fills the seed's six keys and engine.config.
func (r view) runtimeConfig() {
	c := &r.settings
	r.fillRuntimeConfig()
	r.noteMissingSettings("engine_runtime_config", "engine_runtime_config", coreSettings[:])

	out := &schema.EngineConfig{Values: map[string]any{}, Sources: map[string]string{}}
	for name, s := range c.common {
		value := s.Value
		if x, ok := value.(float64); ok {
			value = schema.Float(x)
		}
		out.Values[name], out.Sources[name] = value, string(s.Source)
	}
	if len(out.Values) == 0 {
		r.noteMissingSettings("engine.config", "engine.config.values", config.Names())
		return
	}
	r.noteMissingSettings("engine.config.values", "engine.config.values", config.Names())
	r.Engine.Config = out
	if on, ok := c.common["enable_prefix_caching"]; ok && on.Value == true {
		r.doubtCaching()
	}
}

// doubtCaching notes where caching is said to be on and was not used. A core that has
// switched it off does not say so.
func (r view) doubtCaching() {
	queries, why := r.counter(metrics.PrefixQueries)
	prompt, whyPrompt := r.counter(metrics.PromptTokens)
	if why == "" && whyPrompt == "" && queries == 0 && prompt > 0 {
		because := "its core has switched caching off for this model, or the requests pass it by (those with prompt_logprobs do)"
		if r.settings.common["enable_prefix_caching"].Source == config.EngineCore {
			because = "the requests pass it by (those with prompt_logprobs do)"
		}
		r.Notes.Doubt(schema.CodePrefixCacheNotUsed, schema.Info, fmt.Sprintf("the engine tells enable_prefix_caching=true, and of %d prompt tokens none was looked up: %s", prompt, because), &schema.Evidence{Field: "engine_runtime_config.enable_prefix_caching", Value: true, Threshold: nil})
	}
}

// coreSettings are the seed's, by the event's names.
var coreSettings = [...]string{"max_num_seqs", "max_num_batched_tokens", "enable_chunked_prefill", "enable_prefix_caching", "kv_cache_dtype", "speculative_method"}

// fillRuntimeConfig fills the seed's keys.
func (r view) fillRuntimeConfig() {
	c := &r.settings
	six := &r.EngineRuntimeConfig
	fill(c, "max_num_seqs", &six.MaxNumSeqs)
	fill(c, "max_num_batched_tokens", &six.MaxNumBatchedTokens)
	fill(c, "enable_chunked_prefill", &six.EnableChunkedPrefill)
	fill(c, "enable_prefix_caching", &six.EnablePrefixCaching)
	fill(c, "kv_cache_dtype", &six.KVCacheDtype)
	fill(c, "speculative_method", &six.SpeculativeMethod)
}

// fill sets one of the seed's keys where the setting is known.
func fill[T any](c *effectiveConfig, name string, to **T) {
	if s, ok := c.common[name]; ok {
		if x, ok := s.Value.(T); ok {
			*to = &x
		}
	}
}

// noteMissingSettings says why settings are absent: for each that has a reason of its own there,
// and together for those that no source tells.
func (r view) noteMissingSettings(group, each string, names []string) {
	c := &r.settings
	var reasons []string
	byReason := map[string][]string{}
	for _, name := range names {
		if why, ok := c.reasons[name]; ok {
			r.Notes.Missing(each+"."+name, why)
		}
		if why, ok := c.notReported[name]; ok {
			if byReason[why] == nil {
				reasons = append(reasons, why)
			}
			byReason[why] = append(byReason[why], name)
		}
	}
	for i, why := range reasons {
		reasons[i] = "not told: " + strings.Join(byReason[why], ", ") + " (" + why + ")"
	}
	if len(reasons) > 0 {
		r.Notes.Missing(group, strings.Join(reasons, "; "))
	}
}

// configLayers is what the sources say of a stage's engines at one endpoint, and of what its
// engines tell different things, both of them.
func (e *endpointRecord) configLayers(stage string) (told []config.Layer, differ map[string][2]any) {
	if e.Counters.LoadBalanced {
		return nil, nil
	}
	told = append(told, config.Layer{Source: config.Version, Values: e.Answers.Version.Values})
	if stage == "" { // of several stages, the server's own answers do not say which they describe
		told = append(told, config.Layer{Source: config.Models, Values: e.Answers.Models.Values},
			config.Layer{Source: config.ServerInfo, Values: e.Answers.ServerInfo.Values})
	}
	var each []config.Values
	for id, l := range e.Counters.Configs {
		if id.Stage == stage {
			each = append(each, config.FromLabels(l.Get))
		}
	}
	labels, differ := config.Agree(each)
	return append(told, config.Layer{Source: config.CacheConfig, Values: labels}), differ
}
