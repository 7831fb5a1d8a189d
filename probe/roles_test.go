package probe

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/vllm/args"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/probe/exposition"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/schema"
)

// rolePage returns the page of a server after n requests of 1000 prompt tokens each. A server
// that prefills generates one token for each in 0.2 s, one that decodes 100 in 2 s, and it has
// received the prompts' KV, except for the last token; one that does both receives none.
func rolePage(does string, n, running int) string {
	generated, seconds, computed := 100*n, 2.0, 1000*n
	switch does {
	case "prefill":
		generated, seconds = n, 0.2
	case "decode":
		computed = n
	}
	const labels = `engine="0",model_name="m"`
	var b strings.Builder
	counter := func(name, more string, value int) {
		fmt.Fprintf(&b, "# TYPE vllm:%s counter\nvllm:%s{%s%s} %d\n", name, name, labels, more, value)
	}
	counter("prompt_tokens_total", "", 1000*n)
	counter("generation_tokens_total", "", generated)
	counter("request_success_total", `,finished_reason="stop"`, n)
	counter("prompt_tokens_by_source_total", `,source="local_compute"`, computed)
	counter("prompt_tokens_by_source_total", `,source="external_kv_transfer"`, 1000*n-computed)
	fmt.Fprintf(&b, "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{%s} %d\n", labels, running)
	fmt.Fprintf(&b, "# TYPE vllm:kv_cache_usage_perc gauge\nvllm:kv_cache_usage_perc{%s} %g\n", labels, float64(running)/10)
	fmt.Fprintf(&b, "# TYPE vllm:e2e_request_latency_seconds histogram\nvllm:e2e_request_latency_seconds_bucket{%s,le=\"+Inf\"} %d\nvllm:e2e_request_latency_seconds_sum{%s} %g\nvllm:e2e_request_latency_seconds_count{%s} %d\n", labels, n, labels, seconds*float64(n), labels, n)
	return b.String()
}

// rolePages are those of a run with ten requests.
func rolePages(does string, running int) runPages {
	return runPages{rolePage(does, 0, 0), rolePage(does, 4, running), rolePage(does, 10, 0)}
}

// serverWithRole returns the command line of a server; kvRole may be "".
func serverWithRole(kvRole string) CommandLine {
	line := []string{"vllm", "serve", "m"}
	if kvRole != "" {
		line = append(line, "--kv-transfer-config", `{"kv_connector":"NixlConnector","kv_role":"`+kvRole+`"}`)
	}
	return ReadCommandLine(args.Parse(line, ""))
}

func roleFigures(report aggregate.Output) string {
	var b strings.Builder
	for _, r := range report.Engine.Roles {
		fmt.Fprintf(&b, "%s %d: %d %d %d; ", r.Role, r.Endpoint, *r.RequestsFinished, *r.PromptTokens, *r.GenerationTokens)
	}
	return b.String()
}

// A request that passes a server that prefills and one that decodes is one request.
func TestRoles(t *testing.T) {
	const split = "prefill 0: 10 10000 10; decode 1: 10 10000 1000; "
	for name, c := range map[string]struct {
		does  [2]string
		flags [2]string // kv_role in the command lines
		infos [2]string // kv_role in /server_info
		want  string
	}{
		"command lines":        {[2]string{"prefill", "decode"}, [2]string{"kv_producer", "kv_consumer"}, [2]string{}, split},
		"server_info":          {[2]string{"prefill", "decode"}, [2]string{}, [2]string{"kv_producer", "kv_consumer"}, split},
		"one of each":          {[2]string{"prefill", "decode"}, [2]string{"kv_producer", ""}, [2]string{"", "kv_consumer"}, split},
		"server_info prevails": {[2]string{"prefill", "decode"}, [2]string{"kv_consumer", "kv_consumer"}, [2]string{"kv_producer", ""}, split},
		"counters":             {[2]string{"prefill", "decode"}, [2]string{}, [2]string{}, split},
		"NIXL without roles":   {[2]string{"prefill", "decode"}, [2]string{"kv_both", "kv_both"}, [2]string{}, split},
	} {
		t.Run(name, func(t *testing.T) {
			targets := []scrape.Target{target(t, "http://127.0.0.1:8001"), target(t, "http://127.0.0.1:8002")}
			pl := newPlayer(t, targets...)
			pl.run(rolePages(c.does[0], 1), rolePages(c.does[1], 3))
			for i, tg := range targets {
				pl.p.SetServerFlags(tg, serverWithRole(c.flags[i]))
				if c.infos[i] != "" {
					body := `{"vllm_config":{"kv_transfer_config":{"kv_connector":"NixlConnector","kv_role":"` + c.infos[i] + `"},"scheduler_config":{"max_num_seqs":128}}}`
					pl.p.endpoints[i].recordAnswer(queryServerInfo, []byte(body), scrape.Response{Reached: true})
				}
			}
			report := pl.report(10)
			g := report.Engine
			if got := roleFigures(report); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if diff := cmp.Diff(map[string]int64{"stop": 10}, g.Requests.Finished); diff != "" {
				t.Error(diff)
			}
			if g.Requests.Running == nil || g.Requests.Running.Peak == nil {
				t.Fatalf("%s: %s", testkit.JSON(g.Requests), testkit.JSON(report.Notes))
			}
			if *g.Tokens.Prompt != 10000 || *g.Tokens.Generation != 1000 || *g.LatencySeconds.E2ERequestLatency.Mean != 2 || g.LatencySeconds.E2ERequestLatency.Count != 10 || *g.Requests.Running.Peak != 3 {
				t.Errorf("%s", testkit.JSON(g))
			}
			if len(g.Endpoints) != 2 || len(g.Instances) != 2 || *g.Instances[0].GenerationTokens != 10 || testkit.Codes(report.Notes) != "few_requests" {
				t.Errorf("%s, notes %q", testkit.JSON(g.Instances), testkit.Codes(report.Notes))
			}
		})
	}
}

