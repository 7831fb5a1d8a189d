package observe

import (
	"cmp"
	"fmt"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/schema"
)

// mostUncovered is the largest part of the engine's active time for which the energy may be
// missing: the engine's last readings come after those of the GPUs.
const mostUncovered = 0.1

// efficiency relates the energy of the command's GPUs to what the engine did. If a figure is
// unknown, the reason is noted.
func efficiency(e *schema.GenerationObservability, read *aggregate.Output, notes *schema.Notes) *schema.Efficiency {
	why := ""
	switch {
	case e.Engine == nil:
		why = "no engine was read"
	case !read.Local:
		why = "not every engine is known to run on this host: its address is not a loopback address, and the command did not start it"
	case e.GPUs == nil:
		why = "no GPU was sampled"
	}
	used, whyUsed := usedGPUs(e.GPUs)
	if why = cmp.Or(why, whyUsed); why != "" {
		notes.Missing("efficiency", why)
		return nil
	}
	joules, whyJoules := activeEnergy(e, used)
	per := func(field string, x float64, whyX string, n int64, whyN string) *schema.Float {
		if why := cmp.Or(whyX, whyN); why != "" {
			notes.Missing("efficiency."+field, why)
			return nil
		}
		return schema.F(x / float64(n))
	}
	generated, whyGenerated := generatedTokens(e.Engine)
	computed, whyComputed := computedTokens(e.Engine)
	finished, whyFinished := finishedRequests(e.Engine)
	if after := read.ActiveAfterFull; after > mostUncovered*activeSeconds(e.Engine) {
		whyLost := fmt.Sprintf("the engine worked for %.2f s after the last page that counts it, more than a tenth of the time", after)
		whyComputed, whyFinished = cmp.Or(whyComputed, whyLost), cmp.Or(whyFinished, whyLost)
	}
	rate, whyRate := generationRate(e.Engine)
	return &schema.Efficiency{
		JoulesPerGenerationToken:        per("joules_per_generation_token", joules, whyJoules, generated, whyGenerated),
		JoulesPerComputedToken:          per("joules_per_computed_token", joules, whyJoules, computed, whyComputed),
		JoulesPerRequest:                per("joules_per_request", joules, whyJoules, finished, whyFinished),
		GenerationTokensPerSecondPerGPU: per("generation_tokens_per_second_per_gpu", rate, whyRate, int64(len(used)), ""),
	}
}

// usedGPUs returns the indices of the GPUs that the command used, or why they are unknown.
func usedGPUs(gpus []schema.GPU) (used []int, why string) {
	for i, g := range gpus {
		switch {
		case g.UsedByJob == nil:
			return nil, fmt.Sprintf("it is unknown whether the command used GPU %d: see gpus.%d.used_by_job", g.Index, i)
		case *g.UsedByJob && g.MIGOf != nil:
			return nil, fmt.Sprintf("the command used a MIG instance of GPU %d, whose energy is not counted and which is only a part of a GPU", g.Index)
		case *g.UsedByJob:
			used = append(used, i)
		}
	}
	if len(used) == 0 {
		return nil, "no process of the command or of the engine was seen on a sampled GPU"
	}
	return used, ""
}

// activeEnergy adds up the active energy of GPUs. There is no sum of some of them.
func activeEnergy(e *schema.GenerationObservability, used []int) (joules float64, why string) {
	if e.Engine.Stage != nil {
		return 0, "the engine's figures are those of one stage, the energy is that of all stages"
	}
	for _, i := range used {
		g := &e.GPUs[i]
		x, ok := g.EnergyActiveJoules.Value()
		if !ok {
			return 0, fmt.Sprintf("the active energy of GPU %d is unknown: see gpus.%d.energy_active_joules", g.Index, i)
		}
		joules += x
	}
	active, late := activeSeconds(e.Engine), 0.0
	if w := e.Engine.Window; w != nil {
		late = float64(w.SettleSeconds)
	}
	if late > mostUncovered*active {
		return 0, fmt.Sprintf("the engine was read until %.2f s after the command's end, and the GPUs were not: that is more than a tenth of the %.2f s in which the engine was active", late, active)
	}
	return joules, ""
}

// activeSeconds returns for how long the engine worked; at most, if that is not resolved.
func activeSeconds(engine *schema.Engine) float64 {
	if engine.Window == nil {
		return 0
	}
	if x, ok := engine.Window.ActiveSecondsEst.Value(); ok {
		return x
	}
	return float64(engine.Window.DurationSeconds)
}

func generatedTokens(engine *schema.Engine) (n int64, why string) {
	if engine.Tokens == nil || engine.Tokens.Generation == nil {
		return 0, "the number of generated tokens is unknown: see engine.tokens.generation"
	}
	if *engine.Tokens.Generation <= 0 {
		return 0, "no token was generated"
	}
	return *engine.Tokens.Generation, ""
}

func computedTokens(engine *schema.Engine) (n int64, why string) {
	generated, why := generatedTokens(engine)
	switch {
	case why != "":
		return 0, why
	case len(engine.Roles) > 0:
		return 0, "prompts are computed by servers of another role than the one that the engine's figures are of"
	case engine.Tokens.PromptBySource == nil:
		return 0, "the number of prompt tokens that came from no cache is unknown: see engine.tokens.prompt_by_source"
	}
	computed, ok := engine.Tokens.PromptBySource[metrics.SourceLocalCompute]
	if !ok {
		return 0, "the engine does not count the prompt tokens that it computed"
	}
	return generated + computed, ""
}

func finishedRequests(engine *schema.Engine) (n int64, why string) {
	if engine.Requests == nil || engine.Requests.Finished == nil {
		return 0, "the number of finished requests is unknown: see engine.requests.finished"
	}
	for _, k := range engine.Requests.Finished {
		n += k
	}
	if n <= 0 {
		return 0, "no request finished"
	}
	return n, ""
}

func generationRate(engine *schema.Engine) (perSecond float64, why string) {
	if engine.Stage != nil {
		return 0, "the engine's rate is that of one stage, and the GPUs are those of all stages"
	}
	if engine.Throughput != nil {
		if x, ok := engine.Throughput.GenerationTokensPerSecond.Value(); ok {
			return x, ""
		}
	}
	return 0, "the rate is unknown: see engine.throughput.generation_tokens_per_second"
}
