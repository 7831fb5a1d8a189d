package probe

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/vllm/args"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/schema"
)

// multiply turns a page of one engine into one of several, distinguished by labels
// (`engine="3"`). Engine i counts factor(i) times as much; gauge(i) is its KV cache usage in
// percent and its number of running requests.
func multiply(page string, engines int, labels func(i int) string, factor func(i int) float64, gauge func(i int) float64) string {
	var out strings.Builder
	for line := range strings.Lines(page) {
		name, rest, _ := strings.Cut(line, "{")
		head, tail, ok := strings.Cut(rest, `engine="0"`)
		if !ok || strings.HasPrefix(line, "#") {
			out.WriteString(line)
			continue
		}
		if !metrics.IsWanted(name) {
			continue // not needed
		}
		tail, text, _ := strings.Cut(strings.TrimSuffix(tail, "\n"), "} ")
		one, err := strconv.ParseFloat(text, 64)
		if err != nil {
			panic(line)
		}
		for i := range engines {
			value := one
			switch name {
			case "vllm:kv_cache_usage_perc":
				value = gauge(i) / 100
			case "vllm:num_requests_running":
				value = gauge(i)
			case "vllm:cache_config_info":
			default:
				value *= factor(i)
			}
			out.WriteString(name + "{" + head + labels(i) + tail + "} ")
			out.WriteString(strconv.FormatFloat(value, 'g', -1, 64) + "\n")
		}
	}
	return out.String()
}

// With 64 engines behind one address, counters, buckets and running requests add up; of the
// usage the highest counts, and the mean over engines and time.
func TestManyEngines(t *testing.T) {
	t.Parallel()
	const engines = 64
	label := func(i int) string { return fmt.Sprintf("engine=%q", strconv.Itoa(i)) }
	factor := func(i int) float64 { return float64(i + 1) }
	const all = engines * (engines + 1) / 2
	page := func(name string, gauge func(i int) float64) string {
		page := multiply(testkit.Recorded(t, name), engines, label, factor, gauge)
		return strings.ReplaceAll(page, `num_gpu_blocks="16384"`, `num_gpu_blocks="1048576"`) // 64 times as many, on each engine's series
	}
	idle := func(int) float64 { return 0 }
	index := func(i int) float64 { return float64(i) }
	pl := newPlayer(t, target(t, "http://127.0.0.1:8000"))
	pl.at(-0.1, 0, phaseBefore, true, page("serve_default_pre", idle))
	// At last engine 63 goes from 63 running requests to 1, all others keep theirs.
	working := page("serve_default_pre", index)
	for at := 5.0; at <= 55; at += 5 {
		pl.at(at, 0, phaseDuring, false, working)
	}
	pl.at(60, 0, phaseDuring, false, page("serve_default_pre", func(i int) float64 {
		if i == 63 {
			return 1
		}
		return index(i)
	}))
	pl.at(61.1, 0, phaseAfter, true, page("serve_default_post", idle))
	report := pl.report(61)
	g := report.Engine
	if *g.Tokens.Prompt != 14518*all || *g.Tokens.Generation != 5737*all || g.Requests.Finished["length"] != 60*all || g.PrefixCache.Local.Hits != 7168*all || !testkit.Near(g.PrefixCache.Local.HitRate, 7168.0/14518) {
		t.Errorf("%s %s %s", testkit.JSON(g.Tokens), testkit.JSON(g.Requests), testkit.JSON(g.PrefixCache))
	}
	ttft := g.LatencySeconds.TimeToFirstToken
	if ttft.Count != 60*all || math.Abs(float64(ttft.Sum)-2.8157277107238770*all) > 1e-6 || !testkit.Near(ttft.P50Est, 0.04+0.02*6/23) || !testkit.Near(ttft.P99Est, 0.099) {
		t.Errorf("TTFT %s", testkit.JSON(ttft)) // the quantiles are those of one engine
	}
	if q := g.Requests.Running; q.Peak == nil || q.Mean == nil || *q.Last != 0 || *q.Peak != 63*64/2 || *q.Method != "littles_law" || math.Abs(float64(*q.Mean)-all*50.3164046/61.2) > 1e-6*all {
		t.Errorf("running %s", testkit.JSON(q))
	}
	// Each request takes 1 % of its engine's cache.
	if u := g.KVCache.Usage; *u.Last != 0 || *u.Peak != 0.63 || !testkit.Near(u.Mean, float64(*g.Requests.Running.Mean)/100/engines) || *report.KVCacheUsagePerc != 0 {
		t.Errorf("usage %s", testkit.JSON(u))
	}
	if k := g.KVCache; *k.NumGPUBlocks != 1048576 || *k.SizeTokens != 2097152 || *k.PeakTokens != 2097152*63/100 {
		t.Errorf("KV cache %s", testkit.JSON(k))
	}
	if len(g.Instances) != engines {
		t.Fatalf("%d instances", len(g.Instances))
	}
	for i, in := range g.Instances {
		n := int64(i + 1)
		if i == 0 { // it showed nothing, but generated tokens
			if in.RequestsRunningPeak != nil || in.KVCacheUsagePeak != nil || !strings.Contains(testkit.Reason(report.Notes, "engine.instances.0.requests_running_peak"), "although 5737 tokens were generated") {
				t.Errorf("engine 0: %s", testkit.JSON(in))
			}
			continue
		}
		if *in.Engine != strconv.Itoa(i) || in.Endpoint != 0 || *in.PromptTokens != 14518*n || *in.GenerationTokens != 5737*n || *in.RequestsFinished != 60*n || *in.RequestsRunningPeak != n-1 || *in.KVCacheUsagePeak != schema.Float(n-1)/100 {
			t.Errorf("engine %d: %s", i, testkit.JSON(in))
		}
	}
}