// Servers that do whole requests add up, even if they exchange KV. If it is unknown whether they
// do, nothing is added up.
func TestRolesOfEqualServers(t *testing.T) {
	for name, c := range map[string]struct {
		does    [2]string
		flags   [2]string
		roles   string
		unknown bool
	}{
		"no connector":             {[2]string{"both", "both"}, [2]string{}, "", false},
		"kv_both":                  {[2]string{"both", "decode"}, [2]string{"kv_both", "kv_both"}, "both 0: 10 10000 1000; both 1: 10 10000 1000; ", false},
		"both fetch from a cache":  {[2]string{"decode", "decode"}, [2]string{}, "", false},
		"two that decode":          {[2]string{"decode", "decode"}, [2]string{"kv_consumer", "kv_consumer"}, "decode 0: 10 10000 1000; decode 1: 10 10000 1000; ", false},
		"one received KV":          {[2]string{"both", "decode"}, [2]string{}, "", true},
		"the producer of one only": {[2]string{"both", "both"}, [2]string{"kv_producer", ""}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			targets := []scrape.Target{target(t, "http://127.0.0.1:8001"), target(t, "http://127.0.0.1:8002")}
			pl := newPlayer(t, targets...)
			pl.run(rolePages(c.does[0], 1), rolePages(c.does[1], 3))
			for i, tg := range targets {
				pl.p.SetServerFlags(tg, serverWithRole(c.flags[i]))
			}
			report := pl.report(10)
			g, noted := report.Engine, strings.Contains(testkit.Codes(report.Notes), string(schema.CodeRolesUnknown))
			if noted != c.unknown || (g.Roles == nil) != c.unknown || roleFigures(report) != c.roles {
				t.Errorf("%s, notes %q", roleFigures(report), testkit.Codes(report.Notes))
			}
			if c.unknown {
				if g.Tokens.Generation != nil || g.Requests.Finished != nil || g.LatencySeconds.E2ERequestLatency != nil || g.Throughput.RequestsPerSecond != nil || g.Requests.Running != nil || !strings.Contains(testkit.Reason(report.Notes, "engine.tokens.generation"), "a request may be counted by several servers") {
					t.Errorf("%s", testkit.JSON(g))
				}
				if *g.Instances[0].GenerationTokens != 1000 || *g.Instances[1].RequestsRunningPeak != 3 {
					t.Errorf("%s", testkit.JSON(g.Instances))
				}
				return
			}
			if *g.Tokens.Generation != 2000 || g.LatencySeconds.E2ERequestLatency.Count != 20 || *g.Requests.Running.Peak != 4 {
				t.Errorf("%s", testkit.JSON(g))
			}
		})
	}
}

