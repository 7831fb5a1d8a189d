package probe

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/vobs/vobs/internal/curve"
	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/probe/exposition"
)

// timedPage is a page at a number of seconds after the start of the window.
type timedPage struct {
	at   float64
	page string
}

const recordedLatency = 8 * time.Millisecond

// recordingOf returns the recording of an address with these pages; "" is a request that failed.
func recordingOf(t *testing.T, url string, from time.Time, pages ...timedPage) Recording {
	t.Helper()
	r := Recording{Target: target(t, url)}
	parser := exposition.NewParser(wantedFrom(r.Target))
	for _, p := range pages {
		recorded := RecordedPage{At: from.Add(time.Duration(p.at * float64(time.Second))), Latency: recordedLatency}
		if p.page == "" {
			recorded.Err = errors.New("the scrape failed")
			r.Pages = append(r.Pages, recorded)
			continue
		}
		var page exposition.Page
		if err := parser.ParseReader(strings.NewReader(p.page), &page); err != nil {
			t.Fatal(err)
		}
		recorded.Fill = func(into *exposition.Page) { into.Samples = append(into.Samples, page.Samples...) }
		r.Pages = append(r.Pages, recorded)
	}
	return r
}

// playPages plays the pages as live polls of whole pages would.
func playPages(t *testing.T, url string, pages []timedPage, ended float64) aggregate.Output {
	t.Helper()
	pl := newPlayer(t, target(t, url))
	pl.version = ""
	pl.p.begin(pl.began)
	for _, p := range pages {
		ph := phaseDuring
		if p.at <= 0 {
			ph = phaseBefore
		}
		e := pl.p.endpoints[0]
		began := pl.began.Add(time.Duration(p.at * float64(time.Second)))
		rendered := e.rendered(began, recordedLatency, true).Sub(pl.began).Seconds()
		pl.late(rendered, recordedLatency, 0, ph, true, p.page)
		e.schedule.FullLatency.Add(recordedLatency)
	}
	pl.p.end(pl.began.Add(time.Duration(ended * float64(time.Second))))
	return pl.p.aggregate(pl.p.selected(), nil, pl.began.Add(time.Duration(ended*float64(time.Second))))
}

// loaded are the pages of a recorded run: one before the window, some under load, and the last.
func loaded(t *testing.T, name string) (pages []timedPage) {
	t.Helper()
	c := recorded[name]
	pre := testkit.Recorded(t, c.pre)
	pages = []timedPage{{-0.5, pre}}
	for s := 1.0; s < 10; s++ {
		pages = append(pages, timedPage{s, testkit.SetValues(t, pre, c.load...)})
	}
	return append(pages, timedPage{9.9, testkit.Recorded(t, c.post)})
}

// curveSlots returns the curves of a report in slots of a second.
func curveSlots(report aggregate.Output) map[string][]curve.Slot {
	out := map[string][]curve.Slot{}
	for i := range report.Curves {
		out[report.Curves[i].Name] = report.Curves[i].Slots(time.Second, 10)
	}
	return out
}

// Recorded pages yield what live polls of the same pages yield.
func TestReplay(t *testing.T) {
	const url = "http://127.0.0.1:8000"
	for _, name := range []string{"serve_default", "serve_dp2", "serve_ngram"} {
		t.Run(name, func(t *testing.T) {
			pages := loaded(t, name)
			want := playPages(t, url, pages, 10)
			from := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
			outside := append([]timedPage{{-30, testkit.Recorded(t, recorded[name].pre)}}, append(pages, timedPage{10.5, "no page"})...)
			outside[len(outside)-1].page = pages[0].page // beyond the window: it would be a restart
			got := Replay([]Recording{recordingOf(t, url, from, outside...)}, from, from.Add(10*time.Second), "not queried")
			checkNulls(t, got)
			if got.Engine.Window.Base != "scraped" || got.Engine.Window.Resets != 0 {
				t.Errorf("window %s", testkit.JSON(got.Engine.Window))
			}
			if codes := testkit.Codes(got.Notes); strings.Contains(codes, "final_reading_lost") {
				t.Errorf("doubts %s", codes)
			}
			if why := testkit.Reason(got.Notes, "engine.endpoints.0.version"); name != "serve_default" && why != "not queried" {
				t.Errorf("version: %q", why)
			}
			for _, part := range []struct {
				name      string
				got, want any
			}{
				{"requests", got.Engine.Requests, want.Engine.Requests},
				{"tokens", got.Engine.Tokens, want.Engine.Tokens},
				{"throughput", got.Engine.Throughput, want.Engine.Throughput},
				{"latency", got.Engine.LatencySeconds, want.Engine.LatencySeconds},
				{"KV cache", got.Engine.KVCache, want.Engine.KVCache},
				{"prefix cache", got.Engine.PrefixCache, want.Engine.PrefixCache},
				{"speculation", got.Engine.Speculative, want.Engine.Speculative},
				{"window", got.Engine.Window, want.Engine.Window},
				{"scrapes", got.Engine.Scrapes, want.Engine.Scrapes},
				{"instances", got.Engine.Instances, want.Engine.Instances},
				{"HTTP", got.Engine.HTTP, want.Engine.HTTP},
				{"core", []any{got.KVCacheUsagePerc, got.PrefixCacheHitRate, got.SpecAcceptRate}, []any{want.KVCacheUsagePerc, want.PrefixCacheHitRate, want.SpecAcceptRate}},
				{"curves", curveSlots(got), curveSlots(want)},
			} {
				var options cmp.Options
				if part.name == "curves" { // means over slots, which have rounding errors
					options = append(options, cmpopts.EquateApprox(1e-9, 0))
				}
				if diff := cmp.Diff(part.want, part.got, options); diff != "" {
					t.Errorf("%s (-live +replayed):\n%s", part.name, diff)
				}
			}
		})
	}
}

