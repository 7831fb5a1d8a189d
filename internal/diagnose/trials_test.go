package diagnose

import (
	"encoding/csv"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/schema"
)

// A trial is one run of a public tuning study: vLLM 0.22 serves Qwen2.5-7B on one A10G under a
// load that saturates it, each time with other flags. Its figures are means over the run.
type trial map[string]string

func (t trial) number(tb testing.TB, name string) float64 {
	x, err := strconv.ParseFloat(t[name], 64)
	if err != nil {
		tb.Fatalf("column %s: %v", name, err)
	}
	return x
}

// event returns what an event would have of the trial: nothing of its score, and nothing that
// vLLM does not export.
func (t trial) event(tb testing.TB) *schema.GenerationObservability {
	const seconds = 600
	vllm := func(name string) float64 { return t.number(tb, "vLLM."+name) }
	count := func(rate float64) *int64 { return schema.Ptr(int64(rate * seconds)) }
	latency := func(name string) *schema.Distribution {
		mean, n := vllm(name+".avg")/1000, *count(vllm("request_success_rate.avg"))
		return &schema.Distribution{Count: n, Sum: schema.Float(mean * float64(n)), Mean: schema.F(mean), P95Est: schema.F(vllm(name[:len(name)-len("avg")]+"p95.avg") / 1000)}
	}
	length := func(name string) *schema.Distribution {
		n := *count(vllm("request_success_rate.avg"))
		return &schema.Distribution{Count: n, Sum: schema.Float(vllm(name) * float64(n)), Mean: schema.F(vllm(name))}
	}
	meanMax := func(name string, scale float64) *schema.MeanMax {
		return &schema.MeanMax{Mean: schema.Float(t.number(tb, "gpu."+name+".avg") * scale), Max: schema.Float(t.number(tb, "gpu."+name+".max") * scale)}
	}
	gauge := func(name string) *schema.RequestGauge {
		return &schema.RequestGauge{Gauge: schema.Gauge{Mean: schema.F(vllm(name + ".avg")), Peak: schema.F(vllm(name + ".max"))}}
	}
	itl := latency("inter_token_latency_avg")
	itl.P50Est = itl.Mean // the study has no median: the mean is what its document would see
	e := &schema.GenerationObservability{
		Engine: &schema.Engine{
			Window: &schema.Window{DurationSeconds: seconds},
			Requests: &schema.Requests{
				Finished:     map[string]int64{"length": *count(vllm("request_success_rate.avg"))},
				Preemptions:  count(vllm("preemption_rate.avg")),
				Running:      gauge("num_requests_running"),
				Waiting:      gauge("num_requests_waiting"),
				RunningLimit: schema.Ptr(int64(t.number(tb, "max_num_seqs"))),
			},
			Tokens: &schema.Tokens{
				Prompt: count(vllm("prefill_token_throughput.avg")), Generation: count(vllm("decode_token_throughput.avg")),
				PromptPerRequest: length("input_sequence_length_avg.avg"), GenerationPerRequest: length("output_sequence_length_avg.avg"),
				PerIterationLimit: schema.Ptr(int64(t.number(tb, "max_num_batched_tokens"))),
			},
			KVCache:     &schema.KVCache{Usage: &schema.KVUsage{Gauge: schema.Gauge{Mean: schema.F(vllm("kv_cache_usage_max.avg")), Peak: schema.F(vllm("kv_cache_usage_max.max"))}}},
			PrefixCache: &schema.PrefixCache{Local: &schema.CacheHits{HitRate: schema.F(vllm("prefix_cache_hit_rate.avg"))}},
			LatencySeconds: &schema.Latency{
				TimeToFirstToken: latency("time_to_first_token_avg"), E2ERequestLatency: latency("e2e_request_latency_avg"), InterTokenLatency: itl,
			},
			Instances: []schema.Instance{{}},
		},
		GPUs: []schema.GPU{{
			UsedByJob:   schema.Ptr(true),
			Utilization: meanMax("gpu_util", 0.01), SMActive: meanMax("gpu_sm_active", 1), SMOccupancy: meanMax("gpu_sm_occupancy", 1),
			TensorActive: meanMax("gpu_tensor_core_active", 1), DRAMActive: meanMax("gpu_dram_active", 1),
		}},
	}
	e.EngineRuntimeConfig.EnablePrefixCaching = schema.Ptr(true)
	return e
}

