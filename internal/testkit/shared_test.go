package testkit

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// The recordings in the repository are exact copies of the originals.
func TestSharedCopies(t *testing.T) {
	originals := Shared(t, "recordings")
	copies := map[string]string{ // path of the original to that of the copy
		"bench_throughput/multiprocess_expected.prom":       "testdata/expositions/bench_throughput.prom",
		"script_plugin_force/decoded.tsv":                   "probe/multiproc/testdata/script_plugin_force.tsv",
		"script_stats_on/decoded.tsv":                       "probe/multiproc/testdata/script_stats_on.tsv",
		"serve_default/metrics_during.prom":                 "testdata/expositions/serve_default_during.prom",
		"serve_default/metrics_idle_openmetrics.txt":        "testdata/expositions/serve_default_idle_openmetrics.prom",
		"serve_default/server_info_config_format_json.body": "testdata/answers/server_info.json",
		"serve_default/server_info_config_format_text.body": "testdata/answers/server_info_text.json",
		"serve_default/v1_models.body":                      "testdata/answers/models.json",
		"serve_default/version.body":                        "testdata/answers/version.json",
	}
	for _, run := range []string{"serve_default", "serve_dp2", "serve_ngram"} {
		copies[run+"/EXPECTED.md"] = "testdata/expositions/" + run + "_expected.md"
		for _, page := range []string{"idle", "pre", "post"} {
			copies[run+"/metrics_"+page+".prom"] = "testdata/expositions/" + run + "_" + page + ".prom"
		}
	}
	for _, run := range []string{"bench_throughput", "serve_dp2"} {
		copies[run+"/multiprocess_expected.prom"] = "probe/multiproc/testdata/" + run + "/expected.prom"
		files, err := os.ReadDir(filepath.Join(originals, run, "db"))
		if err != nil || len(files) == 0 {
			t.Errorf("%s: no metrics files: %v", run, err)
		}
		for _, f := range files {
			copies[run+"/db/"+f.Name()] = "probe/multiproc/testdata/" + run + "/db/" + f.Name()
		}
	}
	for from, to := range copies {
		original, err := os.ReadFile(filepath.Join(originals, from))
		if err != nil {
			t.Error(err)
			continue
		}
		got, err := os.ReadFile(filepath.Join(Root(t), to))
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(original, got) {
			t.Errorf("%s differs from the original recording, %s", to, from)
		}
	}
}
