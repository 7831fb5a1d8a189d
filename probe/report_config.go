package probe

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vobs/vobs/internal/vllm/config"
	"github.com/vobs/vobs/schema"
)

// effective is the configuration of the engines that the figures are of.
type effective struct {
	// at has what is told at each endpoint, in their order; nil for one that is not of
	// the stage.
	at []map[string]config.Setting
	// common are the settings that all of them have alike.
	common map[string]config.Setting
	// untold has the reasons of those that are not told, own of those that are told and
	// have no value: they are off, or differ.
	untold, own map[string]string
}

// configure puts together what the sources tell. But for what an engine's processes tell
// from inside all of it is the front-end's copy: an engine core may switch chunked prefill
// and prefix caching off on its own (for models without a KV cache or with attention that
// is not causal) and does not report that back (vllm/v1/engine/core.py, core_client.py of
// 0.32.0).
func (r view) configure() {
	c := &r.effective
	c.common, c.untold, c.own = map[string]config.Setting{}, map[string]string{}, map[string]string{}
	differ := make([]map[string][2]any, len(r.endpoints))
	c.at = make([]map[string]config.Setting, len(r.endpoints))
	own, coresDiffer := r.ownWord()
	for i, e := range r.endpoints {
		if e.elsewhere(r.stage) {
			continue
		}
		var told []config.Layer
		told, differ[i] = e.told(r.stage)
		if len(told) > 0 && r.speaksFor(e) {
			told = append(told, own...)
			for name := range coresDiffer {
				differ[i][name] = coresDiffer[name]
			}
		}
		var conflicts []config.Conflict
		c.at[i], conflicts = config.Merge(told...)
		for _, k := range conflicts {
			r.Notes.Doubt("settings_disagree", schema.Warning, fmt.Sprintf("%s tells %s=%s by %s and %s by %s: the former was taken", e.Name, k.Name, config.Format(k.Won.Value), k.Won.Source, config.Format(k.Lost.Value), k.Lost.Source), nil)
		}
	}
	for _, name := range config.Names() {
		r.agree(name, differ)
	}
}

// agree takes a setting where all engines have it alike.
func (r view) agree(name string, differ []map[string][2]any) {
	c := &r.effective
	var found []config.Setting
	for i, e := range r.endpoints {
		if c.at[i] == nil {
			continue
		}
		if pair, ok := differ[i][name]; ok {
			c.own[name] = fmt.Sprintf("the engines at %s differ in it: %s and %s", e.Name, pair[0], pair[1])
			delete(c.at[i], name)
			return
		}
		s, ok := c.at[i][name]
		if !ok {
			if strings.Contains(name, "speculative") && !e.Counters.mixed && r.speculationOff() {
				c.own[name] = speculationOff
			} else {
				c.untold[name] = r.untoldBy(e, name)
			}
			return
		}
		if len(found) > 0 && s.Value != found[0].Value {
			pair := []string{config.Format(found[0].Value), config.Format(s.Value)}
			slices.Sort(pair)
			c.own[name] = fmt.Sprintf("the engines differ in it: %s and %s", pair[0], pair[1])
			return
		}
		found = append(found, s)
	}
	if len(found) == 0 {
		return // no endpoint of the stage: there is no report then
	}
	if r.foundOff(name, found[0]) {
		return
	}
	c.common[name] = config.LeastTrusted(found)
}

// foundOff notes a setting that the engine says it has none of, and reports whether it is one.
func (r view) foundOff(name string, s config.Setting) bool {
	if _, none := s.Value.(config.Disabled); !none {
		return false
	}
	r.effective.own[name] = "the engine tells that it has none"
	r.Off = append(r.Off, name)
	return true
}

// untoldBy says why an endpoint does not tell a setting, and what would.
func (r view) untoldBy(e *record, name string) (why string) {
	if why := e.whyNotQueryable(); why != "" {
		return why
	}
	info := &e.Answers.ServerInfo
	if r.stage == "" && r.introspection.Enabled {
		defer func() { why += r.introspection.silence() }()
	}
	switch {
	case name == "vllm_version":
		info = &e.Answers.Version
	case r.stage != "":
		return "of a stage's engines vllm:cache_config_info alone tells settings"
	}
	switch {
	case e.Files && info.Reason == "" && !info.Asked:
		return "the files of an engine's metrics do not tell it" + r.introspection.hint()
	case info.Reason != "":
		return info.Reason + r.introspection.hint()
	case !info.Answered:
		return e.Name + " was not asked: the engine was gone before that"
	case info.AsText:
		return "the /server_info of this version is a text that does not have it"
	case name == "attention_backend":
		return "the engine chose it on its own, and its front-end does not know which" + r.introspection.hint()
	}
	return "this version's /server_info does not tell it"
}