// Replicas of a stage add up, stages never do: the figures are those of the first stage
// whose counters moved, and every instance has its own.
func TestStagesAndReplicas(t *testing.T) {
	t.Parallel()
	// Stage 0 has two replicas, the stages 1 and 10 one each.
	stages := []struct {
		stage, replica string
	}{{"0", "0"}, {"0", "1"}, {"1", "0"}, {"10", "0"}}
	label := func(i int) string {
		return fmt.Sprintf("replica=%q,stage=%q", stages[i].replica, stages[i].stage)
	}
	for _, c := range []struct {
		name    string
		factors [4]float64 // of what the run added, by instance
		stage   string
		times   int64 // multiple of the recorded run's tokens
		running float64
	}{
		{"the first", [4]float64{1, 2, 4, 8}, "0", 3, 55 + 56},
		{"one replica of it", [4]float64{0, 2, 4, 8}, "0", 2, 55 + 56},
		{"the second", [4]float64{0, 0, 4, 8}, "1", 4, 57},
		{"by number: 10 after 1", [4]float64{0, 0, 0, 8}, "10", 8, 58},
		{"nothing moved", [4]float64{}, "0", 0, 55 + 56},
	} {
		t.Run(c.name, func(t *testing.T) {
			// All have zeros at first; those with factor 0 keep them.
			zero := func(int) float64 { return 0 }
			gauge := func(i int) float64 { return float64(55 + i) }
			pre := multiply(testkit.Recorded(t, "serve_default_pre"), 4, label, zero, zero)
			load := multiply(testkit.Recorded(t, "serve_default_pre"), 4, label, zero, gauge)
			post := multiply(testkit.Recorded(t, "serve_default_post"), 4, label, func(i int) float64 { return c.factors[i] }, zero)
			tg := target(t, "http://127.0.0.1:8000")
			tg.MaxNumSeqs = 16
			pl := newPlayer(t, tg)
			pl.run(runPages{pre, load, post})
			report := pl.report(10)
			g := report.Engine
			if g.Stage == nil || *g.Stage != c.stage || *g.Tokens.Generation != 5753*c.times || g.Requests.Finished["length"] != 62*c.times || float64(*g.Requests.Running.Peak) != c.running {
				t.Errorf("stage %s: %s %s, want %d times the run", testkit.JSON(g.Stage), testkit.JSON(g.Tokens), testkit.JSON(g.Requests), c.times)
			}
			if d := g.LatencySeconds.TimeToFirstToken; (d == nil) != (c.times == 0) || d != nil && d.Count != 62*c.times {
				t.Errorf("TTFT %s", testkit.JSON(d))
			}
			if g.Requests.BatchUtilization != nil {
				t.Error("a batch utilization, although --max-num-seqs is not of a stage")
			}
			if len(g.Instances) != 4 {
				t.Fatalf("instances %s", testkit.JSON(g.Instances))
			}
			for i, in := range g.Instances {
				if in.Engine != nil || *in.Stage != stages[i].stage || *in.Replica != stages[i].replica || *in.GenerationTokens != int64(5753*c.factors[i]) || *in.RequestsRunningPeak != int64(55+i) {
					t.Errorf("instance %d: %s", i, testkit.JSON(in))
				}
			}
			// One replica's blocks are its stage's; of several they are unknown.
			if blocks, why := g.KVCache.NumGPUBlocks, testkit.Reason(report.Notes, "engine.kv_cache.num_gpu_blocks"); (blocks == nil) != (c.stage == "0") || (blocks == nil) != strings.Contains(why, "several replicas") {
				t.Errorf("blocks %s %q", testkit.JSON(blocks), why)
			}
			if *g.KVCache.SizeTokens != 2097152 {
				t.Errorf("size %s", testkit.JSON(g.KVCache))
			}
		})
	}
}

