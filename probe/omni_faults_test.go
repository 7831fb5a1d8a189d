package probe

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/probe/scrape"
)

// reportOf returns the report on pages that were read a second apart: the first before the
// start, the last after the end, the others, three times each, while the command ran.
func reportOf(t *testing.T, pages ...string) aggregate.Output {
	t.Helper()
	p := New(quick)
	readPages(t, p, "http://127.0.0.1:1", pages...)
	return finishedReport(t, p)
}

// readPages adds an endpoint and ingests its pages as in reportOf.
func readPages(t *testing.T, p *Prober, address string, pages ...string) {
	t.Helper()
	p.started = time.Time{} // otherwise Add would start polling
	p.Add(target(t, address))
	e := p.endpoints[len(p.endpoints)-1]
	at := time.Unix(1795303500, 0)
	for i, page := range pages {
		when := phaseDuring
		switch i {
		case 0:
			when = phaseBefore
		case len(pages) - 1:
			when = phaseAfter
		}
		if err := e.parse(strings.NewReader(page)); err != nil {
			t.Fatal(err)
		}
		times := 1
		if when == phaseDuring {
			times = 3
		}
		for n := range times {
			if n > 0 { // ingest drops samples
				if err := e.parse(strings.NewReader(page)); err != nil {
					t.Fatal(err)
				}
			}
			read := at.Add(time.Duration(i)*time.Second + time.Duration(n)*time.Millisecond)
			if _, err := e.ingest(read, scrape.Response{Bytes: int64(len(page)), Complete: true, Latency: time.Millisecond}, true, when); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.started = at
}

// finishedReport returns the report of a run whose endpoints have settled.
func finishedReport(t *testing.T, p *Prober) aggregate.Output {
	t.Helper()
	settled := map[*endpoint]bool{}
	for _, e := range p.endpoints {
		settled[e] = true
		e.client.Close()
	}
	p.cancel()
	report := p.aggregate(p.endpoints, settled, p.endpoints[0].lastAt)
	checkNulls(t, report)
	return report
}

// messages returns the messages of the validity notes with a code.
func messages(report aggregate.Output, code string) string {
	var out []string
	for _, v := range report.Notes.Validity {
		if string(v.Code) == code {
			out = append(out, v.Message)
		}
	}
	return strings.Join(out, "\n")
}

// checkOmniExcept checks that a report of pages with a fault has the pipeline's figures as
// without the fault, except below some paths.
func checkOmniExcept(t *testing.T, report aggregate.Output, except ...string) {
	t.Helper()
	for _, d := range differences(t, "omni", expectedOmni(t, "now").Omni, asTree(t, report.Omni)) {
		if !slices.ContainsFunc(except, func(path string) bool { return strings.HasPrefix(d, path) }) {
			t.Error(d)
		}
	}
}

const (
	omniWaitingLine = `vllm_omni:num_requests_waiting{model_name="org/demo-omni"} `
	omniRunningLine = `vllm_omni:num_requests_running{model_name="org/demo-omni"} `
)

// Known faults of vllm-omni's servers, from its issues and reviews.
func TestOmniFaults(t *testing.T) {
	pre, mid, post := omniPages(t, "now")
	t.Run("none", func(t *testing.T) {
		report := reportOf(t, pre, mid, post)
		checkOmniExcept(t, report)
		if got := testkit.Codes(report.Notes); got != "short_window streaming_only undercounted_scheduler_stats few_requests" {
			t.Errorf("doubts %s", got)
		}
		a := report.Omni.Stages[1].Audio
		if want := float64(a.DurationSeconds.Sum) / 2; !testkit.Near(a.SecondsPerSecond, want) {
			t.Errorf("%v seconds per second in a window of 2 s, want %v", *a.SecondsPerSecond, want)
		}
		if d := report.Engine.Tokens.PerIteration; d == nil || d.Count != 22 || !strings.Contains(messages(report, "undercounted_scheduler_stats"), "ratios") {
			t.Errorf("tokens per iteration: %s", testkit.JSON(d))
		}
	})
	t.Run("stale waiting", func(t *testing.T) {
		p := New(quick)
		readPages(t, p, "http://127.0.0.1:1", pre, mid, testkit.ReplaceAll(t, post, omniWaitingLine+"0.0", omniWaitingLine+"1.0"))
		if p.gauges[scrape.FromFlag].BusyNow(0) {
			t.Error("the engine counts as busy, and Finish would wait for it")
		}
		report := finishedReport(t, p)
		checkOmniExcept(t, report, "omni.pipeline.requests.waiting.last")
		if !strings.Contains(messages(report, "doubtful_gauges"), "an idle server keeps showing the last one as waiting") {
			t.Errorf("doubts %s", testkit.Codes(report.Notes))
		}
	})
	t.Run("waiting in the diffusion scheduler", func(t *testing.T) {
		report := reportOf(t, pre, testkit.ReplaceAll(t, mid, omniWaitingLine+"2.0", omniWaitingLine+"0.0"), post)
		checkOmniExcept(t, report, "omni.pipeline.requests.waiting")
		if !strings.Contains(messages(report, "doubtful_gauges"), "more requests waited in stage 2") {
			t.Errorf("doubts %s", testkit.Codes(report.Notes))
		}
	})
	t.Run("stuck gauges", func(t *testing.T) {
		p := New(quick)
		readPages(t, p, "http://127.0.0.1:1", pre, mid, testkit.ReplaceAll(t, post, omniRunningLine+"0.0", omniRunningLine+"1.0"))
		if !p.gauges[scrape.FromFlag].BusyNow(0) { // which leads to the note `unsettled`
			t.Error("the engine counts as idle although a request is running")
		}
		checkOmniExcept(t, finishedReport(t, p), "omni.pipeline.requests.running.last")
	})
	t.Run("families twice", func(t *testing.T) {
		report := reportOf(t, pre+pre, mid+mid, post+post)
		checkOmniExcept(t, report)
		if !strings.Contains(testkit.Codes(report.Notes), "duplicate_series") || *report.Engine.Tokens.Prompt != expectedOmni(t, "now").Engine.Prompt {
			t.Errorf("doubts %s, %s", testkit.Codes(report.Notes), testkit.JSON(report.Engine.Tokens))
		}
	})
	t.Run("families twice, with different values", func(t *testing.T) {
		report := reportOf(t, pre, mid, post+`vllm_omni:generation_tokens_total{model_name="org/demo-omni"} 7`+"\n")
		checkOmniExcept(t, report, "omni.pipeline.tokens.generation")
		if report.Omni.Pipeline.Tokens.Generation != nil || !strings.Contains(testkit.Reason(report.Notes, "omni.pipeline.tokens.generation"), "two different values") {
			t.Errorf("%s", testkit.JSON(report.Omni.Pipeline.Tokens))
		}
	})
	t.Run("series without a stage label", func(t *testing.T) {
		unstaged := func(n int) string {
			return fmt.Sprintf("# TYPE vllm:spec_decode_num_drafts_total counter\nvllm:spec_decode_num_drafts_total{engine=\"0\",model_name=\"org/demo-omni\"} %d\n"+
				"# TYPE vllm:spec_decode_num_draft_tokens_total counter\nvllm:spec_decode_num_draft_tokens_total{engine=\"0\",model_name=\"org/demo-omni\"} %[1]d\n"+
				"# TYPE vllm:external_prefix_cache_queries_total counter\nvllm:external_prefix_cache_queries_total{engine=\"0\",model_name=\"org/demo-omni\"} %[1]d\n", n)
		}
		report := reportOf(t, pre+unstaged(10), mid+unstaged(20), post+unstaged(50))
		checkOmniExcept(t, report)
		g := report.Engine
		if g.Stage == nil || *g.Stage != "0" || *g.Tokens.Prompt != expectedOmni(t, "now").Engine.Prompt || len(g.Instances) != 4 {
			t.Errorf("stage %s, %s", testkit.JSON(g.Stage), testkit.JSON(g.Tokens))
		}
		if g.Speculative != nil || !strings.Contains(testkit.Reason(report.Notes, "engine.speculative"), "have no stage label") || !strings.Contains(testkit.Reason(report.Notes, "engine.prefix_cache.external"), "have no stage label") {
			t.Errorf("%s: %q", testkit.JSON(g.Speculative), testkit.Reason(report.Notes, "engine.speculative"))
		}
	})
	t.Run("no sending metrics", func(t *testing.T) {
		const sending = `vllm_omni:transfer_(tx_s|size_bytes)_`
		report := reportOf(t, testkit.DropSamples(t, pre, sending), testkit.DropSamples(t, mid, sending), testkit.DropSamples(t, post, sending))
		checkOmniExcept(t, report, "omni.transfers")
		if len(report.Omni.Transfers) != 3 {
			t.Fatalf("%s", testkit.JSON(report.Omni.Transfers))
		}
		for i, e := range report.Omni.Transfers {
			if e.TxSeconds != nil || e.SizeBytes != nil || !testkit.Near(e.LatencyMeanSeconds, float64(*e.InFlightSeconds.Mean+*e.RxSeconds.Mean)) || testkit.Reason(report.Notes, fmt.Sprintf("omni.transfers.%d.tx_seconds", i)) == "" {
				t.Errorf("%s", testkit.JSON(e))
			}
		}
		if !strings.Contains(messages(report, "transfers_incomplete"), "from 0/0 to 1/0 without tx_seconds") {
			t.Errorf("doubts %q", messages(report, "transfers_incomplete"))
		}
	})
	t.Run("no streaming request recorded", func(t *testing.T) {
		const streaming = `vllm_omni:audio_(ttfp_s|underrun_s|continuity_ok)_`
		report := reportOf(t, testkit.DropSamples(t, pre, streaming), testkit.DropSamples(t, mid, streaming), testkit.DropSamples(t, post, streaming))
		checkOmniExcept(t, report, "omni.stages.1.audio.time_to_first_packet_seconds", "omni.stages.1.audio.underrun_seconds", "omni.stages.1.audio.continuity")
		for _, field := range []string{"time_to_first_packet_seconds", "underrun_seconds", "continuity"} {
			if why := testkit.Reason(report.Notes, "omni.stages.1.audio."+field); !strings.Contains(why, "none of 15 audio requests") || !strings.Contains(why, "stream: true") {
				t.Errorf("%s: %q", field, why)
			}
		}
		if a := report.Omni.Stages[1].Audio; a.TimeToFirstPacketSeconds != nil || a.Continuity != nil || a.UnderrunSeconds != nil {
			t.Errorf("%s", testkit.JSON(a))
		}
	})
	t.Run("the stages' counters do not move", func(t *testing.T) {
		still := func(page string) string {
			return regexp.MustCompile(`(?m)^(vllm:[a-z_]+(?:_total|_bucket|_sum|_count)\{.*\}) .*$`).ReplaceAllString(page, "$1 0.0")
		}
		report := reportOf(t, still(pre), still(mid), still(post))
		checkOmniExcept(t, report)
		g := report.Engine
		if g.Requests.Finished != nil || g.Tokens.Prompt != nil || g.Tokens.Generation != nil || g.LatencySeconds.TimeToFirstToken != nil || g.Throughput.RequestsPerSecond != nil || g.PrefixCache.Local != nil || g.Instances[0].RequestsFinished != nil {
			t.Errorf("%s", testkit.JSON(g))
		}
		for _, field := range []string{"engine.requests.finished", "engine.tokens.prompt", "engine.latency_seconds.time_to_first_token", "engine.instances.0.requests_finished"} {
			if why := testkit.Reason(report.Notes, field); !strings.HasPrefix(why, "not recorded: vllm-omni") {
				t.Errorf("%s: %q", field, why)
			}
		}
		if *g.Requests.Running.Peak != 3 { // a gauge that moved is kept
			t.Errorf("running %s", testkit.JSON(g.Requests.Running))
		}
	})
	t.Run("a pipeline without an autoregressive stage", func(t *testing.T) {
		others := regexp.MustCompile(`(?m)^vllm:.*stage="[01]".*\n`)
		only := func(page string) string { return others.ReplaceAllString(page, "") }
		report := reportOf(t, only(pre), only(mid), only(post))
		g := report.Engine
		if *g.Stage != "2" || g.Tokens.Prompt != nil || g.Requests.Running != nil || g.KVCache.Usage != nil || report.KVCacheUsagePerc != nil || report.PrefixCacheHitRate != nil {
			t.Errorf("%s", testkit.JSON(g))
		}
		for _, field := range []string{"kv_cache_usage_perc", "prefix_cache_hit_rate", "engine.requests.running", "engine.kv_cache.usage"} {
			if why := testkit.Reason(report.Notes, field); !strings.HasPrefix(why, "not recorded: vllm-omni counted work of stage 2") {
				t.Errorf("%s: %q", field, why)
			}
		}
	})
	t.Run("images at two stages", func(t *testing.T) {
		pre, mid, post := omniPages(t, "head")
		const other = `vllm:omni_image_num_total{model_name="org/demo-omni",replica="0",stage="1"} `
		report := reportOf(t, pre+other+"1\n", mid+other+"2\n", post+other+"5\n")
		if got := report.Omni; got.Pipeline.Images != nil || !strings.Contains(testkit.Reason(report.Notes, "omni.pipeline.images"), "several stages") || *got.Stages[0].Image.Images != 4 || *got.Stages[1].Image.Images != 10 {
			t.Errorf("%s: %q", testkit.JSON(got), testkit.Reason(report.Notes, "omni.pipeline.images"))
		}
	})
	t.Run("without upstream's metrics", func(t *testing.T) {
		const upstream = `(?:# (?:HELP|TYPE) )?vllm:`
		report := bracket(t, testkit.DropSamples(t, pre, upstream), testkit.DropSamples(t, mid, upstream), testkit.DropSamples(t, post, upstream))
		checkOmniExcept(t, report, "omni.stages.0.replicas") // only upstream's series have them
		g := report.Engine
		if g.Stage != nil || g.Tokens.Prompt != nil || g.Requests.Running != nil || len(g.Instances) != 0 || !strings.Contains(testkit.Reason(report.Notes, "engine.tokens.prompt"), "vllm-omni's own families only") || strings.Contains(testkit.Reason(report.Notes, "engine.speculative"), "is off") {
			t.Errorf("%s: %q, %q", testkit.JSON(g), testkit.Reason(report.Notes, "engine.tokens.prompt"), testkit.Reason(report.Notes, "engine.speculative"))
		}
		if *g.Window.ActiveIntervals < 3 || strings.Contains(testkit.Codes(report.Notes), "nothing_recorded") {
			t.Errorf("window %s, doubts %s", testkit.JSON(g.Window), testkit.Codes(report.Notes))
		}
		if report := reportOf(t, testkit.DropSamples(t, pre, upstream), testkit.DropSamples(t, pre, upstream)); !strings.Contains(messages(report, "nothing_recorded"), "--log-stats") {
			t.Errorf("doubts %s, want nothing_recorded with --log-stats", testkit.Codes(report.Notes))
		}
	})
	t.Run("families declared without samples", func(t *testing.T) {
		const own = `vllm_omni:`
		report := reportOf(t, testkit.DropSamples(t, pre, own), testkit.DropSamples(t, mid, own), testkit.DropSamples(t, post, own))
		if report.Omni != nil || !strings.Contains(testkit.Reason(report.Notes, "omni"), "declared, but none has a sample") || *report.Engine.Tokens.Prompt != expectedOmni(t, "now").Engine.Prompt {
			t.Errorf("%s: %q", testkit.JSON(report.Omni), testkit.Reason(report.Notes, "omni"))
		}
	})
	t.Run("model names with quotes, stages with names", func(t *testing.T) {
		odd := func(page string) string {
			return testkit.ReplaceAll(t, page, `model_name="org/demo-omni"`, `model_name="~/tos/\"x\"\\y\nz"`, `stage="1"`, `stage="talker"`, `stage="2"`, `stage="10"`)
		}
		report := reportOf(t, odd(pre), odd(mid), odd(post))
		if got := report.Omni.Models; len(got) != 1 || got[0] != "~/tos/\"x\"\\y\nz" {
			t.Errorf("models %q", got)
		}
		checkOmniExcept(t, report, "omni.models", "omni.stages.1.stage ", "omni.stages.2.stage ", "omni.stages.1.", "omni.stages.2.", "omni.transfers")
		s := report.Omni.Stages
		if len(s) != 3 || s[0].Stage != "0" || s[1].Stage != "10" || s[2].Stage != "talker" || s[2].Audio.DurationSeconds.Count != 15 || s[1].Diffusion.ExecSeconds.Count != 5 {
			t.Errorf("stages %s", testkit.JSON(s))
		}
	})
	t.Run("old and new names together", func(t *testing.T) {
		both := func(page string) string {
			var old strings.Builder
			for line := range strings.Lines(page) {
				if strings.Contains(line, "vllm_omni:") {
					old.WriteString(strings.Replace(line, "vllm_omni:", "vllm:omni_", 2))
				}
			}
			return page + old.String()
		}
		checkOmniExcept(t, reportOf(t, both(pre), both(mid), both(post)))
	})
	t.Run("several thresholds", func(t *testing.T) {
		const other = `vllm_omni:audio_continuity_ok_total{model_name="org/demo-omni",replica="0",stage="1",threshold_ms="200"} `
		report := reportOf(t, pre+other+"1\n", mid+other+"2\n", post+other+"5\n")
		checkOmniExcept(t, report, "omni.stages.1.audio.continuity")
		if why := testkit.Reason(report.Notes, "omni.stages.1.audio.continuity"); report.Omni.Stages[1].Audio.Continuity != nil || !strings.Contains(why, "several thresholds, in ms: 100, 200") {
			t.Errorf("%s: %q", testkit.JSON(report.Omni.Stages[1].Audio.Continuity), why)
		}
	})
	t.Run("a stage that did nothing", func(t *testing.T) {
		report := reportOf(t, pre, pre)
		if s := report.Omni.Stages[2]; s.PeakMemoryBytes != nil || !strings.Contains(testkit.Reason(report.Notes, "omni.stages.2.peak_memory_bytes"), "a request before it") || *report.Omni.Pipeline.Images != 0 {
			t.Errorf("%s: %q", testkit.JSON(s), testkit.Reason(report.Notes, "omni.stages.2.peak_memory_bytes"))
		}
	})
}

// An edge with more transfers received than sent, and concurrent transfers whose times add
// up to more than the window.
func TestOmniTransfersOverlap(t *testing.T) {
	page := func(tx, rx int) string {
		var b strings.Builder
		b.WriteString("vllm_omni:num_requests_running{model_name=\"m\"} 0\n")
		for name, n := range map[string]int{"tx": tx, "rx": rx} {
			family, labels := "vllm_omni:transfer_"+name+"_s", `from_replica="0",from_stage="0",model_name="m",to_replica="0",to_stage="1"`
			fmt.Fprintf(&b, "# TYPE %s histogram\n%[1]s_bucket{%[2]s,le=\"10.0\"} 0\n%[1]s_bucket{%[2]s,le=\"60.0\"} %[3]d\n%[1]s_bucket{%[2]s,le=\"+Inf\"} %[3]d\n%[1]s_count{%[2]s} %[3]d\n%[1]s_sum{%[2]s} %[4]d\n", family, labels, n, 20*n)
		}
		return b.String()
	}
	report := reportOf(t, page(1, 1), page(5, 9), page(5, 9))
	e := report.Omni.Transfers
	// The median of 4 times of at least 10 s that add up to 80 s is at most 30 s, rounded up.
	if len(e) != 1 || e[0].TxSeconds.Count != 4 || e[0].RxSeconds.Count != 8 || e[0].RxSeconds.Sum != 160 || !testkit.Near(e[0].LatencyMeanSeconds, 40) || !testkit.Near(e[0].TxSeconds.P50Est, 30.0001) {
		t.Fatalf("%s", testkit.JSON(e))
	}
	if note := messages(report, "transfers_incomplete"); !strings.Contains(note, "from 0/0 to 1/0 without in_flight_seconds") {
		t.Errorf("note %q", note)
	}
	withInFlight := func(s string) string {
		var b strings.Builder
		for line := range strings.Lines(s) {
			if strings.Contains(line, "transfer_tx_s") {
				b.WriteString(strings.Replace(line, "transfer_tx_s", "transfer_in_flight_s", 1))
			}
		}
		return s + b.String()
	}
	report = reportOf(t, withInFlight(page(1, 1)), withInFlight(page(5, 9)))
	if note := messages(report, "transfers_incomplete"); !strings.Contains(note, "from 0/0 to 1/0 over 4 of tx_seconds, 4 of in_flight_seconds, 8 of rx_seconds") || !testkit.Near(report.Omni.Transfers[0].LatencyMeanSeconds, 60) {
		t.Errorf("note %q, %s", note, testkit.JSON(report.Omni.Transfers))
	}
}

// A plain engine and a pipeline at different addresses are not added up.
func TestPlainEngineAndPipeline(t *testing.T) {
	pre, _, post := omniPages(t, "now")
	p := New(quick)
	readPages(t, p, "http://127.0.0.1:1", pre, post)
	readPages(t, p, "http://127.0.0.1:2", testkit.Recorded(t, "serve_default_pre"), testkit.Recorded(t, "serve_default_post"))
	report := finishedReport(t, p)
	checkOmniExcept(t, report, "omni.pipeline.requests", "omni.stages.2.waiting_requests")
	if g := report.Engine; g.Stage != nil || *g.Tokens.Generation != 5737 || g.LatencySeconds.TimeToFirstToken.Count != 60 || len(g.Instances) != 5 || *g.KVCache.NumGPUBlocks != 16384 {
		t.Errorf("stage %s, %s, %s", testkit.JSON(g.Stage), testkit.JSON(g.Tokens), testkit.JSON(g.Instances))
	}
	// The same if the plain engine does not export what the pipeline does.
	p = New(quick)
	const family = `vllm:iteration_tokens_total`
	readPages(t, p, "http://127.0.0.1:1", pre, post)
	readPages(t, p, "http://127.0.0.1:2", testkit.ReplaceLines(t, testkit.Recorded(t, "serve_default_pre"), family, ""), testkit.ReplaceLines(t, testkit.Recorded(t, "serve_default_post"), family, ""))
	if report := finishedReport(t, p); report.Engine.Tokens.PerIteration != nil || !strings.Contains(testkit.Reason(report.Notes, "engine.tokens.per_iteration"), "does not export") {
		t.Errorf("%s: %q", testkit.JSON(report.Engine.Tokens.PerIteration), testkit.Reason(report.Notes, "engine.tokens.per_iteration"))
	}
}

// The oldest builds number the engines of their stages.
func TestOmniEnginesByNumber(t *testing.T) {
	pre, mid, post := omniPages(t, "first")
	second := func(page string) string {
		return page + `vllm:generation_tokens_total{engine="1",model_name="org/demo-omni"} 9` + "\n"
	}
	if got := messages(reportOf(t, second(pre), second(mid), second(post)), "engines_may_be_stages"); !strings.Contains(got, "omni.pipeline") {
		t.Errorf("note %q", got)
	}
	if got := testkit.Codes(reportOf(t, pre, mid, post).Notes); strings.Contains(got, "engines_may_be_stages") {
		t.Errorf("one engine: %s", got)
	}
	// If no counter moves while requests finish, tokens are null, not 0.
	still := func(page string) string {
		return regexp.MustCompile(`(?m)^(vllm:[a-z_]+(?:_total|_bucket|_sum|_count)\{.*\}) .*$`).ReplaceAllString(page, "$1 0.0")
	}
	report := reportOf(t, still(pre), still(mid), still(post))
	if why := testkit.Reason(report.Notes, "engine.tokens.generation"); report.Engine.Tokens.Generation != nil || !strings.Contains(why, "finished 22 requests") {
		t.Errorf("%s: %q", testkit.JSON(report.Engine.Tokens), why)
	}
}

// A pipeline that is idle after a filtered poll that showed work needs a full page soon: a
// script may end its server next.
func TestIdleOmniNeedsFullPage(t *testing.T) {
	const upstream = `(?:# (?:HELP|TYPE) )?vllm:`
	pre, _, post := omniPages(t, "now")
	p := New(quick)
	readPages(t, p, "http://127.0.0.1:1", testkit.DropSamples(t, pre, upstream))
	e := p.endpoints[0]
	defer e.client.Close()
	defer p.cancel()
	var polled strings.Builder
	for line := range strings.Lines(post) {
		if slices.ContainsFunc(metrics.OmniPollNames, func(n string) bool { return strings.HasPrefix(line, n+"{") }) {
			polled.WriteString(line)
		}
	}
	if err := e.parse(strings.NewReader(polled.String())); err != nil {
		t.Fatal(err)
	}
	if _, err := e.ingest(e.lastAt.Add(time.Second), scrape.Response{}, false, phaseDuring); err != nil || !e.idleSinceFull {
		t.Errorf("idleSinceFull %t, error %v", e.idleSinceFull, err)
	}
}