// truth is what bound the trial, by the rates that the study recorded.
func (t trial) truth(tb testing.TB) schema.BindingCode {
	vllm := func(name string) float64 { return t.number(tb, "vLLM."+name) }
	switch {
	case vllm("preemption_rate.avg")/vllm("request_success_rate.avg") > 0.05:
		return schema.BindingKVCache
	case vllm("num_requests_waiting.avg") < 1:
		return schema.BindingClient
	case vllm("num_requests_running.max") >= 0.95*t.number(tb, "max_num_seqs") && vllm("kv_cache_usage_avg.avg") < 0.9:
		return schema.BindingConcurrencyCap
	}
	return schema.BindingTokenBudget
}

// betterWithMore reports whether the trials with 1.1 to 2 times as many running requests have a
// higher score in the median.
func betterWithMore(tb testing.TB, t trial, all []trial) bool {
	running := t.number(tb, "vLLM.num_requests_running.avg")
	var scores []float64
	for _, other := range all {
		if x := other.number(tb, "vLLM.num_requests_running.avg"); x >= 1.1*running && x <= 2*running {
			scores = append(scores, other.number(tb, "score"))
		}
	}
	if len(scores) == 0 {
		return false
	}
	slices.Sort(scores)
	n := len(scores)
	return (scores[(n-1)/2]+scores[n/2])/2 > t.number(tb, "score")
}

func sharedTrials(t *testing.T) (trials []trial) {
	file, err := os.Open(testkit.Shared(t, "data/tuning_trials.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil || len(rows) < 2 {
		t.Fatalf("%d rows: %v", len(rows), err)
	}
	for _, row := range rows[1:] {
		r := trial{}
		for i, name := range rows[0] {
			r[name] = row[i]
		}
		trials = append(trials, r)
	}
	return trials
}

// The diagnosis names what bound real runs that nobody here made, and raises max_num_seqs only
// where that is right.
func TestSharedTrials(t *testing.T) {
	trials := sharedTrials(t)
	right, raises, rightRaises := 0, 0, 0
	document := map[schema.FindingCode]int{}
	var scores []float64
	for _, r := range trials {
		scores = append(scores, r.number(t, "score"))
	}
	slices.Sort(scores)
	bestTenth := scores[len(scores)-1-len(scores)/10]
	for _, r := range trials {
		e, truth := r.event(t), r.truth(t)
		d := Diagnose(e, Options{})
		got := d.BindingResource.Code
		if got == schema.BindingCapOrCompute {
			got = schema.BindingConcurrencyCap
		}
		if got == truth {
			right++
		} else {
			t.Logf("trial %s: %s, and it was %s: %s", r["trial"], got, truth, testkit.JSON(d.BindingResource))
		}
		for _, f := range d.Findings {
			if f.Severity == schema.FindingCritical && r.number(t, "score") >= bestTenth {
				t.Errorf("trial %s, of the best tenth, has a critical finding: %s", r["trial"], f.Message)
			}
			for _, fix := range f.Fixes {
				if n, ok := fix.Value.(int64); ok && fix.Flag == "--max-num-seqs" && float64(n) > r.number(t, "max_num_seqs") {
					raises++
					if betterWithMore(t, r, trials) {
						rightRaises++
					} else {
						t.Logf("trial %s: raising max_num_seqs from %s to %d does not help", r["trial"], r["max_num_seqs"], n)
					}
				}
			}
		}
		for _, f := range Diagnose(e, Options{Preset: Document}).Findings {
			document[f.Code]++
		}
	}
	t.Logf("%d of %d right; %d of %d raises right; the document's rules: %v", right, len(trials), rightRaises, raises, document)
	if 10*right < 9*len(trials) {
		t.Errorf("%d of %d right, want nine in ten", right, len(trials))
	}
	if raises < 10 || 10*rightRaises < 9*raises {
		t.Errorf("%d of %d raises of max_num_seqs right, want nine in ten of at least ten", rightRaises, raises)
	}
	if document[schema.FindingKVCacheThrashing] != 0 || document[schema.FindingDocumentGPUUnderutilization] != 0 || document[schema.FindingDocumentPrefixCacheMisses] != len(trials) {
		t.Errorf("the document's rules: %v", document)
	}
}