// With several addresses, counters and blocks add up. The caches may differ in size.
func TestSeveralEndpoints(t *testing.T) {
	second := func(page string) string {
		for _, change := range [][2]string{
			{`kv_cache_size_tokens="2097152"`, `kv_cache_size_tokens="1048576"`}, {`num_gpu_blocks="16384"`, `num_gpu_blocks="8192"`},
			{`enable_prefix_caching="True"`, `enable_prefix_caching="False"`},
		} {
			if !strings.Contains(page, change[0]) {
				t.Fatalf("the page has no %s", change[0])
			}
			page = strings.ReplaceAll(page, change[0], change[1])
		}
		// Its TTFT has other buckets: none at 0.06, and one at 0.07.
		page = testkit.ReplaceLines(t, page, `vllm:time_to_first_token_seconds_bucket{engine="0",le="0.06"`, "")
		return strings.Replace(page, `vllm:time_to_first_token_seconds_bucket{engine="0",le="0.08"`, `vllm:time_to_first_token_seconds_bucket{engine="0",le="0.07",model_name="tiny"} 2`+"\n"+`vllm:time_to_first_token_seconds_bucket{engine="0",le="0.08"`, 1)
	}
	a, b := target(t, "http://127.0.0.1:8001"), target(t, "http://127.0.0.1:8002")
	play := func(a, b scrape.Target, peakA, peakB string) aggregate.Output {
		pl := newPlayer(t, a, b)
		var both []runPages
		for n, peak := range []string{peakA, peakB} {
			change := func(page string) string { return page }
			if n == 1 {
				change = second
			}
			pre := change(testkit.Recorded(t, "serve_default_pre"))
			load := testkit.SetValues(t, pre, usage+peak, `vllm:num_requests_running{engine="0",model_name="tiny"} `+strconv.Itoa(13+n))
			both = append(both, runPages{pre, load, change(testkit.Recorded(t, "serve_default_post"))})
		}
		pl.run(both...)
		return pl.report(10)
	}
	report := play(a, b, "0.25", "0.375")
	g := report.Engine
	if *g.Tokens.Generation != 2*5737 || g.Requests.Finished["length"] != 120 || *g.Requests.Running.Peak != 27 {
		t.Errorf("%s %s", testkit.JSON(g.Tokens), testkit.JSON(g.Requests))
	}
	if len(g.Endpoints) != 2 || len(g.Instances) != 2 || g.Instances[0].Endpoint != 0 || g.Instances[1].Endpoint != 1 || *g.Instances[1].GenerationTokens != 5737 || *g.Instances[0].KVCacheUsagePeak != 0.25 || *g.Instances[1].KVCacheUsagePeak != 0.375 {
		t.Errorf("instances %s", testkit.JSON(g.Instances))
	}
	// The second cache is fuller, the first has more tokens in it.
	if k := g.KVCache; *k.Usage.Peak != 0.375 || *k.NumGPUBlocks != 16384+8192 || *k.BlockSize != 128 || *k.PeakTokens != 2097152/4 || k.SizeTokens != nil || !strings.Contains(testkit.Reason(report.Notes, "engine.kv_cache.size_tokens"), `"1048576" and "2097152"`) {
		t.Errorf("KV cache %s %q", testkit.JSON(k), testkit.Reason(report.Notes, "engine.kv_cache.size_tokens"))
	}
	if c := report.EngineRuntimeConfig; c.EnablePrefixCaching != nil || *c.KVCacheDtype != "auto" || testkit.Reason(report.Notes, "engine_runtime_config.enable_prefix_caching") != "the engines have different values: false and true" {
		t.Errorf("runtime config %s", testkit.JSON(c))
	}
	// Of 60 first tokens at each, 17 came within 0.04 s and 52 within 0.08 s. The engines do
	// not share the bounds in between.
	if d := g.LatencySeconds.TimeToFirstToken; d.Count != 120 || !testkit.Near(&d.Sum, 2*2.8157277107238770) || !testkit.Near(d.P50Est, 0.04+0.04*float64(60-2*ttftWithin(t, "0.04"))/float64(2*(ttftWithin(t, "0.08")-ttftWithin(t, "0.04")))) {
		t.Errorf("TTFT %s", testkit.JSON(d))
	}
	if report := play(a, b, "0.25", "0.625"); *report.Engine.KVCache.PeakTokens != 1048576*5/8 {
		t.Errorf("KV cache %s", testkit.JSON(report.Engine.KVCache))
	}
	a.MaxNumSeqs = 16
	if report := play(a, b, "0.25", "0.5"); report.Engine.Requests.BatchUtilization != nil || !strings.Contains(testkit.Reason(report.Notes, "engine.requests.batch_utilization"), "--max-num-seqs") {
		t.Errorf("one server's max_num_seqs only: %s", testkit.JSON(report.Engine.Requests))
	}
	b.MaxNumSeqs = 4
	report = play(a, b, "0.25", "0.5")
	active := float64(*report.Engine.Window.ActiveSecondsEst)
	if q := report.Engine.Requests; !testkit.Near(q.BatchUtilization, 2*50.316404576000195/active/20) || math.Abs(float64(*q.Running.Mean)-2*50.3164046/10.3) > 1e-6 {
		t.Errorf("both servers' max_num_seqs: %s", testkit.JSON(report.Engine.Requests))
	}
}

