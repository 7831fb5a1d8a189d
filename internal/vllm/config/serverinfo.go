package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// errNotVLLM is returned for JSON that vLLM does not send.
var errNotVLLM = errors.New("the answer does not come from vLLM")

// members splits a JSON object. The standard library bounds its depth.
func members(b []byte) (map[string]json.RawMessage, error) {
	var o map[string]json.RawMessage
	if err := json.Unmarshal(b, &o); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, fmt.Errorf("the answer is not JSON, or is cut off: %w", err)
		}
		return nil, errNotVLLM
	}
	return o, nil
}

// FromServerInfo reads a response of GET /server_info
// (vllm/entrypoints/serve/dev/server_info/api_router.py). From 0.11 on, vllm_config is an
// object for ?config_format=json; otherwise, and always in older versions, it is
// str(VllmConfig). vLLM's front-end in Rust returns its own arguments in other forms, which
// are refused. Only the settings in keys are read: the response also has secrets.
func FromServerInfo(body []byte) (v Values, asText bool, err error) {
	response, err := members(body)
	if err != nil {
		return nil, false, err
	}
	config := bytes.TrimSpace(response["vllm_config"])
	switch {
	case len(config) > 0 && config[0] == '"':
		var s string
		if err := json.Unmarshal(config, &s); err != nil {
			return nil, true, errNotVLLM
		}
		v, err = fromText(s)
		return v, true, err
	case len(config) > 0 && config[0] == '{':
		v, err = fromConfig(config)
		return v, false, err
	}
	return nil, false, errNotVLLM
}

// KVRole returns the role of the engine in the transfer of KV between servers, such as
// kv_producer (vllm/config/kv_transfer.py), from a response of GET /server_info; "" if it has
// none, or comes as text.
func KVRole(body []byte) string {
	var response struct {
		Config struct {
			Transfer struct {
				Role string `json:"kv_role"`
			} `json:"kv_transfer_config"`
		} `json:"vllm_config"`
	}
	if json.Unmarshal(body, &response) != nil {
		return ""
	}
	return response.Config.Transfer.Role
}

// fromConfig reads a VllmConfig as pydantic dumps it.
func fromConfig(config []byte) (Values, error) {
	all, err := members(config)
	if err != nil {
		return nil, err
	}
	sections := map[string]map[string]json.RawMessage{}
	null := map[string]bool{} // sections that are null
	for name, section := range all {
		if bytes.Equal(section, []byte("null")) {
			null[name] = true
			continue
		}
		if fields, err := members(section); err == nil {
			sections[name] = fields
		}
	}
	if sections["model_config"] == nil && sections["scheduler_config"] == nil {
		return nil, errNotVLLM
	}
	v := Values{}
	for i := range keys {
		k := &keys[i]
		for _, path := range k.paths {
			section, field, _ := strings.Cut(path, ".")
			if null[section] {
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

// FromModels reads a response of GET /v1/models (vllm/entrypoints/openai/models). The first
// model's id is its served name. LoRA adapters, which have a parent, are left out.
func FromModels(body []byte) (Values, error) {
	var response struct {
		Data []struct {
			ID          *string `json:"id"`
			Root        *string `json:"root"`
			Parent      *string `json:"parent"`
			MaxModelLen *int64  `json:"max_model_len"`
		} `json:"data"`
	}
	if _, err := members(body); err != nil {
		return nil, err
	}
	if json.Unmarshal(body, &response) != nil || len(response.Data) == 0 {
		return nil, errNotVLLM
	}
	v := Values{}
	ambiguous := map[string]bool{}
	for _, m := range response.Data {
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
			// A server's names are all names of one model.
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

// OwnedByVLLM reports whether a response of GET /v1/models is vLLM's: other servers have the
// same path and their own name in it.
func OwnedByVLLM(body []byte) bool {
	var response struct {
		Data []struct {
			OwnedBy string `json:"owned_by"`
		} `json:"data"`
	}
	return json.Unmarshal(body, &response) == nil && len(response.Data) > 0 && response.Data[0].OwnedBy == "vllm"
}

// FromVersion reads a response of GET /version.
func FromVersion(body []byte) (Values, error) {
	const maxVersion = 128
	var response struct {
		Version string `json:"version"`
	}
	if _, err := members(body); err != nil {
		return nil, err
	}
	if json.Unmarshal(body, &response) != nil || response.Version == "" || len(response.Version) > maxVersion {
		return nil, errNotVLLM
	}
	return Values{"vllm_version": response.Version}, nil
}
