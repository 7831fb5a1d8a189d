package args

import (
	"strings"
	"testing"
)

// The command lines of vLLM's documentation (docs/deployment/docker.md, .../installation) and
// the forms that users make of them.
func TestContainers(t *testing.T) {
	const documented = "docker run --runtime nvidia --gpus all -v ~/.cache/huggingface:/root/.cache/huggingface --env HF_TOKEN=x -p 8000:8000 --ipc=host vllm/vllm-openai:latest --model m --max-num-seqs 64"
	for _, c := range []struct {
		line string
		args string // those of the vLLM command; "" if there is none
		at   string // the address of port 8000 on the host; "" if there is none
	}{
		{documented, "serve --model m --max-num-seqs 64", "127.0.0.1 8000"},
		{"podman run --device nvidia.com/gpu=all -v ~/.cache/huggingface:/root/.cache/huggingface --env HF_TOKEN=x -p 8000:8000 --ipc=host docker.io/vllm/vllm-openai:latest --model m", "serve --model m", "127.0.0.1 8000"},
		{"docker run --rm --security-opt seccomp=unconfined --cap-add SYS_NICE --shm-size=4g -p 8000:8000 -e VLLM_CPU_KVCACHE_SPACE=4 vllm-cpu-env --model=m --dtype=bfloat16", "serve --model=m --dtype=bfloat16", "127.0.0.1 8000"},
		{"docker run -p 8000:8000 public.ecr.aws/q9t5s3a7/vllm-cpu-release-repo:v0.20.0 --model m", "serve --model m", "127.0.0.1 8000"},
		{"docker run -it --rm --network=host --group-add=video --ipc=host --cap-add=SYS_PTRACE --device /dev/kfd --device /dev/dri vllm/vllm-openai-rocm:latest --model m", "serve --model m", " 8000"},
		{"sudo docker container run -itd --name vllm --gpus=all -p8001:8000 vllm/vllm-openai m --max-num-seqs 64", "serve m --max-num-seqs 64", "127.0.0.1 8001"},
		{"nerdctl -n k8s.io run --net host registry.example:5000/mirror/vllm-openai:v1@sha256:abc m", "serve m", " 8000"},
		{"docker run -dp 10.0.0.1:81:8000/tcp -p 82:9000 vllm/vllm-openai --model m", "serve --model m", "10.0.0.1 81"},
		{"docker run -p [::1]:81:8000 vllm/vllm-openai --model m", "serve --model m", "::1 81"},
		{"docker run --publish=7000-7010:7995-8005 vllm/vllm-openai --model m", "serve --model m", "127.0.0.1 7005"},
		{"docker run -p 8000 vllm/vllm-openai --model m", "serve --model m", ""},
		{"docker run -p 127.0.0.1::8000 vllm/vllm-openai --model m", "serve --model m", ""},
		{"docker run -p 8000:8000/udp vllm/vllm-openai --model m", "serve --model m", ""},
		{"docker run -p 8000:9000 vllm/vllm-openai --model m", "serve --model m", ""},
		{"docker -H tcp://far:2375 run -p 8000:8000 vllm/vllm-openai --model m", "serve --model m", ""},
		{"docker --debug --context far run --net host vllm/vllm-openai --model m", "serve --model m", ""},
		{"docker run --entrypoint vllm -p 8000:8000 vllm/vllm-openai:latest serve m --max-num-seqs 64", "serve m --max-num-seqs 64", "127.0.0.1 8000"},
		{"docker run --entrypoint=python3 -p 8000:8000 vllm/vllm-openai:latest -m vllm.entrypoints.openai.api_server --model m", "--model m", "127.0.0.1 8000"},
		{`podman run --entrypoint ["vllm","serve"] -p 8000:8000 image:1 m`, "serve m", "127.0.0.1 8000"},
		{`podman run --entrypoint ["python3","-m","vllm.entrypoints.openai.api_server"] image:1 --model m`, "--model m", ""},
		{"docker run --entrypoint= vllm/vllm-openai vllm serve m", "serve m", ""},
		{"docker run -p 8000:8000 rocm/vllm:latest vllm serve m --port 8000", "serve m --port 8000", "127.0.0.1 8000"},
		{"docker run nvcr.io/nvidia/vllm:25.08-py3 python3 -m vllm.entrypoints.openai.api_server --model m", "--model m", ""},
		{"docker run vllm/vllm-openai vllm bench throughput --model m", "bench throughput --model m", ""},
		{"docker run --newer-option x vllm/vllm-openai --model m", "serve --model m", ""},
		{"docker run -- vllm/vllm-openai --model m", "serve --model m", ""},
		{"docker exec server vllm serve m", "serve m", ""},
		{"docker run --entrypoint bash vllm/vllm-openai -c true", "", ""},
		{"docker run --entrypoint /bin/bash vllm/vllm-openai", "", ""},
		{"docker run -it rocm/vllm:latest", "", ""},
		{"docker run --name vllm-openai ubuntu echo --model m", "", ""},
		{"docker run postgres -c max_connections=5", "", ""},
		{"docker run -p", "", ""},
		{"docker build -t vllm-openai .", "", ""},
		{"docker pull vllm/vllm-openai", "", ""},
		{"docker", "", ""},
	} {
		got := Parse(strings.Fields(c.line), "")
		if strings.Join(got.Args, " ") != c.args || (got.Command.Name == "") != (c.args == "") {
			t.Errorf("%s:\n%q, want %q (%+v)", c.line, got.Args, c.args, got.Command)
			continue
		}
		if c.args == "" || got.Command.Container == nil {
			if c.at != "" {
				t.Errorf("%s: no container", c.line)
			}
			continue
		}
		address, port, ok := got.Command.Container.HostPort("8000")
		if ok != (c.at != "") || ok && address+" "+port != c.at {
			t.Errorf("%s: %q %q %v, want %q", c.line, address, port, ok, c.at)
		}
		if got.Options == nil || got.Command.Name == "serve" && len(got.Options.Problems) > 0 || got.Role == Server && got.Options.Values["model"] != "m" {
			t.Errorf("%s: options %+v, %s", c.line, got.Options, got.WhyNoOptions)
		}
	}
	if got := Parse(strings.Fields(documented), "").Options.Values; got["max_num_seqs"] != int64(64) {
		t.Error(got)
	}
	got := Parse(strings.Fields("docker run vllm/vllm-openai m --config c.yaml"), t.TempDir())
	if got.Options.Problems["config"] != "--config c.yaml: the file is in the container" || strings.Join(got.Args, " ") != "serve m" {
		t.Errorf("%+v %+v", got, got.Options)
	}
	for _, port := range []string{"", "x", "70000"} {
		if address, at, ok := Parse(strings.Fields(documented), "").Command.Container.HostPort(port); ok {
			t.Errorf("port %q: %s %s", port, address, at)
		}
	}
}