// runtimeConfig fills the seed's six keys and engine.config.
func (r view) runtimeConfig() {
	c := &r.effective
	r.sixKeys()
	r.explain("engine_runtime_config", "engine_runtime_config", seedKeys[:])

	out := &schema.EngineConfig{Values: map[string]any{}, Sources: map[string]string{}}
	for name, s := range c.common {
		value := s.Value
		if x, ok := value.(float64); ok {
			value = schema.Float(x)
		}
		out.Values[name], out.Sources[name] = value, string(s.Source)
	}
	if len(out.Values) == 0 {
		r.explain("engine.config", "engine.config.values", config.Names())
		return
	}
	r.explain("engine.config.values", "engine.config.values", config.Names())
	r.Engine.Config = out
	if on, ok := c.common["enable_prefix_caching"]; ok && on.Value == true {
		r.doubtCaching()
	}
}

// doubtCaching notes where caching is said to be on and was not used. A core that has
// switched it off does not say so.
func (r view) doubtCaching() {
	queries, why := r.counter(prefixQueries)
	prompt, whyPrompt := r.counter(promptTokens)
	if why == "" && whyPrompt == "" && queries == 0 && prompt > 0 {
		because := "its core has switched caching off for this model, or the requests pass it by (those with prompt_logprobs do)"
		if r.effective.common["enable_prefix_caching"].Source == config.EngineCore {
			because = "the requests pass it by (those with prompt_logprobs do)"
		}
		r.Notes.Doubt("prefix_cache_not_used", schema.Info, fmt.Sprintf("the engine tells enable_prefix_caching=true, and of %d prompt tokens none was looked up: %s", prompt, because), &schema.Evidence{Field: "engine_runtime_config.enable_prefix_caching", Value: true, Threshold: nil})
	}
}

// seedKeys are the seed's, by the event's names.
var seedKeys = [...]string{"max_num_seqs", "max_num_batched_tokens", "enable_chunked_prefill", "enable_prefix_caching", "kv_cache_dtype", "speculative_method"}

// sixKeys fills the seed's keys.
func (r view) sixKeys() {
	c := &r.effective
	six := &r.EngineRuntimeConfig
	fill(c, "max_num_seqs", &six.MaxNumSeqs)
	fill(c, "max_num_batched_tokens", &six.MaxNumBatchedTokens)
	fill(c, "enable_chunked_prefill", &six.EnableChunkedPrefill)
	fill(c, "enable_prefix_caching", &six.EnablePrefixCaching)
	fill(c, "kv_cache_dtype", &six.KVCacheDtype)
	fill(c, "speculative_method", &six.SpeculativeMethod)
}

// fill sets one of the seed's keys where the setting is known.
func fill[T any](c *effective, name string, to **T) {
	if s, ok := c.common[name]; ok {
		if x, ok := s.Value.(T); ok {
			*to = &x
		}
	}
}

// explain says why settings are absent: for each that has a reason of its own there,
// and together for those that no source tells.
func (r view) explain(group, each string, names []string) {
	c := &r.effective
	var reasons []string
	byReason := map[string][]string{}
	for _, name := range names {
		if why, ok := c.own[name]; ok {
			r.Notes.Missing(each+"."+name, why)
		}
		if why, ok := c.untold[name]; ok {
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

// told is what the sources say of a stage's engines at one endpoint, and of what its
// engines tell different things, both of them.
func (e *record) told(stage string) (told []config.Layer, differ map[string][2]any) {
	if e.Counters.mixed {
		return nil, nil
	}
	told = append(told, config.Layer{Source: config.Version, Values: e.Answers.Version.Values})
	if stage == "" { // of several stages, the server's own answers do not say which they describe
		told = append(told, config.Layer{Source: config.Models, Values: e.Answers.Models.Values},
			config.Layer{Source: config.ServerInfo, Values: e.Answers.ServerInfo.Values})
	}
	var each []config.Values
	for id, l := range e.Counters.configs {
		if id.stage == stage {
			each = append(each, config.FromLabels(l.Get))
		}
	}
	labels, differ := config.Agree(each)
	return append(told, config.Layer{Source: config.CacheConfig, Values: labels}), differ
}
