package probe

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/probe/exposition"
	"github.com/vobs/vobs/schema"
)

// The expected values are those of Prometheus's histogram_quantile.
func TestQuantile(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		name    string
		buckets []bucket
		q       float64
		want    *schema.Float
		above   *schema.Float
	}{
		{"in the first bucket, from 0", []bucket{{10, 4}, {inf, 4}}, 0.5, schema.F(5), nil},
		{"linear within", []bucket{{1, 2}, {2, 6}, {inf, 6}}, 0.5, schema.F(1.25), nil},
		{"at a bound", []bucket{{1, 5}, {2, 10}, {inf, 10}}, 0.5, schema.F(1), nil},
		{"beyond the last bound", []bucket{{1, 5}, {2, 8}, {inf, 10}}, 0.99, nil, schema.F(2)},
		{"empty buckets between", []bucket{{1, 5}, {2, 5}, {4, 10}, {inf, 10}}, 0.9, schema.F(3.6), nil},
		{"first bound not positive", []bucket{{-1, 5}, {0, 10}, {inf, 10}}, 0.2, schema.F(-1), nil},
		{"nothing observed", []bucket{{1, 0}, {inf, 0}}, 0.5, nil, nil},
		{"no +Inf", []bucket{{1, 5}, {2, 5}}, 0.5, nil, nil},
	} {
		got, above := histogram{buckets: c.buckets}.quantile(c.q)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: (-want +got) %s", c.name, diff)
		}
		if diff := cmp.Diff(c.above, above); diff != "" {
			t.Errorf("%s: above (-want +got) %s", c.name, diff)
		}
	}
}

func TestMergeKeepsCommonBounds(t *testing.T) {
	inf := math.Inf(1)
	a := &group{count: 10, sum: 20, buckets: []*bucket{{1, 4}, {2, 6}, {5, 9}, {inf, 10}}}
	b := &group{count: 4, sum: 8, buckets: []*bucket{{1, 1}, {3, 3}, {5, 4}, {inf, 4}}}
	h := merge([]*group{a, b})
	if diff := cmp.Diff([]bucket{{1, 5}, {5, 13}, {inf, 14}}, h.buckets, cmp.AllowUnexported(bucket{})); diff != "" || h.count != 14 || h.sum != 28 {
		t.Errorf("merged: %+v %s", h, diff)
	}
}

// applied pages of a made-up engine.
func applyAll(t *testing.T, pages ...string) *ledger {
	t.Helper()
	l := newLedger()
	parser := exposition.NewParser(isWanted)
	for i, text := range pages {
		var page exposition.Page
		if err := parser.Parse([]byte(text), &page); err != nil {
			t.Fatal(err)
		}
		l.open(&page, true)
		l.whole = true
		l.apply(&page, true, i == 0)
	}
	return l
}

func reportOf(l *ledger) view { return viewOf(l, newGauges()) }

// viewOf is the view of one endpoint with these counters and gauges.
func viewOf(l *ledger, g *gauges) view {
	return view{reporter: newReporter(Input{Endpoints: []Endpoint{{Counters: l}}, Gauges: g, Active: &activity{}})}
}

