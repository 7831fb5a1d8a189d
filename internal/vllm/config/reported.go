package config

import (
	"reflect"
	"slices"
	"strings"

	"github.com/vobs/vobs/internal/pyvalue"
)

// Reported are all settings that a source reports, whether the event has them or not, by
// their paths below VllmConfig (cache_config.num_gpu_blocks_override). The values are those
// of package pyvalue, without objects, or [Differ]. Secrets are left out.
type Reported map[string]any

// Differ is the value of a setting that the engines have in common but with different values.
type Differ struct{}

// maxReported bounds the number of settings; the configuration of vLLM 0.32.0 has 300.
const maxReported = 20_000

// AllFromServerInfo reads all settings in a response of GET /server_info. The result is nil
// if the response is not in the JSON form.
func AllFromServerInfo(body []byte) Reported {
	response, err := members(body)
	if err != nil {
		return nil
	}
	v, err := pyvalue.ParseJSON(string(response["vllm_config"]))
	if err != nil {
		return nil
	}
	settings, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	out := Reported{}
	out.putAll("", settings)
	return out
}

// putAll adds the members of an object at a path, which is empty or ends with a dot.
func (r Reported) putAll(path string, object map[string]any) {
	for name, value := range object {
		if isSecretSetting(name) || strings.HasPrefix(name, "_") || len(r) >= maxReported {
			continue
		}
		switch value := value.(type) {
		case map[string]any:
			r.putAll(path+name+".", value)
		case []any:
			if !slices.ContainsFunc(value, isComposite) {
				r[path+name] = value
			}
		case string:
			if len(value) <= maxText && stripCredentials(value) == value {
				r[path+name] = value
			}
		default:
			r[path+name] = value
		}
	}
}

func isComposite(v any) bool {
	switch v := v.(type) {
	case map[string]any, []any:
		return true
	case string:
		return len(v) > maxText || stripCredentials(v) != v
	}
	return false
}

// isSecretSetting reports whether a setting is a secret: hf_token, api_key, but not
// eos_token_id or max_num_batched_tokens.
func isSecretSetting(name string) bool {
	switch name[strings.LastIndexAny(name, "_-.")+1:] {
	case "token", "key", "apikey", "secret", "password", "passwd", "credential", "credentials", "authorization":
		return true
	}
	return false
}

// AllFromLabels reads all labels of vllm:cache_config_info, which are fields of
// cache_config as Python's str writes them.
func AllFromLabels(labels map[string]string) Reported {
	out := Reported{}
	for name, value := range labels {
		if name != "engine" && value != "" {
			out.putAll("cache_config.", map[string]any{name: value})
		}
	}
	return out
}

// Over returns other with the settings of r in place of its own.
func (r Reported) Over(other Reported) Reported {
	out := Reported{}
	for _, from := range []Reported{other, r} {
		for path, value := range from {
			out[path] = value
		}
	}
	return out
}

// Common returns the settings that all have. A setting with several values is [Differ].
func Common(all ...Reported) Reported {
	out := Reported{}
	if len(all) == 0 {
		return out
	}
next:
	for path, value := range all[0] {
		for _, other := range all[1:] {
			v, ok := other[path]
			if !ok {
				continue next
			}
			if !reflect.DeepEqual(v, value) {
				value = Differ{}
			}
		}
		out[path] = value
	}
	return out
}

// flagPaths are the flags whose fields in VllmConfig have another name (create_engine_config
// in vllm/engine/arg_utils.py of 0.32.0).
var flagPaths = map[string]string{
	"mamba_backend":                          "mamba_config.backend",
	"mamba_ssu_algorithm":                    "mamba_config.ssu_algorithm",
	"enable_mamba_cache_stochastic_rounding": "mamba_config.enable_stochastic_rounding",
	"mamba_cache_philox_rounds":              "mamba_config.stochastic_rounding_philox_rounds",
}

// Find returns the value of a flag's setting, nil for None: the one at the path name, or the
// only one whose path ends in it. why explains why it is not found if a setting has the
// name; otherwise it is "".
func (r Reported) Find(name string) (value any, found bool, why string) {
	if path, ok := flagPaths[name]; ok {
		name = path
	}
	value, found = r[name]
	if !found {
		var paths []string
		for path, v := range r {
			if strings.HasSuffix(path, "."+name) {
				paths, value = append(paths, path), v
			}
		}
		slices.Sort(paths)
		if len(paths) > 1 {
			return nil, false, "the engine reports several settings of this name: " + strings.Join(paths[:min(len(paths), 4)], ", ")
		}
		found = len(paths) == 1
	}
	if _, differ := value.(Differ); differ {
		return nil, false, "the engines have different values"
	}
	return value, found, ""
}