// ttftWithin returns how many of the recorded run's first tokens came within a bound.
func ttftWithin(t *testing.T, le string) int {
	at := func(name string) int {
		prefix := fmt.Sprintf("vllm:time_to_first_token_seconds_bucket{engine=\"0\",le=%q,model_name=\"tiny\"} ", le)
		_, rest, ok := strings.Cut(testkit.Recorded(t, name), prefix)
		value, _, _ := strings.Cut(rest, "\n")
		n, err := strconv.ParseFloat(value, 64)
		if !ok || err != nil {
			t.Fatalf("%s has no %s", name, prefix)
		}
		return int(n)
	}
	return at("serve_default_post") - at("serve_default_pre")
}

// max_num_seqs is per engine: two engines of one server can run twice as many requests.
func TestBatchUtilization(t *testing.T) {
	c := recorded["serve_dp2"]
	pre, post := testkit.Recorded(t, c.pre), testkit.Recorded(t, c.post)
	line := ReadCommandLine(args.Parse(strings.Fields("vllm serve tiny --port 8000 --data-parallel-size 2 --max-num-seqs 16 --max-num-batched-tokens 8k"), ""))
	for name, set := range map[string]func(p *Prober){
		"from its own command line": func(p *Prober) { p.Add(line.Targets[0]) },
		"set later": func(p *Prober) {
			p.Add(target(t, "http://127.0.0.1:8000"))
			p.SetServerFlags(target(t, "http://localhost:8000"), line)
		},
		"of another server": func(p *Prober) {
			p.Add(target(t, "http://127.0.0.1:8000"))
			p.SetServerFlags(target(t, "http://127.0.0.1:8001"), line)
		},
		"not cleared": func(p *Prober) {
			p.Add(line.Targets[0])
			p.SetServerFlags(target(t, "http://127.0.0.1:8000"), CommandLine{Server: true})
		},
	} {
		pl := newPlayer(t)
		set(pl.p)
		pl.run(runPages{pre, testkit.SetValues(t, pre, c.load...), post})
		report := pl.report(10)
		g := report.Engine
		got := g.Requests.BatchUtilization
		if name == "of another server" {
			if got != nil || testkit.Reason(report.Notes, "engine.requests.batch_utilization") == "" {
				t.Errorf("%s: %s", name, testkit.JSON(got))
			}
			if g.Requests.RunningLimit != nil || g.Tokens.PerIterationLimit != nil || !strings.Contains(testkit.Reason(report.Notes, "engine.tokens.per_iteration_limit"), "--max-num-batched-tokens") {
				t.Errorf("%s: limits of another server: %s", name, testkit.JSON(report.Notes.Unavailable))
			}
			continue
		}
		if *g.Requests.RunningLimit != 32 || *g.Tokens.PerIterationLimit != 8000 {
			t.Errorf("%s: limits %d and %d, want 32 and 8000", name, *g.Requests.RunningLimit, *g.Tokens.PerIterationLimit)
		}
		if want := float64(g.LatencySeconds.RequestInferenceTime.Sum / *g.Window.ActiveSecondsEst) / 32; !testkit.Near(got, want) {
			t.Errorf("%s: %s, want %v", name, testkit.JSON(got), want)
		}
	}
	for text, want := range map[string]int{
		"vllm serve m --max-num-seqs 64": 64, "vllm serve m --max_num_seqs=8 --max-num-seqs=9": 9, "env A=1 vllm serve m --headless --max-num-seqs 3": 3,
		"vllm serve m": 0, "vllm serve m --max-num-seqs": 0, "vllm serve m --max-num-seqs 1k": 0, "vllm serve m --max-num-seqs -1": 0, "vllm serve m --max-num-seqs 0": 0,
		"vllm serve m --max-num-seqs 99999999999999999999": 0, "vllm serve m --max-num-seqs 2000000": 0, "client --max-num-seqs 4": 0, "vllm bench serve --max-num-seqs 4": 0,
	} {
		if got := ReadCommandLine(args.Parse(strings.Fields(text), "")); got.MaxNumSeqs != want || len(got.Targets) > 0 && got.Targets[0].MaxNumSeqs != want {
			t.Errorf("%s: %d, want %d", text, got.MaxNumSeqs, want)
		}
	}
}

