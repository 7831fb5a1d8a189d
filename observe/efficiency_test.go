package observe

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/schema"
)

func TestEfficiency(t *testing.T) {
	example, err := os.ReadFile("../testdata/events/example.json")
	if err != nil {
		t.Fatal(err)
	}
	no, yes := false, true
	const (
		perGenerated = "efficiency.joules_per_generation_token"
		perComputed  = "efficiency.joules_per_computed_token"
		perRequest   = "efficiency.joules_per_request"
		perGPU       = "efficiency.generation_tokens_per_second_per_gpu"
	)
	energy := []string{perGenerated, perComputed, perRequest}
	// The example's GPU took 42870 J while the engine worked, for 254210 generated tokens, 1191711
	// computed prompt tokens and 1000 requests.
	for name, c := range map[string]struct {
		change func(e *schema.GenerationObservability, read *aggregate.Output)
		null   []string
		reason string
	}{
		"all known":        {func(e *schema.GenerationObservability, read *aggregate.Output) {}, nil, ""},
		"no engine":        {func(e *schema.GenerationObservability, read *aggregate.Output) { e.Engine = nil }, []string{"efficiency"}, "no engine"},
		"engine elsewhere": {func(e *schema.GenerationObservability, read *aggregate.Output) { read.Local = false }, []string{"efficiency"}, "on this host"},
		"no GPU":           {func(e *schema.GenerationObservability, read *aggregate.Output) { e.GPUs = nil }, []string{"efficiency"}, "no GPU"},
		"no GPU of ours":   {func(e *schema.GenerationObservability, read *aggregate.Output) { e.GPUs[0].UsedByJob = &no }, []string{"efficiency"}, "no process"},
		"unknown use": {func(e *schema.GenerationObservability, read *aggregate.Output) {
			e.GPUs = append(e.GPUs, schema.GPU{Index: 1})
		}, []string{"efficiency"}, "gpus.1.used_by_job"},
		"part of a GPU": {func(e *schema.GenerationObservability, read *aggregate.Output) {
			e.GPUs[0].MIGOf = schema.Ptr("GPU-1")
		}, []string{"efficiency"}, "MIG"},
		"one GPU without energy": {func(e *schema.GenerationObservability, read *aggregate.Output) {
			e.GPUs = append(e.GPUs, schema.GPU{Index: 1, UsedByJob: &yes})
		}, energy, "gpus.1.energy_active_joules"},
		"an idle GPU without energy": {func(e *schema.GenerationObservability, read *aggregate.Output) {
			e.GPUs = append(e.GPUs, schema.GPU{Index: 1, UsedByJob: &no})
		}, nil, ""},
		"no tokens": {func(e *schema.GenerationObservability, read *aggregate.Output) {
			e.Engine.Tokens.Generation = schema.Ptr(int64(0))
		}, energy[:2], "no token was generated"},
		"no sources": {func(e *schema.GenerationObservability, read *aggregate.Output) {
			e.Engine.Tokens.PromptBySource = nil
		}, energy[1:2], "prompt_by_source"},
		"roles": {func(e *schema.GenerationObservability, read *aggregate.Output) {
			e.Engine.Roles = []schema.Role{{Role: "prefill"}, {Role: "decode"}}
		}, energy[1:2], "another role"},
		"a stage": {func(e *schema.GenerationObservability, read *aggregate.Output) {
			e.Engine.Stage = schema.Ptr("0")
		}, []string{perGenerated, perComputed, perRequest, perGPU}, "one stage"},
		"no requests": {func(e *schema.GenerationObservability, read *aggregate.Output) {
			e.Engine.Requests.Finished = map[string]int64{"stop": 0}
		}, energy[2:], "no request"},
		"settled late": {func(e *schema.GenerationObservability, read *aggregate.Output) {
			e.Engine.Window.ActiveSecondsEst, e.Engine.Window.SettleSeconds = schema.F(10), 1.1
		}, energy, "after the command's end"},
		"lost early": {func(e *schema.GenerationObservability, read *aggregate.Output) {
			read.ActiveAfterFull = 30
		}, energy[1:], "last page"},
		"no rate": {func(e *schema.GenerationObservability, read *aggregate.Output) {
			e.Engine.Throughput.GenerationTokensPerSecond = nil
		}, []string{perGPU}, "throughput"},
	} {
		t.Run(name, func(t *testing.T) {
			var e schema.GenerationObservability
			if err := json.Unmarshal(example, &e); err != nil {
				t.Fatal(err)
			}
			read := aggregate.Output{Local: true}
			c.change(&e, &read)
			var notes schema.Notes
			got := efficiency(&e, &read, &notes)
			null := map[string]bool{}
			for _, u := range notes.Unavailable {
				null[u.Field] = true
				if !strings.Contains(u.Reason, c.reason) {
					t.Errorf("%s: %q, want %q", u.Field, u.Reason, c.reason)
				}
			}
			if len(null) != len(c.null) {
				t.Errorf("null: %v, want %v", notes.Unavailable, c.null)
			}
			for _, field := range c.null {
				if !null[field] {
					t.Errorf("%s has no reason", field)
				}
			}
			if (got == nil) != null["efficiency"] {
				t.Fatalf("%+v", got)
			}
			if got == nil {
				return
			}
			gpus := 0.0
			for _, g := range e.GPUs {
				if *g.UsedByJob {
					gpus++
				}
			}
			for field, c := range map[string]struct {
				got  *schema.Float
				want float64
			}{
				perGenerated: {got.JoulesPerGenerationToken, 42870.0 / 254210},
				perComputed:  {got.JoulesPerComputedToken, 42870.0 / (254210 + 1191711)},
				perRequest:   {got.JoulesPerRequest, 42.87},
				perGPU:       {got.GenerationTokensPerSecondPerGPU, 3157.9 / gpus},
			} {
				if x, ok := c.got.Value(); ok == null[field] || ok && (x < c.want*0.9999 || x > c.want*1.0001) {
					t.Errorf("%s is %v, want %v", field, x, c.want)
				}
			}
		})
	}
}