func TestCounterRules(t *testing.T) {
	const line = "vllm:generation_tokens_total{engine=\"0\"} "
	const declaredOnly = "# TYPE vllm:generation_tokens_total counter\nvllm:num_requests_running 0\n"
	for _, c := range []struct {
		name  string
		pages []string
		want  int64
		why   string
	}{
		{"difference", []string{line + "10\n", line + "17\n"}, 7, ""},
		{"back to zero", []string{line + "10\n", line + "15\n", line + "3\n"}, 8, ""},
		{"appears, declared", []string{declaredOnly, line + "4\n"}, 4, ""},
		{"declared and never sampled", []string{declaredOnly, declaredOnly}, 0, ""},
		{"vanishes", []string{line + "10\n", "vllm:num_requests_running 0\n# TYPE vllm:generation_tokens_total counter\n"}, 0, "vanished"},
		{"never there", []string{"vllm:num_requests_running 0\n"}, 0, "does not export vllm:generation_tokens_total"},
		{"NaN at the end", []string{line + "10\n", line + "NaN\n"}, 0, "no counter can have"},
		{"NaN between", []string{line + "10\n", line + "NaN\n", line + "12\n"}, 2, ""},
		{"NaN at the start", []string{line + "NaN\n", line + "10\n", line + "12\n"}, 0, "no usable value on the page to count from"},
		{"infinite", []string{line + "10\n", line + "+Inf\n"}, 0, "no counter can have"},
		{"beyond a float's digits", []string{line + "10\n", line + "1e300\n"}, 0, "too large"},
		{"negative", []string{line + "10\n", line + "-4\n"}, 0, "no counter can have"},
		{"twice on the last page", []string{line + "10\n", line + "12\n" + line + "2\n"}, 0, "two values at once"},
		{"twice between", []string{line + "10\n", line + "12\n" + line + "2\n", line + "13\n"}, 3, ""},
		{"twice at the start", []string{line + "10\n" + line + "2\n", line + "12\n"}, 0, "no usable value on the page to count from"},
		{"twice with one value", []string{line + "10\n" + line + "10\n", line + "12\n" + line + "12\n"}, 2, ""},
		{"not on the first page", []string{"vllm:num_requests_running 0\n", line + "1000\n"}, 0, "only on a later one"},
		{"vanishes and comes back", []string{line + "10\n", declaredOnly, line + "12\n"}, 2, ""},
		{"two engines", []string{line + "10\nvllm:generation_tokens_total{engine=\"1\"} 1\n", line + "11\nvllm:generation_tokens_total{engine=\"1\"} 5\n"}, 5, ""},
		{"labels in another order", []string{"vllm:generation_tokens_total{a=\"1\",b=\"2\"} 1\n", "vllm:generation_tokens_total{b=\"2\",a=\"1\"} 5\n"}, 4, ""},
	} {
		got, why := reportOf(applyAll(t, c.pages...)).counter(generationTokens)
		if got != c.want || (c.why == "") != (why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%s: %d %q, want %d %q", c.name, got, why, c.want, c.why)
		}
	}
}

// vLLM 0.9.2 to 0.10 exports old and new names of one figure side by side.
func TestOldNames(t *testing.T) {
	both := func(oldHits, newHits string) string {
		return "vllm:gpu_prefix_cache_hits_total " + oldHits + "\nvllm:prefix_cache_hits_total " + newHits + "\nvllm:gpu_cache_usage_perc 0.5\n"
	}
	if n, why := reportOf(applyAll(t, both("5", "5"), both("9", "9"))).counter(prefixHits); n != 4 || why != "" {
		t.Errorf("both names: %d %q, want 4", n, why)
	}
	if n, why := reportOf(applyAll(t, "vllm:gpu_prefix_cache_hits_total 5\n", "vllm:gpu_prefix_cache_hits_total 7\n")).counter(prefixHits); n != 2 || why != "" {
		t.Errorf("the old name alone: %d %q, want 2", n, why)
	}
}

func TestHistogramResetOnce(t *testing.T) {
	page := func(low, inf, sum string) string {
		return "# TYPE vllm:e2e_request_latency_seconds histogram\nvllm:e2e_request_latency_seconds_bucket{le=\"1.0\"} " + low +
			"\nvllm:e2e_request_latency_seconds_bucket{le=\"+Inf\"} " + inf + "\nvllm:e2e_request_latency_seconds_count " + inf + "\nvllm:e2e_request_latency_seconds_sum " + sum + "\n"
	}
	// After the restart the lower bucket stands as high as before: only the others went back.
	l := applyAll(t, page("1", "10", "50"), page("2", "12", "61"), page("2", "3", "6"))
	groups, _ := reportOf(l).groups(e2eLatency)
	h := merge(groups)
	if want := []bucket{{1, 3}, {math.Inf(1), 5}}; !cmp.Equal(want, h.buckets, cmp.AllowUnexported(bucket{})) || h.count != 5 || h.sum != 17 || l.resets != 1 {
		t.Errorf("after a reset: %+v, resets %d", h, l.resets)
	}
}

