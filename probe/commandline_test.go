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
		// Without a scheme, after a client's flag.
		{"aiperf profile --model m --url localhost:8000 --endpoint-type chat", false, "http://localhost:8000/metrics"},
		{"genai-perf profile -m m -u h:8000 --endpoint v1/chat/completions", false, "http://h:8000/metrics"},
		{"perf -u=h:8000", false, "http://h:8000/metrics"},
		{"perf -uhttp://h:8000", false, "http://h:8000/metrics"},
		{"python -u client.py --endpoint=http://h:8000/v1/completions", false, "http://h:8000/metrics"},
		{"python -u client.py --server-address h:8000", false, "http://h:8000/metrics"},
		{"client --server_url=[::1]:8000/v1", false, "http://[::1]:8000/metrics"},
		{"client --url 0.0.0.0:8000", false, "http://127.0.0.1:8000/metrics"},
		{"client --url h:1,https://h:2", false, "http://h:1/metrics https://h:2/metrics"},
		{"client --url h:1 --url http://h:1/v1", false, "http://h:1/metrics"},
		{"client --target h:8000 --host 10.0.0.1:99", false, "http://h:8000/metrics"},
		{"locust -f load.py --host http://h:8000 --users 5", false, "http://h:8000/metrics"},
		{"client --url h", false, ""},
		{"client --url h:port", false, ""},
		{"client --url h:0 --base-url h:70000", false, ""},
		{"client --endpoint v1/completions", false, ""},
		{"client --endpoint /v1/completions", false, ""},
		{"client --url u:p@h:80", false, ""},
		{"client --url", false, ""},
		{"sudo -u user -- client", false, ""},
		{"curl -u user:12345 https://example.com", false, ""},
		{"curl -u user:12345 http://127.0.0.1:8000/health", false, "http://127.0.0.1:8000/metrics"},
		{"ray start --address 10.0.0.1:6379", false, ""},
		{"psql host=10.0.0.1:5432", false, ""},
		// In settings.
		{"lm_eval --model local-completions --model_args model=m,base_url=http://h:8000/v1/completions,num_concurrent=1", false, "http://h:8000/metrics"},
		{"env OPENAI_BASE_URL=http://h:8000/v1 python client.py", false, "http://h:8000/metrics"},
		{"make bench URL=localhost:8000", false, "http://localhost:8000/metrics"},
		{"make bench URL=https://example.com/model TARGET=all", false, ""},
		// Containers.
		{"docker run --gpus all -p 8000:8000 --ipc=host vllm/vllm-openai:latest --model m", true, "http://127.0.0.1:8000/metrics"},
		{"docker run -p 0.0.0.0:81:9000 vllm/vllm-openai m --host 0.0.0.0 --port 9000 --ssl-keyfile k", true, "https://127.0.0.1:81/metrics"},
		{"podman run --net=host docker.io/vllm/vllm-openai m --port 9000", true, "http://127.0.0.1:9000/metrics"},
		{"nerdctl run -p 10.0.0.1:81:8000 vllm/vllm-openai m", true, "http://10.0.0.1:81/metrics"},
		{"docker run vllm/vllm-openai m", true, ""},
		{"docker run -P vllm/vllm-openai m", true, ""},
		{"docker -H far run -p 8000:8000 vllm/vllm-openai m", true, ""},
		{"docker run -v /run:/run vllm/vllm-openai m --uds /run/v.sock", true, ""},
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

// The text of `sh -c` is searched for addresses of this host. They rank with those of the
// processes that the shell starts.
func TestReadCommandLineOfScript(t *testing.T) {
	for script, want := range map[string]string{
		"timeout 60 python client.py --url http://127.0.0.1:8000":                       "http://127.0.0.1:8000/metrics",
		"cd /x && python client.py --base-url 'http://localhost:8000/v1' >log 2>&1":     "http://localhost:8000/metrics",
		"aiperf profile --url localhost:8000;true":                                      "http://localhost:8000/metrics",
		"export OPENAI_BASE_URL=\"http://127.0.0.1:8000/v1\"; python client.py":         "http://127.0.0.1:8000/metrics",
		"(vllm serve m --port 8000 & curl http://127.0.0.1:8000/health)":                "http://127.0.0.1:8000/metrics",
		"client --url http://127.0.0.1:8000 & client --url http://127.0.0.1:8001; wait": "http://127.0.0.1:8000/metrics http://127.0.0.1:8001/metrics",
		"client --url http://127.0.0.1:$PORT":                                           "",
		"client --url http://far:8000 --url far:8000":                                   "",
		"vllm serve m": "",
		"":             "",
	} {
		for _, argv := range [][]string{{"bash", "-c", script}, {"srun", "-n", "1", "/bin/sh", "-ec", script, "name"}} {
			var names []string
			for _, target := range ReadCommandLine(args.Parse(argv, "")).Targets {
				names = append(names, target.Name())
				if target.Origin != scrape.FromTree {
					t.Errorf("%q: origin %v", argv, target.Origin)
				}
			}
			if got := strings.Join(names, " "); got != want {
				t.Errorf("%q: %q, want %q", argv, got, want)
			}
		}
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
