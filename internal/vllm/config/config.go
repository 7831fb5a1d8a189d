// Package config reads an engine's own configuration: the responses of /server_info,
// /v1/models and /version, the labels of vllm:cache_config_info, and what the plugin
// of --instrument reports from inside vLLM's processes.
//
// Each source becomes a [Layer], a flat map by the event's names, and [Merge] combines
// the layers key by key; the most trusted source wins. The package does no I/O: readers
// hand it the bytes that they have read.
package config

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Source is where a value comes from, as the event's engine.config.sources has it.
type Source string

// The sources, the best first. A new one belongs into ranks.
const (
	EngineCore  Source = "engine_core"       // the engine cores' own word, by --instrument
	Worker      Source = "worker"            // the workers', likewise
	FrontEnd    Source = "front_end"         // the front-end's, likewise, on what it alone knows
	ServerInfo  Source = "server_info"       // GET /server_info, in either form
	CacheConfig Source = "cache_config_info" // labels of vllm:cache_config_info
	Models      Source = "models"            // GET /v1/models
	Version     Source = "version"           // GET /version
)

// ranks has the best source first. From ServerInfo on all are the front-end's copy of
// the configuration.
var ranks = [...]Source{EngineCore, Worker, FrontEnd, ServerInfo, CacheConfig, Models, Version}

func (s Source) rank() int { return slices.Index(ranks[:], s) }

// Values are settings by the event's names: a string, a bool, an int64 or a float64
// each. None stands for one that the engine says it has not, as quantization=None.
type Values map[string]any

// Disabled is the value of a setting that is off.
type Disabled struct{}

type kind int

const (
	text     kind = iota // a string
	number               // an integer from 0 on
	fraction             // a float above 0
	boolean
)

const (
	// maxText is the longest string that is taken, in bytes.
	maxText = 4 << 10
	// maxNumber is the largest integer that every reader of JSON takes exactly.
	maxNumber = 1 << 53
)

// key is one setting.
type key struct {
	// name is the event's: of vLLM's flag, without its dashes, where there is one.
	name string
	kind kind
	// paths lead to it in the VllmConfig, SECTION.FIELD (vllm/config/*.py); of several
	// the first that is there counts.
	paths []string
	// texts are its names in VllmConfig.__str__ (vllm/config/vllm.py), likewise.
	texts []string
	// label is that of vllm:cache_config_info (vllm/config/cache.py, metrics_info).
	label string
	// none says that None means that it is off; else it means that it is not told.
	none bool
}

// keys are the settings that are read. Of the names in other versions:
// scheduler_config.chunked_prefill_enabled is what counted up to 0.11, beside an
// enable_chunked_prefill that may be what was asked for.
var keys = [...]key{
	{name: "model", paths: []string{"model_config.model"}, texts: []string{"model"}},
	{name: "served_model_name", paths: []string{"model_config.served_model_name"}},
	{name: "dtype", paths: []string{"model_config.dtype"}, texts: []string{"dtype"}},
	{name: "quantization", paths: []string{"model_config.quantization"}, texts: []string{"quantization"}, none: true},
	{name: "max_model_len", kind: number, paths: []string{"model_config.max_model_len"}, texts: []string{"max_seq_len"}},
	{name: "enforce_eager", kind: boolean, paths: []string{"model_config.enforce_eager"}, texts: []string{"enforce_eager"}},
	{name: "load_format", paths: []string{"load_config.load_format"}, texts: []string{"load_format"}},
	{name: "attention_backend", paths: []string{"attention_config.backend"}},
	{name: "tensor_parallel_size", kind: number, paths: []string{"parallel_config.tensor_parallel_size"}, texts: []string{"tensor_parallel_size"}},
	{name: "pipeline_parallel_size", kind: number, paths: []string{"parallel_config.pipeline_parallel_size"}, texts: []string{"pipeline_parallel_size"}},
	{name: "data_parallel_size", kind: number, paths: []string{"parallel_config.data_parallel_size"}, texts: []string{"data_parallel_size"}},
	{name: "enable_expert_parallel", kind: boolean, paths: []string{"parallel_config.enable_expert_parallel"}},
	{name: "max_num_seqs", kind: number, paths: []string{"scheduler_config.max_num_seqs"}},
	{name: "max_num_batched_tokens", kind: number, paths: []string{"scheduler_config.max_num_batched_tokens"}},
	{name: "enable_chunked_prefill", kind: boolean, paths: []string{"scheduler_config.chunked_prefill_enabled", "scheduler_config.enable_chunked_prefill"}, texts: []string{"chunked_prefill_enabled", "enable_chunked_prefill"}},
	{name: "scheduling_policy", paths: []string{"scheduler_config.policy"}},
	{name: "async_scheduling", kind: boolean, paths: []string{"scheduler_config.async_scheduling"}},
	{name: "enable_prefix_caching", kind: boolean, paths: []string{"cache_config.enable_prefix_caching"}, texts: []string{"enable_prefix_caching"}, label: "enable_prefix_caching"},
	{name: "prefix_caching_hash_algo", paths: []string{"cache_config.prefix_caching_hash_algo"}, label: "prefix_caching_hash_algo"},
	{name: "kv_cache_dtype", paths: []string{"cache_config.cache_dtype"}, texts: []string{"kv_cache_dtype"}, label: "cache_dtype"},
	{name: "block_size", kind: number, paths: []string{"cache_config.block_size"}, label: "block_size"},
	{name: "num_gpu_blocks", kind: number, paths: []string{"cache_config.num_gpu_blocks"}, label: "num_gpu_blocks"},
	{name: "kv_cache_size_tokens", kind: number, paths: []string{"cache_config.kv_cache_size_tokens"}, label: "kv_cache_size_tokens"},
	{name: "kv_cache_memory_bytes", kind: number, paths: []string{"cache_config.kv_cache_memory_bytes"}, label: "kv_cache_memory_bytes"},
	{name: "gpu_memory_utilization", kind: fraction, paths: []string{"cache_config.gpu_memory_utilization"}, label: "gpu_memory_utilization"},
	{name: "speculative_method", paths: []string{"speculative_config.method"}, none: true},
	{name: "num_speculative_tokens", kind: number, paths: []string{"speculative_config.num_speculative_tokens"}, none: true},
	{name: "vllm_version"},
}

