package probe

import (
	"context"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/schema"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// target parses an address.
func target(t testing.TB, address string) scrape.Target {
	t.Helper()
	tg, err := scrape.ParseTarget(address)
	if err != nil {
		t.Fatal(err)
	}
	return tg
}

// quick polls faster than `auto`, so that tests need not wait.
var quick = Config{Interval: 5 * time.Millisecond}

// slack is what a bound on time is exceeded by on a busy machine.
const slack = 10 * time.Second

// within checks that a step does not delay the command for longer than limit, with slack.
func within(t *testing.T, step string, limit time.Duration, f func()) {
	t.Helper()
	began := time.Now()
	f()
	if d := time.Since(began); d > limit+slack {
		t.Errorf("%s took %v, want at most %v", step, d, limit)
	}
}

func (p *Prober) beforeShutdownWithin(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 250*time.Millisecond)
	defer cancel()
	within(t, "BeforeShutdown", 250*time.Millisecond, func() { p.BeforeShutdown(ctx) })
}

func (p *Prober) finishWithin(t *testing.T) (report aggregate.Output) {
	t.Helper()
	within(t, "Finish", aggregate.SettleTimeout, func() { report = p.Finish(context.Background(), time.Now()) })
	checkNulls(t, report)
	return report
}

// checkRecordedRun checks the figures of the recorded run serve_default.
func checkRecordedRun(t *testing.T, report aggregate.Output) {
	t.Helper()
	g := report.Engine
	if g == nil {
		t.Fatalf("no engine: %+v", report.Notes)
	}
	if g.Tokens.Prompt == nil || *g.Tokens.Prompt != 14518 || *g.Tokens.Generation != 5737 || g.Requests.Finished["length"] != 60 {
		t.Errorf("tokens %s, requests %s", testkit.JSON(g.Tokens), testkit.JSON(g.Requests))
	}
	if ttft := g.LatencySeconds.TimeToFirstToken; ttft == nil || ttft.Count != 60 || !testkit.Near(&ttft.Sum, 2.8157277107238770) {
		t.Errorf("TTFT %s", testkit.JSON(ttft))
	}
	if h := g.PrefixCache.Local; h == nil || h.Queries != 14518 || h.Hits != 7168 {
		t.Errorf("prefix cache %s", testkit.JSON(h))
	}
}

// endsBeforeExit reports whether the window ends with the reading before a shutdown
// signal, or with a poll between that reading and the engine's end.
func endsBeforeExit(w *schema.Window) bool {
	return w.Final == "before_signal" || w.Final == "last_good"
}

// checkNulls checks that every null of a report has a reason.
func checkNulls(t *testing.T, report aggregate.Output) {
	t.Helper()
	testkit.AssertNullsExplained(t, &schema.GenerationObservability{
		Core: schema.Core{
			KVCacheUsagePerc: report.KVCacheUsagePerc, PrefixCacheHitRate: report.PrefixCacheHitRate,
			SpecAcceptRate: report.SpecAcceptRate, EngineRuntimeConfig: report.EngineRuntimeConfig,
		},
		Engine:      report.Engine,
		Omni:        report.Omni,
		Validity:    report.Notes.Validity,
		Unavailable: report.Notes.Unavailable,
	}, "engine", "omni", "kv_cache_usage_perc", "prefix_cache_hit_rate", "spec_accept_rate")
}
