package probe

import (
	"context"
	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/probe/scrape"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// filesBeside reads the recorded files of two engines, with servers beside them that
// answer so at /server_info.
func filesBeside(t *testing.T, infos ...string) aggregate.Output {
	t.Helper()
	p := New(quick)
	p.Add(Directory("multiproc/testdata/serve_dp2/db", true))
	p.ScrapeBaseline(context.Background())
	p.Start(time.Now())
	waitFor(t, "the files", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.yielded
	})
	for _, info := range infos {
		r := answering(t, saying(info))
		server := httptest.NewServer(r)
		defer server.Close()
		to := target(t, server.URL)
		to.Origin = scrape.FromTree
		if !p.Add(to) {
			t.Fatal("a server beside the files is not asked")
		}
		r.await("/server_info", 1)
	}
	for _, e := range p.snapshot() {
		waitFor(t, "the answers", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return e.files != nil || e.allQueried() && !e.querying
		})
	}
	report := p.Finish(context.Background(), time.Now())
	if report.Engine == nil || report.Engine.Source != "multiprocess" || len(report.Engine.Endpoints) != 1 {
		t.Fatalf("no figures from files: %s", testkit.JSON(report))
	}
	checkNulls(t, report)
	return report
}

// Files tell nothing of the settings: the server beside them does, and nothing else of
// it counts.
func TestServerBesideFiles(t *testing.T) {
	whole := recordedAnswer(t, "server_info")
	report := filesBeside(t, whole)
	if got := testkit.JSON(report.EngineRuntimeConfig); got != `{"max_num_seqs":128,"max_num_batched_tokens":2048,"enable_chunked_prefill":true,"enable_prefix_caching":true,"kv_cache_dtype":"auto"}` {
		t.Errorf("runtime config %s", got)
	}
	if v := report.Engine.Endpoints[0].Version; v == nil || *v != "0.32.0" {
		t.Errorf("version %s", testkit.JSON(v))
	}
	alone := filesBeside(t)
	if got, want := testkit.JSON(report.Engine.Tokens), testkit.JSON(alone.Engine.Tokens); got != want {
		t.Errorf("tokens with a server beside the files %s, without %s", got, want)
	}
	if alone.EngineRuntimeConfig.MaxNumSeqs != nil || alone.Engine.Endpoints[0].Version != nil || !strings.Contains(testkit.JSON(alone.Notes), "metric files do not include") {
		t.Errorf("without a server: %s", testkit.JSON(alone))
	}
}

// Two servers that differ speak for nobody: whose files are whose is not known.
func TestServersBesideFilesDiffer(t *testing.T) {
	whole := recordedAnswer(t, "server_info")
	other := strings.Replace(whole, `"max_num_seqs":128`, `"max_num_seqs":64`, 1)
	if other == whole {
		t.Fatal("the recording has no such setting")
	}
	report := filesBeside(t, whole, other)
	if report.EngineRuntimeConfig.MaxNumSeqs != nil || !strings.Contains(testkit.JSON(report.Notes), "do not answer alike at /server_info") {
		t.Errorf("%s", testkit.JSON(report))
	}
	if v := report.Engine.Endpoints[0].Version; v == nil || *v != "0.32.0" {
		t.Errorf("version %s, which both have", testkit.JSON(v))
	}
	if same := filesBeside(t, whole, whole); same.EngineRuntimeConfig.MaxNumSeqs == nil {
		t.Errorf("two that answer alike: %s", testkit.JSON(same.Notes))
	}
}

// A directory with no file that can be understood has that for its reason.
func TestFilesUnreadable(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "counter_7.db"), []byte("<html>"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := New(quick)
	p.Add(Directory(dir, true))
	p.ScrapeBaseline(context.Background())
	p.Start(time.Now())
	report := p.Finish(context.Background(), time.Now())
	if text := testkit.JSON(report.Notes); report.Engine != nil || !strings.Contains(text, "counter_7.db") {
		t.Errorf("%s", text)
	}
	checkNulls(t, report)
}

// waitFor waits for a condition.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 30 s for %s", what)
		}
	}
}
