package probe

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/probe/scrape"
)

// readFilesAndServers reads the recorded files of two engines, with one server per
// /server_info response.
func readFilesAndServers(t *testing.T, infos ...string) aggregate.Output {
	t.Helper()
	p := New(quick)
	p.Add(Directory("multiproc/testdata/serve_dp2/db", true))
	p.ScrapeBaseline(context.Background())
	p.Start(time.Now())
	testkit.Await(t, "the files are read", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.yielded
	})
	for _, info := range infos {
		r := newConfigReplay(t, respond(info))
		server := httptest.NewServer(r)
		defer server.Close()
		to := target(t, server.URL)
		to.Origin = scrape.FromTree
		if !p.Add(to) {
			t.Fatal("Add rejects a server next to the files")
		}
		r.await("/server_info", 1)
	}
	for _, e := range p.allEndpoints() {
		testkit.Await(t, "all queries are answered", func() bool {
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

// Files have no configuration: it comes from the server next to them, whose figures do not
// count.
func TestServerNextToFiles(t *testing.T) {
	whole := recordedAnswer(t, "server_info")
	report := readFilesAndServers(t, whole)
	if got := testkit.JSON(report.EngineRuntimeConfig); got != `{"max_num_seqs":128,"max_num_batched_tokens":2048,"enable_chunked_prefill":true,"enable_prefix_caching":true,"kv_cache_dtype":"auto"}` {
		t.Errorf("runtime config %s", got)
	}
	if v := report.Engine.Endpoints[0].Version; v == nil || *v != "0.32.0" {
		t.Errorf("version %s", testkit.JSON(v))
	}
	alone := readFilesAndServers(t)
	if limit := report.Engine.Tokens.PerIterationLimit; limit == nil || *limit != 2048 || alone.Engine.Tokens.PerIterationLimit != nil {
		t.Errorf("limits of a step %s and, without a server, %s", testkit.JSON(limit), testkit.JSON(alone.Engine.Tokens.PerIterationLimit))
	}
	report.Engine.Tokens.PerIterationLimit = nil
	if got, want := testkit.JSON(report.Engine.Tokens), testkit.JSON(alone.Engine.Tokens); got != want {
		t.Errorf("tokens with a server next to the files %s, without %s", got, want)
	}
	if alone.EngineRuntimeConfig.MaxNumSeqs != nil || alone.Engine.Endpoints[0].Version != nil || !strings.Contains(testkit.JSON(alone.Notes), "metric files do not include") {
		t.Errorf("without a server: %s", testkit.JSON(alone))
	}
}

// A setting in which two servers differ is null: it is unknown whose files are whose.
func TestServersNextToFilesDiffer(t *testing.T) {
	whole := recordedAnswer(t, "server_info")
	other := strings.Replace(whole, `"max_num_seqs":128`, `"max_num_seqs":64`, 1)
	if other == whole {
		t.Fatal("the recording has no max_num_seqs of 128")
	}
	report := readFilesAndServers(t, whole, other)
	if report.EngineRuntimeConfig.MaxNumSeqs != nil || !strings.Contains(testkit.JSON(report.Notes), "return different answers to /server_info") {
		t.Errorf("%s", testkit.JSON(report))
	}
	if v := report.Engine.Endpoints[0].Version; v == nil || *v != "0.32.0" {
		t.Errorf("version %s, want the one that both have", testkit.JSON(v))
	}
	if same := readFilesAndServers(t, whole, whole); same.EngineRuntimeConfig.MaxNumSeqs == nil {
		t.Errorf("two servers with the same configuration: %s", testkit.JSON(same.Notes))
	}
}