// Names lists the settings that are read, in the order of the table.
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

// put takes a value where it can be one of the key's, and leaves it out else.
func (v Values) put(k *key, value any) {
	switch x := value.(type) {
	case nil:
		if k.none {
			v[k.name] = Disabled{}
		}
		return
	case string:
		if k.kind == text {
			if x = spelled(k, x); x != "" && len(x) <= maxText {
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

// putText takes a value as Python's str() writes it: None, True, 128, 0.92, auto.
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

// spelled gives a string as the event has it: types without torch's name before
// them, enumerations by the names that flags give them, addresses without what may
// be a secret.
func spelled(k *key, s string) string {
	switch k.name {
	case "dtype":
		return strings.TrimPrefix(s, "torch.")
	case "load_format":
		if member, ok := strings.CutPrefix(s, "LoadFormat."); ok { // up to 0.9, by Python 3.12
			return strings.ToLower(member)
		}
	case "attention_backend":
		return backendName(s)
	}
	return withoutUser(s)
}

// withoutUser removes user info and query of an address: a model's may have a token.
func withoutUser(s string) string {
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

// FromLabels reads the labels of a vllm:cache_config_info; get gives one, or "".
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

// Layer is what one source says.
type Layer struct {
	Source Source
	Values Values
}

// Setting is a value with its source.
type Setting struct {
	Value  any
	Source Source
}

// Conflict is a setting of which two sources say different things.
type Conflict struct {
	Name      string
	Won, Lost Setting
}

// Merge puts together what is told of one engine: of each setting what the best
// source says that tells it. Two that disagree are a conflict, but for the model's
// name: /v1/models has what was asked for, and where that is an address or an alias
// the engine's configuration has the folder it was loaded from.
func Merge(told ...Layer) (merged map[string]Setting, conflicts []Conflict) {
	told = slices.Clone(told)
	slices.SortStableFunc(told, func(a, b Layer) int { return cmp.Compare(a.Source.rank(), b.Source.rank()) })
	merged = map[string]Setting{}
	for _, t := range told {
		for i := range keys {
			name := keys[i].name
			value, ok := t.Values[name]
			if !ok {
				continue
			}
			s := Setting{value, t.Source}
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

// Format gives a value as a message has it.
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

// LeastTrusted gives that of equal settings which comes from the least good source.
func LeastTrusted(all []Setting) Setting {
	return slices.MaxFunc(all, func(a, b Setting) int { return cmp.Compare(a.Source.rank(), b.Source.rank()) })
}
