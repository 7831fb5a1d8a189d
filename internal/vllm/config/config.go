// Package config reads an engine's own configuration: the responses of /server_info,
// /v1/models and /version, the labels of vllm:cache_config_info, and what the plugin
// of --instrument reports from inside vLLM's processes.
//
// Each source becomes a [Layer], a flat map by the event's names, and [Merge] combines
// the layers key by key; the most trusted source wins. [Reported] holds everything else
// that a source has, for comparisons only. The package does no I/O: readers hand it the
// bytes that they have read.
package config

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Source is where a value comes from, as in the event's engine.config.sources.
type Source string

// The sources, the most trusted first. A new one must be added to ranks.
const (
	EngineCore  Source = "engine_core"       // reported by the engine cores, through --instrument
	Worker      Source = "worker"            // reported by the workers, through --instrument
	FrontEnd    Source = "front_end"         // what only the front-end knows, through --instrument
	ServerInfo  Source = "server_info"       // GET /server_info, in either form
	CacheConfig Source = "cache_config_info" // labels of vllm:cache_config_info
	Models      Source = "models"            // GET /v1/models
	Version     Source = "version"           // GET /version
)

// ranks lists the sources, the most trusted first. From ServerInfo on, all report the
// front-end's copy of the configuration.
var ranks = [...]Source{EngineCore, Worker, FrontEnd, ServerInfo, CacheConfig, Models, Version}

func (s Source) rank() int { return slices.Index(ranks[:], s) }

// Values are settings by the event's names. Each is a string, a bool, an int64, a float64,
// or [Disabled] if the engine reports that the setting is off, as quantization=None.
type Values map[string]any

// Disabled is the value of a setting that is off.
type Disabled struct{}

type kind int

const (
	text     kind = iota // a string
	number               // an integer, 0 or more
	fraction             // a float above 0
	boolean
)

const (
	// maxText is the longest string that is accepted, in bytes.
	maxText = 4 << 10
	// maxNumber is the largest integer that every JSON reader represents exactly.
	maxNumber = 1 << 53
)

// key is one setting.
type key struct {
	// name is the setting's name in the event: vLLM's flag, if there is one, with
	// underscores.
	name string
	kind kind
	// paths are its places in VllmConfig, as SECTION.FIELD (vllm/config/*.py). The first
	// that exists counts.
	paths []string
	// textNames are its names in VllmConfig.__str__ (vllm/config/vllm.py).
	textNames []string
	// label is its label of vllm:cache_config_info (vllm/config/cache.py, metrics_info).
	label string
	// noneMeansOff is set if None means that the setting is off. Otherwise None means that
	// it is not reported.
	noneMeansOff bool
}

// keys are the settings that are read. Up to 0.11, scheduler_config.chunked_prefill_enabled
// was the effective value; enable_chunked_prefill beside it could be the requested one.
var keys = [...]key{
	{name: "model", paths: []string{"model_config.model"}, textNames: []string{"model"}},
	{name: "served_model_name", paths: []string{"model_config.served_model_name"}},
	{name: "dtype", paths: []string{"model_config.dtype"}, textNames: []string{"dtype"}},
	{name: "quantization", paths: []string{"model_config.quantization"}, textNames: []string{"quantization"}, noneMeansOff: true},
	{name: "max_model_len", kind: number, paths: []string{"model_config.max_model_len"}, textNames: []string{"max_seq_len"}},
	{name: "enforce_eager", kind: boolean, paths: []string{"model_config.enforce_eager"}, textNames: []string{"enforce_eager"}},
	{name: "load_format", paths: []string{"load_config.load_format"}, textNames: []string{"load_format"}},
	{name: "attention_backend", paths: []string{"attention_config.backend"}},
	{name: "tensor_parallel_size", kind: number, paths: []string{"parallel_config.tensor_parallel_size"}, textNames: []string{"tensor_parallel_size"}},
	{name: "pipeline_parallel_size", kind: number, paths: []string{"parallel_config.pipeline_parallel_size"}, textNames: []string{"pipeline_parallel_size"}},
	{name: "data_parallel_size", kind: number, paths: []string{"parallel_config.data_parallel_size"}, textNames: []string{"data_parallel_size"}},
	{name: "enable_expert_parallel", kind: boolean, paths: []string{"parallel_config.enable_expert_parallel"}},
	{name: "max_num_seqs", kind: number, paths: []string{"scheduler_config.max_num_seqs"}},
	{name: "max_num_batched_tokens", kind: number, paths: []string{"scheduler_config.max_num_batched_tokens"}},
	{name: "enable_chunked_prefill", kind: boolean, paths: []string{"scheduler_config.chunked_prefill_enabled", "scheduler_config.enable_chunked_prefill"}, textNames: []string{"chunked_prefill_enabled", "enable_chunked_prefill"}},
	{name: "scheduling_policy", paths: []string{"scheduler_config.policy"}},
	{name: "async_scheduling", kind: boolean, paths: []string{"scheduler_config.async_scheduling"}},
	{name: "enable_prefix_caching", kind: boolean, paths: []string{"cache_config.enable_prefix_caching"}, textNames: []string{"enable_prefix_caching"}, label: "enable_prefix_caching"},
	{name: "prefix_caching_hash_algo", paths: []string{"cache_config.prefix_caching_hash_algo"}, label: "prefix_caching_hash_algo"},
	{name: "kv_cache_dtype", paths: []string{"cache_config.cache_dtype"}, textNames: []string{"kv_cache_dtype"}, label: "cache_dtype"},
	{name: "block_size", kind: number, paths: []string{"cache_config.block_size"}, label: "block_size"},
	{name: "num_gpu_blocks", kind: number, paths: []string{"cache_config.num_gpu_blocks"}, label: "num_gpu_blocks"},
	{name: "kv_cache_size_tokens", kind: number, paths: []string{"cache_config.kv_cache_size_tokens"}, label: "kv_cache_size_tokens"},
	{name: "kv_cache_memory_bytes", kind: number, paths: []string{"cache_config.kv_cache_memory_bytes"}, label: "kv_cache_memory_bytes"},
	{name: "gpu_memory_utilization", kind: fraction, paths: []string{"cache_config.gpu_memory_utilization"}, label: "gpu_memory_utilization"},
	{name: "speculative_method", paths: []string{"speculative_config.method"}, noneMeansOff: true},
	{name: "num_speculative_tokens", kind: number, paths: []string{"speculative_config.num_speculative_tokens"}, noneMeansOff: true},
	{name: "vllm_version"},
}

