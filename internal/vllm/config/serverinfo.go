package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// errForeign is what answers get that are JSON and not vLLM's.
var errForeign = errors.New("the answer is not one of vLLM's")

// object reads a JSON object's members. The standard library bounds the depth.
func object(b []byte) (map[string]json.RawMessage, error) {
	var o map[string]json.RawMessage
	if err := json.Unmarshal(b, &o); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, fmt.Errorf("the answer is not JSON, or is cut off: %w", err)
		}
		return nil, errForeign
	}
	return o, nil
}

// FromServerInfo reads an answer of GET /server_info
// (vllm/entrypoints/serve/dev/server_info/api_router.py): vllm_config is an object for
// ?config_format=json from 0.11 on, and str(VllmConfig) for the text form, which is all
// that older versions have. vLLM's front-end in Rust tells its own arguments there, in
// forms of its own: nothing is taken from them. Nothing but the settings of this package
// is read: the answer has secrets too.
func FromServerInfo(body []byte) (v Values, asText bool, err error) {
	answer, err := object(body)
	if err != nil {
		return nil, false, err
	}
	config := bytes.TrimSpace(answer["vllm_config"])
	switch {
	case len(config) > 0 && config[0] == '"':
		var s string
		if err := json.Unmarshal(config, &s); err != nil {
			return nil, true, errForeign
		}
		v, err = FromText(s)
		return v, true, err
	case len(config) > 0 && config[0] == '{':
		v, err = fromConfig(config)
		return v, false, err
	}
	return nil, false, errForeign
}

// fromConfig reads a VllmConfig as pydantic dumps it.
func fromConfig(config []byte) (Values, error) {
	sections := map[string]map[string]json.RawMessage{}
	off := map[string]bool{} // sections that are null
	members, err := object(config)
	if err != nil {
		return nil, err
	}
	for name, section := range members {
		if bytes.Equal(section, []byte("null")) {
			off[name] = true
			continue
		}
		if fields, err := object(section); err == nil {
			sections[name] = fields
		}
	}
	if sections["model_config"] == nil && sections["scheduler_config"] == nil {
		return nil, errForeign
	}
	v := Values{}
	for i := range keys {
		k := &keys[i]
		for _, path := range k.paths {
			section, field, _ := strings.Cut(path, ".")
			if off[section] {
				v.put(k, nil)
				break
			}
			raw, ok := sections[section][field]
			if !ok {
				continue
			}
			var value any
			if json.Unmarshal(raw, &value) == nil {
				v.put(k, value)
			}
			break
		}
	}
	return v, nil
}

// FromModels reads an answer of GET /v1/models (vllm/entrypoints/openai/models). The
// first model's id is the name that vLLM serves it by; LoRA adapters, which have a
// parent, are left out.
func FromModels(body []byte) (Values, error) {
	var answer struct {
		Data []struct {
			ID          *string `json:"id"`
			Root        *string `json:"root"`
			Parent      *string `json:"parent"`
			OwnedBy     string  `json:"owned_by"`
			MaxModelLen *int64  `json:"max_model_len"`
		} `json:"data"`
	}
	if _, err := object(body); err != nil {
		return nil, err
	}
	if json.Unmarshal(body, &answer) != nil || len(answer.Data) == 0 {
		return nil, errForeign
	}
	v := Values{}
	ambiguous := map[string]bool{}
	for _, m := range answer.Data {
		if m.Parent != nil {
			continue
		}
		one := Values{}
		if m.Root != nil {
			one.put(keyOf("model"), *m.Root)
		}
		if m.ID != nil && v["served_model_name"] == nil {
			one.put(keyOf("served_model_name"), *m.ID)
		}
		if m.MaxModelLen != nil {
			one.put(keyOf("max_model_len"), float64(*m.MaxModelLen))
		}
		for name, value := range one {
			// All names of a server are of one model.
			ambiguous[name] = ambiguous[name] || v[name] != nil && v[name] != value
			v[name] = value
		}
	}
	for name := range v {
		if ambiguous[name] {
			delete(v, name)
		}
	}
	return v, nil
}

// FromVersion reads an answer of GET /version.
func FromVersion(body []byte) (Values, error) {
	const maxVersion = 128
	var answer struct {
		Version string `json:"version"`
	}
	if _, err := object(body); err != nil {
		return nil, err
	}
	if json.Unmarshal(body, &answer) != nil || answer.Version == "" || len(answer.Version) > maxVersion {
		return nil, errForeign
	}
	return Values{"vllm_version": answer.Version}, nil
}