// Two servers prefill for two others: figures of those that decode add up among each other. The
// peak of their running requests is unknown, because they are not polled together.
func TestRolesOfFourServers(t *testing.T) {
	var targets []scrape.Target
	for port := range 4 {
		targets = append(targets, target(t, fmt.Sprintf("http://127.0.0.1:%d", 8001+port)))
	}
	pl := newPlayer(t, targets...)
	pl.run(rolePages("prefill", 1), rolePages("prefill", 1), rolePages("decode", 3), rolePages("decode", 4))
	report := pl.report(10)
	g := report.Engine
	if got, want := roleFigures(report), "prefill 0: 10 10000 10; prefill 1: 10 10000 10; decode 2: 10 10000 1000; decode 3: 10 10000 1000; "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if *g.Tokens.Generation != 2000 || *g.LatencySeconds.E2ERequestLatency.Mean != 2 || g.Requests.Running.Peak != nil || !testkit.Near(g.Requests.Running.Mean, 7*10/10.3) || *g.KVCache.Usage.Peak != 0.4 || !testkit.Near(g.KVCache.Usage.Mean, 0.35*10/10.3) || *g.Requests.Running.Last != 0 || !strings.Contains(testkit.Reason(report.Notes, "engine.requests.running.peak"), "the peak of their sum is unknown") {
		t.Errorf("%s", testkit.JSON(g))
	}
}

// The KV that an engine gets back from its own offload tier does not make it one that decodes
// what another one prefilled.
func TestRolesOfOffloadingServers(t *testing.T) {
	fromTier := "# TYPE vllm:prompt_tokens_cached_by_source_total counter\nvllm:prompt_tokens_cached_by_source_total{engine=\"0\",model_name=\"m\",source=\"host\"} %d\nvllm:prompt_tokens_cached_by_source_total{engine=\"0\",model_name=\"m\",source=\"p2p\"} 0\n"
	loaded := "# TYPE vllm:kv_offload_load_bytes_total counter\nvllm:kv_offload_load_bytes_total{engine=\"0\",model_name=\"m\"} %d\n"
	for _, format := range []string{fromTier, loaded} {
		pl := newPlayer(t, target(t, "http://127.0.0.1:8001"), target(t, "http://127.0.0.1:8002"))
		pages := rolePages("decode", 1)
		pages.pre, pages.load, pages.post = pages.pre+fmt.Sprintf(format, 0), pages.load+fmt.Sprintf(format, 4000), pages.post+fmt.Sprintf(format, 9990)
		pl.run(rolePages("both", 1), pages)
		report := pl.report(10)
		if g := report.Engine; len(g.Roles) != 0 || g.Tokens.Generation == nil || *g.Tokens.Generation != 2000 || testkit.Codes(report.Notes) != "few_requests" {
			t.Errorf("%s, notes %q", testkit.JSON(g.Tokens), testkit.Codes(report.Notes))
		}
	}
}

// Servers that prefill and servers that decode may write to one directory of files, where their
// engines cannot be told apart.
func TestRolesInOneDirectory(t *testing.T) {
	for name, c := range map[string]struct {
		roles   [2]string
		unknown bool
	}{"both roles": {[2]string{"kv_producer", "kv_consumer"}, true}, "one role": {[2]string{"kv_consumer", "kv_consumer"}, false}} {
		t.Run(name, func(t *testing.T) {
			servers := []scrape.Target{target(t, "http://127.0.0.1:8001"), target(t, "http://127.0.0.1:8002")}
			for i := range servers {
				servers[i].Origin = scrape.FromTree
			}
			pl := newPlayer(t, append([]scrape.Target{Directory(t.TempDir(), true)}, servers...)...)
			files := func(seconds int, ph phase, page string) {
				e := pl.p.endpoints[0]
				if err := exposition.NewParser(metrics.IsWanted).Parse([]byte(page), &e.page); err != nil {
					t.Fatal(err)
				}
				if _, err := e.ingest(pl.began.Add(time.Duration(seconds)*time.Second), scrape.Response{Complete: true}, true, ph); err != nil {
					t.Fatal(err)
				}
			}
			pl.at(0.5, 1, phaseDuring, true, rolePage("decode", 2, 3))
			pl.at(0.5, 2, phaseDuring, true, rolePage("decode", 2, 3))
			files(1, phaseDuring, rolePage("decode", 4, 3))
			files(11, phaseAfter, rolePage("decode", 10, 0))
			for i, tg := range servers {
				pl.p.SetServerFlags(tg, serverWithRole(c.roles[i]))
			}
			report := pl.report(10)
			g, noted := report.Engine, strings.Contains(testkit.Codes(report.Notes), string(schema.CodeRolesUnknown))
			if noted != c.unknown || (g.Tokens.Generation == nil) != c.unknown || (g.Instances[0].GenerationTokens == nil) != c.unknown || (g.Roles == nil) != c.unknown {
				t.Errorf("%s, notes %q", testkit.JSON(g), testkit.Codes(report.Notes))
			}
		})
	}
}