// A restart inside the window is found, and what the new process counted is added.
func TestReplayRestart(t *testing.T) {
	pre, post := testkit.Recorded(t, "serve_default_pre"), testkit.Recorded(t, "serve_default_post")
	from := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	young := testkit.ReplaceLines(t, testkit.Recorded(t, "serve_default_post"), "process_start_time_seconds ", "process_start_time_seconds 2e+09\n")
	got := Replay([]Recording{recordingOf(t, "http://127.0.0.1:8000", from, timedPage{-1, pre}, timedPage{5, post}, timedPage{10, ""}, timedPage{15, young})}, from, from.Add(20*time.Second), "")
	once := Replay([]Recording{recordingOf(t, "http://127.0.0.1:8000", from, timedPage{-1, pre}, timedPage{5, post})}, from, from.Add(20*time.Second), "")
	if got.Engine.Window.Resets != 1 || !strings.Contains(testkit.Codes(got.Notes), "counter_reset") {
		t.Errorf("window %s, doubts %s", testkit.JSON(got.Engine.Window), testkit.Codes(got.Notes))
	}
	// The pages of the recordings count from zero, but for a few requests of the warm-up.
	if n, m := *got.Engine.Tokens.Generation, *once.Engine.Tokens.Generation; n <= m {
		t.Errorf("%d tokens, and %d before the restart", n, m)
	}
	if got.Engine.Scrapes.Errors != 1 || got.Engine.Scrapes.Count != 3 {
		t.Errorf("scrapes %s", testkit.JSON(got.Engine.Scrapes))
	}
}

// Counters count from the first page inside the window if there is none before, and from zero if
// the process started inside. A server that is gone long before the end is noted.
func TestReplayWithoutBaseline(t *testing.T) {
	pre, post := testkit.Recorded(t, "serve_default_pre"), testkit.Recorded(t, "serve_default_post")
	from := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	late := Replay([]Recording{recordingOf(t, "http://127.0.0.1:8000", from, timedPage{1, pre}, timedPage{5, post})}, from, from.Add(time.Minute), "")
	if codes := testkit.Codes(late.Notes); !strings.Contains(codes, "late_base") || !strings.Contains(codes, "final_reading_lost") {
		t.Errorf("doubts %s", codes)
	}
	started := testkit.ReplaceLines(t, post, "process_start_time_seconds ", "process_start_time_seconds 1.7953416005e+09\n")
	zero := Replay([]Recording{recordingOf(t, "http://127.0.0.1:8000", from, timedPage{1, started}, timedPage{5, started})}, from, from.Add(8*time.Second), "")
	if zero.Engine.Window.Base != "zero" {
		t.Errorf("window %s", testkit.JSON(zero.Engine.Window))
	}
	if none := Replay(nil, from, from.Add(time.Second), ""); none.Engine != nil {
		t.Error("an engine without a page")
	}
	if failed := Replay([]Recording{recordingOf(t, "http://127.0.0.1:8000", from, timedPage{1, ""})}, from, from.Add(time.Second), ""); failed.Engine != nil || !strings.Contains(testkit.Reason(failed.Notes, "engine"), "the scrape failed") {
		t.Errorf("%q", testkit.Reason(failed.Notes, "engine"))
	}
}

// Several addresses are several endpoints; the same process at two of them counts once.
func TestReplaySeveral(t *testing.T) {
	pre, post := testkit.Recorded(t, "serve_default_pre"), testkit.Recorded(t, "serve_default_post")
	other := func(page string) string {
		return testkit.ReplaceLines(t, page, "process_start_time_seconds ", "process_start_time_seconds 1.7e+09\n")
	}
	from := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	one := recordingOf(t, "http://10.0.0.1:8000", from, timedPage{-1, pre}, timedPage{5, post})
	two := recordingOf(t, "http://10.0.0.2:8000", from, timedPage{-0.5, other(pre)}, timedPage{5.5, other(post)})
	again := recordingOf(t, "http://10.0.0.1:8000", from, timedPage{-0.8, pre}, timedPage{5.2, post})
	count := func(recordings ...Recording) (endpoints int, tokens int64) {
		out := Replay(recordings, from, from.Add(6*time.Second), "")
		return len(out.Engine.Endpoints), *out.Engine.Tokens.Generation
	}
	_, single := count(one)
	if n, tokens := count(one, two); n != 2 || tokens != 2*single {
		t.Errorf("%d endpoints, %d tokens, want 2 and %d", n, tokens, 2*single)
	}
	if n, tokens := count(one, again); n != 1 || tokens != single {
		t.Errorf("the same server twice: %d endpoints, %d tokens", n, tokens)
	}
}
