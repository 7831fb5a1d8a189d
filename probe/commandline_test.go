package probe

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/vllm/args"
	"github.com/vobs/vobs/probe/scrape"
)

// A server's command line takes precedence over its configuration file.
func TestReadCommandLineWithConfigFile(t *testing.T) {
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
		got := ReadCommandLine(args.Parse(strings.Fields(c.line), c.dir))
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
		got := ReadCommandLine(args.Parse(strings.Fields(c.line), ""))
		var names []string
		for _, tg := range got.Targets {
			names = append(names, tg.Name())
			if tg.Origin != scrape.FromCommandLine {
				t.Errorf("%s: origin %v", c.line, tg.Origin)
			}
		}
		if got.Server != c.server || strings.Join(names, " ") != c.want {
			t.Errorf("%s: server %v %v, want %v %s", c.line, got.Server, names, c.server, c.want)
		}
	}
	if !SilencesMetrics([]string{"--disable-access-log-for-endpoints", "/metrics,/health"}) || SilencesMetrics([]string{"--disable-access-log-for-endpoints=/health"}) {
		t.Error("SilencesMetrics is wrong about --disable-access-log-for-endpoints")
	}
}

func TestKVRoleInCommandLine(t *testing.T) {
	for want, lines := range map[string][][]string{
		"kv_producer": {
			{"vllm", "serve", "m", "--kv-transfer-config", `{"kv_connector":"NixlConnector","kv_role":"kv_producer"}`},
			{"vllm", "serve", "m", `--kv_transfer_config={"kv_connector":"NixlConnector","kv_role":"kv_producer"}`},
			{"vllm", "serve", "m", "--kv-transfer-config.kv_connector", "NixlConnector", "--kv-transfer-config.kv_role=kv_producer"},
		},
		"": {
			{"vllm", "serve", "m"}, {"vllm", "serve", "m", "--kv-transfer-config", "{"}, {"vllm", "serve", "m", "--kv-transfer-config", `{"kv_role":1}`},
			{"client", "--kv-transfer-config", `{"kv_role":"kv_producer"}`},
		},
	} {
		for _, line := range lines {
			c := ReadCommandLine(args.Parse(line, ""))
			if c.KVRole != want || len(c.Targets) > 0 && c.Targets[0].KVRole != want {
				t.Errorf("%q: %q, want %q", line, c.KVRole, want)
			}
		}
	}
}
