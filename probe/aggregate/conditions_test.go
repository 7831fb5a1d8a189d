package aggregate

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/probe/window"
)

// cachePage returns a page of one engine that has counted prompt tokens and hits.
func cachePage(engine string, prompt, hits int, more ...string) string {
	return fmt.Sprintf(`# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{engine="%[1]s"} %[2]d
# TYPE vllm:prompt_tokens_by_source_total counter
vllm:prompt_tokens_by_source_total{engine="%[1]s",source="local_compute"} %[4]d
vllm:prompt_tokens_by_source_total{engine="%[1]s",source="local_cache_hit"} %[3]d
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{engine="%[1]s"} %[2]d
# TYPE http_requests_total counter
`, engine, prompt, hits, prompt-hits) + strings.Join(more, "\n") + "\n"
}

// responses is a line of http_requests_total.
func responses(path, status string, n int) string {
	return fmt.Sprintf(`http_requests_total{handler="%s",method="POST",status="%s"} %d`, path, status, n)
}

// conditionsOf returns the conditions of endpoints with these bases and pages.
func conditionsOf(t *testing.T, bases []Base, pages ...[]string) Conditions {
	t.Helper()
	var in Input
	for i, base := range bases {
		in.Endpoints = append(in.Endpoints, Endpoint{
			Name: fmt.Sprintf("engine %d", i), Base: base, Counters: countersAfter(t, base == BaseZero, fullPages(pages[i]...)...),
		})
	}
	in.Gauges, in.Active = window.NewGauges(), &window.ActiveTime{}
	v := newView(newAggregator(in))
	v.stage = v.chooseStage()
	return v.conditions(nil)
}