func TestMaxNumBatchedTokens(t *testing.T) {
	for text, want := range map[string]int{
		"vllm serve m --max-num-batched-tokens 8192": 8192, "vllm serve m --max_num_batched_tokens=2k": 2000, "vllm serve m --max-num-batched-tokens 2K": 2048,
		"vllm serve m": 0, "vllm serve m --max-num-batched-tokens x": 0, "vllm serve m --max-num-batched-tokens 0": 0, "vllm serve m --max-num-batched-tokens -5": 0, "vllm bench serve --max-num-batched-tokens 4": 0,
	} {
		if got := ReadCommandLine(args.Parse(strings.Fields(text), "")); got.MaxNumBatchedTokens != want || len(got.Targets) > 0 && got.Targets[0].MaxNumBatchedTokens != want {
			t.Errorf("%s: %d, want %d", text, got.MaxNumBatchedTokens, want)
		}
	}
}

// In multiprocess mode a gauge without an explicit mode appears once per process (vLLM
// 0.9.2 to 0.11.0: the KV cache usage). The highest is the engine's.
func TestGaugesPerProcess(t *testing.T) {
	pre := testkit.Recorded(t, "serve_dp2_pre")
	perProcess := func(page string, values ...string) string {
		page = testkit.ReplaceLines(t, page, "vllm:kv_cache_usage_perc{", "")
		for i, v := range values {
			page += fmt.Sprintf("vllm:kv_cache_usage_perc{engine=\"%d\",model_name=\"tiny\",pid=\"%d\"} %s\n", i/2, 100+i%2, v)
		}
		return page
	}
	pl := newPlayer(t, target(t, "http://127.0.0.1:8000"))
	load := testkit.SetValues(t, pre, recorded["serve_dp2"].load...)
	pl.run(runPages{perProcess(pre, "0", "0", "0", "0"), perProcess(load, "0.25", "0.5", "0.125", "0"), perProcess(testkit.Recorded(t, "serve_dp2_post"), "0", "0", "0", "0")})
	report := pl.report(10)
	g := report.Engine
	// The polls found 17 running requests, and the times of those that finished prove fewer.
	mean := (0.5 + 0.125) / 17 * float64(*g.Requests.Running.Mean) / 2
	if u := g.KVCache.Usage; *u.Peak != 0.5 || !testkit.Near(u.Mean, mean) || *u.Method != "per_running_request" || *u.Last != 0 || len(g.Instances) != 2 || *g.Instances[0].KVCacheUsagePeak != 0.5 || *g.Instances[1].KVCacheUsagePeak != 0.125 {
		t.Errorf("usage %s, instances %s", testkit.JSON(u), testkit.JSON(g.Instances))
	}
}