func TestTrack(t *testing.T) {
	var tr track
	at := func(s float64) time.Time { return time.Unix(0, int64(s*1e9)) }
	tr.add(at(0), 9, 9, false) // before the run: neither peak nor mean
	tr.add(at(1), 2, 2, true)
	tr.add(at(2), 4, 4, true)
	tr.add(at(4), 0, 0, true)
	tr.add(at(5), 1, 1, false)
	if g := tr.gauge(); *g.Peak != 4 || *g.Last != 1 || !near(g.Mean, (3+4)/3.0) {
		t.Errorf("%s", asJSON(g))
	}
}

func TestActivity(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	var a activity
	for _, x := range [][3]int{{0, 2, 0}, {2, 3, 0}, {1, 5, 0}, {10, 12, 1}, {20, 21, 10}, {11, 22, 11}} {
		a.add(at(x[0]), at(x[1]), at(x[2]))
	}
	if got := a.seconds(); got != 5+12 || a.intervals != 6 || len(a.open) != 1 {
		t.Errorf("the union is %v s in %d intervals, want 17 in 6; %v", got, a.intervals, a.open)
	}
	// An endpoint that is gone for good holds the horizon back: a bound holds.
	for i := range 10000 {
		a.add(at(100+2*i), at(101+2*i), at(0))
	}
	if got := a.seconds(); got != 17+10000 || len(a.open) > maxOpenSpans+1 {
		t.Errorf("%v s, %d intervals kept", got, len(a.open))
	}
}

func TestParseTarget(t *testing.T) {
	for _, c := range []struct{ in, url, name, socket string }{
		{"http://127.0.0.1:8000", "http://127.0.0.1:8000/metrics", "http://127.0.0.1:8000/metrics", ""},
		{"127.0.0.1:8000", "http://127.0.0.1:8000/metrics", "http://127.0.0.1:8000/metrics", ""},
		{"localhost:8000/metrics/", "http://localhost:8000/metrics/", "http://localhost:8000/metrics/", ""},
		{"http://0.0.0.0:8000", "http://127.0.0.1:8000/metrics", "http://127.0.0.1:8000/metrics", ""},
		{"https://[::]:8443/m", "https://[::1]:8443/m", "https://[::1]:8443/m", ""},
		{"http://u:secret@h/metrics?token=abc", "http://u:secret@h/metrics?token=abc", "http://h/metrics?token=<redacted>", ""},
		{"unix:///run/vllm.sock", "http://localhost/metrics", "unix:///run/vllm.sock", "/run/vllm.sock"},
		{"unix://vllm.sock", "http://localhost/metrics", "unix://vllm.sock", "vllm.sock"},
	} {
		got, err := ParseTarget(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if got.URL.String() != c.url || got.Name() != c.name || got.Socket != c.socket {
			t.Errorf("%s: %s %s %q, want %s %s %q", c.in, got.URL, got.Name(), got.Socket, c.url, c.name, c.socket)
		}
	}
	for _, bad := range []string{"", "ftp://h/", "http://", "unix://", "http://h:port/", "http://u:se%zz@h"} {
		if got, err := ParseTarget(bad); err == nil {
			t.Errorf("%q was taken as %s", bad, got.URL)
		} else if strings.Contains(err.Error(), "se%zz") {
			t.Errorf("%q: the error repeats a secret: %v", bad, err)
		}
	}
}

// A server's file of options counts for less than its command line.
func TestReadCommandLineWithFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "serve.yaml"), []byte("model: m\nhost: 0.0.0.0\nport: 8101\nmax-num-seqs: 12\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	elsewhere := t.TempDir()
	for _, c := range []struct {
		line, dir, want string
		seqs            int
	}{
		{"vllm serve --config serve.yaml", "", "http://127.0.0.1:8101/metrics", 12},
		{"vllm serve m --config " + dir + "/serve.yaml --max-num-seqs 8", elsewhere, "http://127.0.0.1:8101/metrics", 8},
		{"vllm serve m --port 9 --config serve.yaml", dir, "http://127.0.0.1:9/metrics", 12},
		{"python -m vllm.entrypoints.openai.api_server --config serve.yaml", dir, "http://127.0.0.1:8101/metrics", 12},
		{"vllm serve m --config serve.yaml", elsewhere, "http://127.0.0.1:8000/metrics", 0},
		{"vllm serve m --config", dir, "http://127.0.0.1:8000/metrics", 0},
	} {
		got := ReadCommandLine(strings.Fields(c.line), c.dir)
		if !got.Server || len(got.Targets) != 1 || got.Targets[0].Name() != c.want || got.MaxNumSeqs != c.seqs {
			t.Errorf("%s in %q: %+v, want %s and %d", c.line, c.dir, got, c.want, c.seqs)
		}
	}
}