func TestWarmCache(t *testing.T) {
	// Two engines behind one address: only the first has served.
	two := func(a, aHits, b, bHits int) string {
		first, second := cachePage("0", a, aHits), cachePage("1", b, bHits)
		keep := func(line string) bool { return !strings.HasPrefix(line, "#") }
		lines := slices.DeleteFunc(strings.Split(second, "\n"), func(line string) bool { return !keep(line) })
		return first + strings.Join(lines, "\n")
	}
	old := func(prompt, queries, hits int, prefix string) string {
		return fmt.Sprintf("vllm:prompt_tokens_total %d\nvllm:%[2]sprefix_cache_queries_total %[3]d\nvllm:%[2]sprefix_cache_hits_total %[4]d\n", prompt, prefix, queries, hits)
	}
	reset := func(n int) string { return responses("/reset_prefix_cache", "2xx", n) }
	for _, c := range []struct {
		name  string
		bases []Base
		pages [][]string
		want  *WarmCache
	}{
		{"it had served", []Base{BaseScraped}, [][]string{{cachePage("0", 500, 100), cachePage("0", 1500, 700)}}, &WarmCache{Hits: 600, Prompt: 1000}},
		{"it had served nothing", []Base{BaseScraped}, [][]string{{cachePage("0", 0, 0), cachePage("0", 1000, 600)}}, nil},
		{"it came up", []Base{BaseZero}, [][]string{{cachePage("0", 10, 0), cachePage("0", 1000, 600)}}, nil},
		{"it was found late", []Base{BaseLate}, [][]string{{cachePage("0", 500, 100), cachePage("0", 1500, 700)}}, nil},
		{"it restarted", []Base{BaseScraped}, [][]string{{cachePage("0", 500, 100), cachePage("0", 400, 90)}}, nil},
		{"one of two had served", []Base{BaseScraped}, [][]string{{two(500, 100, 0, 0), two(600, 101, 900, 800)}}, &WarmCache{Hits: 1, Prompt: 1000}},
		{"one of two servers had served", []Base{BaseScraped, BaseZero}, [][]string{{cachePage("0", 500, 100), cachePage("0", 600, 101)}, {cachePage("0", 0, 0), cachePage("0", 900, 800)}}, &WarmCache{Hits: 1, Prompt: 1000}},
		{"its cache was reset", []Base{BaseScraped}, [][]string{{cachePage("0", 500, 100), cachePage("0", 1500, 700, reset(1))}}, nil},
		{"its cache had been reset", []Base{BaseScraped}, [][]string{{cachePage("0", 500, 100, reset(1)), cachePage("0", 1500, 700, reset(1))}}, nil},
		{"resetting its cache failed", []Base{BaseScraped}, [][]string{{cachePage("0", 500, 100), cachePage("0", 1500, 700, responses("/reset_prefix_cache", "4xx", 1))}}, &WarmCache{Hits: 600, Prompt: 1000}},
		{"without sources", []Base{BaseScraped}, [][]string{{old(500, 500, 100, ""), old(1500, 1500, 700, "")}}, &WarmCache{Hits: 600, Prompt: 1000}},
		{"in blocks", []Base{BaseScraped}, [][]string{{old(500, 31, 6, "gpu_"), old(1500, 93, 43, "gpu_")}}, nil},
		{"without a prefix cache", []Base{BaseScraped}, [][]string{{"vllm:prompt_tokens_total 5\n", "vllm:prompt_tokens_total 50\n"}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := conditionsOf(t, c.bases, c.pages...)
			if diff := cmp.Diff(c.want, got.WarmCache); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCameUp(t *testing.T) {
	for _, c := range []struct {
		name  string
		base  Base
		pages []string
		want  bool
	}{
		{"came up and served", BaseZero, []string{cachePage("0", 0, 0), cachePage("0", 9, 0)}, true},
		{"came up and served nothing", BaseZero, []string{cachePage("0", 0, 0), cachePage("0", 0, 0)}, false},
		{"was up", BaseScraped, []string{cachePage("0", 5, 0), cachePage("0", 9, 0)}, false},
		{"restarted and served", BaseScraped, []string{cachePage("0", 500, 0), cachePage("0", 9, 0)}, true},
		{"restarted and served nothing", BaseScraped, []string{cachePage("0", 500, 0), cachePage("0", 0, 0)}, false},
	} {
		if got := conditionsOf(t, []Base{c.base}, c.pages).CameUp; (len(got) == 1) != c.want {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

func TestProfiled(t *testing.T) {
	start, stop := func(n int) string { return responses("/start_profile", "2xx", n) }, func(n int) string { return responses("/stop_profile", "2xx", n) }
	for _, c := range []struct {
		name       string
		base       Base
		pre, after []string
		want       bool
	}{
		{"started", BaseScraped, nil, []string{start(1), stop(1)}, true},
		{"started on a new server", BaseZero, nil, []string{start(1)}, true},
		{"started before", BaseScraped, []string{start(2), stop(1)}, []string{start(2), stop(2)}, true},
		{"started and stopped before", BaseScraped, []string{start(2), stop(2)}, []string{start(2), stop(2)}, false},
		{"refused", BaseScraped, nil, []string{responses("/start_profile", "4xx", 1)}, false},
		{"never", BaseScraped, nil, nil, false},
	} {
		if got := conditionsOf(t, []Base{c.base}, []string{cachePage("0", 5, 0, c.pre...), cachePage("0", 9, 0, c.after...)}).Profiled; (len(got) == 1) != c.want {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

// A server without samples is noted if no engine has any.
func TestWithoutStats(t *testing.T) {
	silent := []Endpoint{{Name: "silent", Counters: window.NewCounters()}}
	empty := Input{Silent: silent, Gauges: window.NewGauges(), Active: &window.ActiveTime{}}
	if got := Aggregate(empty).Conditions.WithoutStats; !slices.Equal(got, []string{"silent"}) {
		t.Errorf("%q", got)
	}
	empty.Endpoints = []Endpoint{{Name: "engine", Base: BaseScraped, Counters: countersAfter(t, false, fullPages(cachePage("0", 5, 0), cachePage("0", 9, 0))...)}}
	if got := Aggregate(empty).Conditions.WithoutStats; got != nil {
		t.Errorf("beside an engine: %q", got)
	}
}

func TestCopied(t *testing.T) {
	for text, want := range map[string]bool{
		`vllm:prompt_tokens_total{engine="0"} 5`:            false,
		`vllm:prompt_tokens_total{engine="0",server="a"} 5`: true,
		`ray_vllm_prompt_tokens_total{engine="0"} 5`:        true,
	} {
		if got := conditionsOf(t, []Base{BaseScraped}, []string{text + "\n", text + "\n"}).Copied; got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}
