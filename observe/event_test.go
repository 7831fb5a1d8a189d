package observe

import (
	"testing"

	"github.com/vobs/vobs/internal/redact"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/schema"
)

// The engine reports its settings as they are: secrets from the environment are removed.
func TestSettingsAreRedacted(t *testing.T) {
	r := &run{redactor: redact.New([]string{"MODEL_TOKEN=s3cr3t-value"})}
	name, dtype := "org/s3cr3t-value", "s3cr3t-value"
	got := readings{engine: aggregate.Output{
		Engine:              &schema.Engine{Models: []string{name}, Config: &schema.EngineConfig{Values: map[string]any{"model": name, "max_num_seqs": int64(7)}, Sources: map[string]string{"model": "models"}}},
		EngineRuntimeConfig: schema.EngineRuntimeConfig{KVCacheDtype: &dtype},
	}}
	e := r.assemble(schema.Run{}, got, schema.Notes{})
	if v := e.Engine.Config.Values; v["model"] != "org/<redacted>" || v["max_num_seqs"] != int64(7) || *e.EngineRuntimeConfig.KVCacheDtype != "<redacted>" {
		t.Errorf("%v %q", v, *e.EngineRuntimeConfig.KVCacheDtype)
	}
}
