package observe

import (
	"slices"
	"testing"

	"github.com/vobs/vobs/internal/environ"
	"github.com/vobs/vobs/internal/redact"
	"github.com/vobs/vobs/internal/vllm"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/schema"
)

func TestWithDevMode(t *testing.T) {
	env := []string{"A=1", "VLLM_SERVER_DEV_MODE=0", "VLLM_SERVER_DEV_MODES=x", "VLLM_SERVER_DEV_MODE=", "B=2"}
	if got := environ.With(env, vllm.DevModeVariable, "1"); !slices.Equal(got, []string{"A=1", "VLLM_SERVER_DEV_MODES=x", "B=2", "VLLM_SERVER_DEV_MODE=1"}) || env[1] != "VLLM_SERVER_DEV_MODE=0" {
		t.Errorf("%q, from %q", got, env)
	}
}

// Settings are the engine's own words: a secret that the environment holds is taken out.
func TestSettingsAreRedacted(t *testing.T) {
	b := &bracket{redactor: redact.New([]string{"MODEL_TOKEN=s3cr3t-value"})}
	name, dtype := "org/s3cr3t-value", "s3cr3t-value"
	c := collected{engine: aggregate.Output{
		Engine:              &schema.Engine{Models: []string{name}, Config: &schema.EngineConfig{Values: map[string]any{"model": name, "max_num_seqs": int64(7)}, Sources: map[string]string{"model": "models"}}},
		EngineRuntimeConfig: schema.EngineRuntimeConfig{KVCacheDtype: &dtype},
	}}
	e := b.assemble(schema.Run{}, c, schema.Notes{})
	if v := e.Engine.Config.Values; v["model"] != "org/<redacted>" || v["max_num_seqs"] != int64(7) || *e.EngineRuntimeConfig.KVCacheDtype != "<redacted>" {
		t.Errorf("%v %q", v, *e.EngineRuntimeConfig.KVCacheDtype)
	}
}