// An address that the user gave and that yields nothing is reported, because the sums lack
// it.
func TestEndpointNotRead(t *testing.T) {
	pre, post := testkit.Recorded(t, "serve_default_pre"), testkit.Recorded(t, "serve_default_post")
	given, dead, found := target(t, "http://127.0.0.1:8000"), target(t, "http://127.0.0.1:8001"), target(t, "http://127.0.0.1:8002")
	found.Origin = scrape.FromTree // not given by the user: perhaps one of many ports of a process
	pl := newPlayer(t, given, dead, found)
	pl.p.endpoints[1].lastError = fmt.Errorf("scraping %s: connection refused", dead.Name())
	pl.run(runPages{pre, pre, post})
	report := pl.report(10)
	if got := report.Notes.Validity; len(got) != 3 || got[0].Code != "endpoint_not_read" || !strings.Contains(got[0].Message, "8001/metrics yielded no metrics") || !strings.Contains(got[0].Message, "refused") || got[1].Code != "short_window" || got[2].Code != "few_requests" {
		t.Errorf("%s", testkit.JSON(got))
	}
}

// An engine that exports only gauges is an instance too.
func TestInstanceWithoutCounters(t *testing.T) {
	change := func(page string) string {
		return page + "vllm:num_requests_running{engine=\"7\",model_name=\"tiny\"} 2\n"
	}
	pre := change(testkit.Recorded(t, "serve_default_pre"))
	pl := newPlayer(t, target(t, "http://127.0.0.1:8000"))
	pl.run(runPages{pre, pre, change(testkit.Recorded(t, "serve_default_post"))})
	report := pl.report(10)
	in := report.Engine.Instances
	if len(in) != 2 || *in[1].Engine != "7" || *in[1].RequestsRunningPeak != 2 || in[1].GenerationTokens != nil || *in[0].GenerationTokens != 5737 {
		t.Errorf("instances %s", testkit.JSON(in))
	}
}

// Each engine behind an address has its own means, by its own times: one that did three times the
// work had three times the requests. Its preemptions and its waiting requests are its own, too.
func TestInstanceRequests(t *testing.T) {
	t.Parallel()
	label := func(i int) string { return fmt.Sprintf("engine=%q", strconv.Itoa(i)) }
	factor := func(i int) float64 { return float64(1 + 2*i) }
	page := func(name string, waiting int, preemptions int) string {
		page := multiply(testkit.Recorded(t, name), 2, label, factor, func(int) float64 { return float64(waiting) })
		page = testkit.SetValues(t, page, fmt.Sprintf(`vllm:num_requests_waiting{engine="1",model_name="tiny"} %d`, waiting))
		return testkit.SetValues(t, page, fmt.Sprintf(`vllm:num_preemptions_total{engine="1",model_name="tiny"} %d`, preemptions))
	}
	pre, post := page("serve_default_pre", 0, 0), page("serve_default_post", 0, 0)
	pl := newPlayer(t, target(t, "http://127.0.0.1:8000"))
	pl.run(runPages{pre, page("serve_default_pre", 7, 0), post})
	report := pl.report(10)
	whole, in := report.Engine.Requests, report.Engine.Instances
	if len(in) != 2 || whole.Running.Mean == nil || *whole.Running.Method != "littles_law" {
		t.Fatalf("running %s, instances %s", testkit.JSON(whole.Running), testkit.JSON(in))
	}
	for i, part := range []float64{0.25, 0.75} {
		for _, f := range []struct {
			name      string
			got, want *schema.Float
		}{{"running", in[i].RequestsRunningMean, whole.Running.Mean}, {"waiting", in[i].RequestsWaitingMean, whole.Waiting.Mean}} {
			if f.got == nil || math.Abs(float64(*f.got)-part*float64(*f.want)) > 1e-9 {
				t.Errorf("%s of engine %d: %s, want %v of %s", f.name, i, testkit.JSON(f.got), part, testkit.JSON(f.want))
			}
		}
	}
	if *in[0].RequestsWaitingPeak != 0 || *in[1].RequestsWaitingPeak != 7 {
		t.Errorf("waiting peaks %d and %d", *in[0].RequestsWaitingPeak, *in[1].RequestsWaitingPeak)
	}
	pl = newPlayer(t, target(t, "http://127.0.0.1:8000"))
	pl.run(runPages{pre, page("serve_default_pre", 7, 2), page("serve_default_post", 0, 5)})
	in = pl.report(10).Engine.Instances
	if *in[0].Preemptions != 0 || *in[1].Preemptions != 5 {
		t.Errorf("preemptions %d and %d", *in[0].Preemptions, *in[1].Preemptions)
	}
	// Preemptions of one engine leave the other's mean exact.
	if got := in[0].RequestsRunningMean; got == nil || math.Abs(float64(*got)-float64(*whole.Running.Mean)/4) > 1e-9 {
		t.Errorf("running of the engine without preemptions: %s", testkit.JSON(got))
	}
}