func TestReadCommandLine(t *testing.T) {
	for _, c := range []struct {
		line   string
		server bool
		want   string
	}{
		{"vllm serve m", true, "http://127.0.0.1:8000/metrics"},
		{"/venv/bin/vllm serve m --port 8101 --host 0.0.0.0", true, "http://127.0.0.1:8101/metrics"},
		{"env A=1 nice -n 5 vllm serve m --port=1 --port=2", true, "http://127.0.0.1:2/metrics"},
		{"uv run vllm serve m --ssl-keyfile k --ssl_certfile c", true, "https://127.0.0.1:8000/metrics"},
		{"vllm serve m --uds /tmp/v.sock", true, "unix:///tmp/v.sock"},
		{"vllm serve m --headless", true, ""},
		{"python -m vllm.entrypoints.openai.api_server --port 9", true, "http://127.0.0.1:9/metrics"},
		{"python bench.py --url http://127.0.0.1:8000/v1/completions", false, "http://127.0.0.1:8000/metrics"},
		{"guidellm benchmark --target https://llm.example:443", false, "https://llm.example:443/metrics"},
		{"tool --base_url=http://h:1/v1 --base-url http://h:1", false, "http://h:1/metrics"},
		{"curl http://localhost:8000/v1/models", false, "http://localhost:8000/metrics"},
		{"curl https://example.com/data.json", false, ""},
		{"python train.py --dataset-url https://example.com/d", false, ""},
		{"vllm bench serve --model m", false, "http://127.0.0.1:8000/metrics"},
		{"vllm bench serve --model m --host h --port 81", false, "http://h:81/metrics"},
		{"vllm bench serve --base-url http://h:82", false, "http://h:82/metrics"},
		{"vllm bench throughput --model m", false, ""},
		{"bash -c vllm serve m", false, ""},
		{"sleep 5", false, ""},
	} {
		got := ReadCommandLine(strings.Fields(c.line), "")
		var names []string
		for _, tg := range got.Targets {
			names = append(names, tg.Name())
			if tg.Origin != FromCommandLine {
				t.Errorf("%s: origin %v", c.line, tg.Origin)
			}
		}
		if got.Server != c.server || strings.Join(names, " ") != c.want {
			t.Errorf("%s: server %v %v, want %v %s", c.line, got.Server, names, c.server, c.want)
		}
	}
	if !SilencesMetrics([]string{"--disable-access-log-for-endpoints", "/metrics,/health"}) || SilencesMetrics([]string{"--disable-access-log-for-endpoints=/health"}) {
		t.Error("silenced paths are not read")
	}
}