// Names returns the names of all settings that are read.
func Names() []string {
	var out []string
	for i := range keys {
		out = append(out, keys[i].name)
	}
	return out
}

func keyOf(name string) *key {
	i := slices.IndexFunc(keys[:], func(k key) bool { return k.name == name })
	return &keys[i]
}

// put stores value if it is valid for k and ignores it otherwise.
func (v Values) put(k *key, value any) {
	switch x := value.(type) {
	case nil:
		if k.noneMeansOff {
			v[k.name] = Disabled{}
		}
		return
	case string:
		if k.kind == text {
			if x = normalize(k, x); x != "" && len(x) <= maxText {
				v[k.name] = x
			}
			return
		}
	case bool:
		if k.kind == boolean {
			v[k.name] = x
		}
		return
	case float64:
		switch {
		case k.kind == number && x >= 0 && x <= maxNumber && x == math.Trunc(x):
			v[k.name] = int64(x)
		case k.kind == fraction && x > 0 && !math.IsInf(x, 1):
			v[k.name] = x
		}
		return
	}
}

// putText stores a value as Python's str writes it: None, True, 128, 0.92, auto.
func (v Values) putText(k *key, s string) {
	if s == "None" {
		v.put(k, nil)
		return
	}
	switch k.kind {
	case text:
		v.put(k, s)
	case boolean:
		if s == "True" || s == "False" {
			v.put(k, s == "True")
		}
	case number, fraction:
		if x, err := strconv.ParseFloat(s, 64); err == nil && strings.Trim(s, "0123456789.e+-") == "" {
			v.put(k, x)
		}
	}
}

// normalize returns a string as the event has it: data types without the prefix "torch.",
// members of enumerations as their flags spell them, URLs without possible secrets.
func normalize(k *key, s string) string {
	switch k.name {
	case "dtype":
		return strings.TrimPrefix(s, "torch.")
	case "load_format":
		if member, ok := strings.CutPrefix(s, "LoadFormat."); ok { // up to 0.9, under Python 3.12
			return strings.ToLower(member)
		}
	case "attention_backend":
		return backendName(s)
	}
	return stripCredentials(s)
}

// stripCredentials removes the user info and the query of a URL, because a model's URL may
// contain a token there.
func stripCredentials(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return s
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i]
	}
	host, path, _ := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(host, '@'); at >= 0 {
		rest = strings.TrimSuffix(host[at+1:]+"/"+path, "/")
	}
	return scheme + "://" + rest
}

// FromLabels reads the labels of vllm:cache_config_info. get returns a label's value, or ""
// if there is none.
func FromLabels(get func(label string) string) Values {
	v := Values{}
	for i := range keys {
		if k := &keys[i]; k.label != "" {
			if s := get(k.label); s != "" {
				v.putText(k, s)
			}
		}
	}
	return v
}

// Layer is the part of an engine's configuration that one source reports.
type Layer struct {
	Source Source
	Values Values
}

// Setting is a value with its source.
type Setting struct {
	Value  any
	Source Source
}

// Conflict is a setting for which two sources report different values.
type Conflict struct {
	Name      string
	Won, Lost Setting
}

// Merge combines the layers of one engine: each setting comes from the most trusted source
// that reports it. Sources that disagree are a conflict, except on the model: /v1/models
// returns what was requested, which may be a URL or an alias, and the configuration the
// folder that the model was loaded from.
func Merge(layers ...Layer) (merged map[string]Setting, conflicts []Conflict) {
	layers = slices.Clone(layers)
	slices.SortStableFunc(layers, func(a, b Layer) int { return cmp.Compare(a.Source.rank(), b.Source.rank()) })
	merged = map[string]Setting{}
	for _, layer := range layers {
		for i := range keys {
			name := keys[i].name
			value, ok := layer.Values[name]
			if !ok {
				continue
			}
			s := Setting{value, layer.Source}
			switch won, known := merged[name]; {
			case !known:
				merged[name] = s
			case won.Value != value && name != "model":
				conflicts = append(conflicts, Conflict{name, won, s})
			}
		}
	}
	return merged, conflicts
}

// Format formats a value for a message.
func Format(value any) string {
	switch x := value.(type) {
	case string:
		return strconv.Quote(x)
	case bool:
		return strconv.FormatBool(x)
	case int64:
		return strconv.FormatInt(x, 10)
	case float64:
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
	return "none"
}

// LeastTrusted returns the setting that comes from the least trusted source.
func LeastTrusted(all []Setting) Setting {
	return slices.MaxFunc(all, func(a, b Setting) int { return cmp.Compare(a.Source.rank(), b.Source.rank()) })
}
