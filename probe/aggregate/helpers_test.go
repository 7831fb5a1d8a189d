package aggregate

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/exposition"
	"github.com/vobs/vobs/probe/window"
	"github.com/vobs/vobs/schema"
)

// testPage is one page of an endpoint.
type testPage struct {
	text     string
	filtered bool // it is the response to a filtered scrape
	cut      bool // it ended with the connection: it may have been cut off
}

// fullPages are pages that are neither filtered nor cut off.
func fullPages(texts ...string) []testPage {
	var pages []testPage
	for _, text := range texts {
		pages = append(pages, testPage{text: text})
	}
	return pages
}

// countersAfter returns what an endpoint's counters gained over the pages. They count from
// the first page, or from zero.
func countersAfter(t *testing.T, fromZero bool, pages ...testPage) *window.Counters {
	t.Helper()
	c, _ := readPages(t, fromZero, pages...)
	return c
}

// readPages takes in pages of one endpoint, a second apart, the first before the run and
// the last after it.
func readPages(t *testing.T, fromZero bool, pages ...testPage) (*window.Counters, *window.Gauges) {
	t.Helper()
	c, g := window.NewCounters(), window.NewGauges()
	parser, tokens := exposition.NewParser(metrics.IsWanted), 0.0
	for i, p := range pages {
		var page exposition.Page
		if err := parser.Parse([]byte(p.text), &page); err != nil {
			t.Fatal(err)
		}
		c.Classify(&page, !p.filtered)
		got := c.Apply(&page, window.Reading{Full: !p.filtered, Complete: !p.cut, Baseline: i == 0 && !fromZero})
		g.Add(0, window.GaugePage{
			At: time.Unix(int64(i), 0), Gauges: got.Gauges, Full: !p.filtered, During: i > 0 && i < len(pages)-1,
			Restarted: got.Restarted, TokensRose: c.Tokens > tokens,
		})
		tokens = c.Tokens
	}
	return c, g
}

// viewOf is the view of one endpoint with these counters and gauges.
func viewOf(c *window.Counters, g *window.Gauges) view {
	return newView(newAggregator(Input{Endpoints: []Endpoint{{Counters: c}}, Gauges: g, Active: &window.ActiveTime{}}))
}

// viewAfter is the view of one endpoint after full pages, without its gauges.
func viewAfter(t *testing.T, texts ...string) view {
	t.Helper()
	return viewOf(countersAfter(t, false, fullPages(texts...)...), window.NewGauges())
}

// offloadView is the view of one endpoint after full pages, of the stage whose figures are
// the engine's, with the groups of KV offloading and KV connectors.
func offloadView(t *testing.T, texts ...string) (view, *schema.Engine) {
	t.Helper()
	v := viewOf(readPages(t, false, fullPages(texts...)...))
	v.stage = v.chooseStage()
	v.Engine = &schema.Engine{Window: &schema.Window{DurationSeconds: 4}}
	v.Engine.KVOffload, v.Engine.KVConnectors = v.kvOffload(), v.kvConnectors()
	e := &schema.GenerationObservability{Engine: v.Engine, Unavailable: v.Notes.Unavailable}
	for _, path := range schema.UnexplainedNulls(e) {
		if strings.HasPrefix(path, "engine.kv_offload") || strings.HasPrefix(path, "engine.kv_connectors") {
			t.Errorf("%s is null without a reason", path)
		}
	}
	return v, v.Engine
}

// offloadPage returns a page of testdata/offload, which make.py there wrote.
func offloadPage(t testing.TB, name string) string {
	t.Helper()
	page, err := os.ReadFile("../../testdata/offload/" + name + ".prom")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// reasonAt returns the reason at a path of the event, or "".
func reasonAt(v view, path string) string { return testkit.Reason(v.Output.Notes, path) }
