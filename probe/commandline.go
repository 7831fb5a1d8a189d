package probe

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/vobs/vobs/internal/vllm"
	"github.com/vobs/vobs/internal/vllm/args"
	"github.com/vobs/vobs/probe/scrape"
)

// CommandLine is what a command's arguments tell of an engine's address.
type CommandLine struct {
	// Server says that the command is itself a vLLM server.
	Server bool
	// Offline says that the command is one of vLLM's benchmarks without a server.
	Offline bool
	// Targets are the addresses: of a server its own one, of a client those that
	// it is pointed at.
	Targets []scrape.Target
	// MaxNumSeqs is a server's --max-num-seqs; 0 where it has none that is a number.
	MaxNumSeqs int
}

// vLLM's defaults: vllm/entrypoints/openai/cli_args.py, vllm/benchmarks/serve.py.
const (
	silencedFlag      = "--disable-access-log-for-endpoints"
	uvicornSilentFlag = "--disable-uvicorn-access-log"
)

// clientFlags are flags of benchmark clients whose value is the engine's address
// (vllm bench serve, GuideLLM, AIPerf, genai-perf, inference-perf, lm-eval and
// scripts like them).
var clientFlags = []string{"url", "base-url", "api-url", "api-base", "server-url", "endpoint-url", "target", "openai-api-base", "openai-base-url"}

// ReadCommandLine finds engines in a command's arguments, by vLLM's own flags
// and defaults and by the usual flags of clients. A URL that no such flag
// introduces counts only where it leads to this host: who is asked must be meant.
func ReadCommandLine(line args.CommandLine) CommandLine {
	if line.Role == args.Server {
		c := CommandLine{Server: true, MaxNumSeqs: maxNumSeqs(line.Args)}
		if t, ok := serverTarget(line.Args); ok {
			t.MaxNumSeqs = c.MaxNumSeqs
			c.Targets = []scrape.Target{t}
		}
		return c
	}
	argv := line.Argv
	c := CommandLine{Offline: line.Role == args.OfflineBenchmark}
	add := func(address string) {
		// Whatever the path of the API is, the metrics are at the server's root.
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return
		}
		t, err := scrape.ParseTarget((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: vllm.MetricsPath}).String())
		if err != nil {
			return
		}
		t.Origin = scrape.FromCommandLine
		for _, known := range c.Targets {
			if known.Name() == t.Name() {
				return
			}
		}
		c.Targets = append(c.Targets, t)
	}
	for i, arg := range argv {
		if name, value, ok := flagValue(argv, i); ok && slices.Contains(clientFlags, name) {
			add(value)
			continue
		}
		if u, err := url.Parse(arg); err == nil && isLoopbackName(u.Hostname()) {
			add(arg)
		}
	}
	if len(c.Targets) == 0 && line.Role == args.BenchmarkClient {
		host, port := "127.0.0.1", vllm.DefaultPort
		if v, ok := lastFlag(argv, "host"); ok {
			host = v
		}
		if v, ok := lastFlag(argv, "port"); ok {
			port = v
		}
		add("http://" + net.JoinHostPort(host, port))
	}
	return c
}

// serverTarget is the address at which a server with these flags answers on this host.
func serverTarget(args []string) (scrape.Target, bool) {
	if _, ok := lastFlag(args, "headless"); ok {
		return scrape.Target{}, false
	}
	t := scrape.Target{}
	if socket, ok := lastFlag(args, "uds"); ok {
		parsed, err := scrape.ParseTarget("unix://" + socket)
		if err != nil {
			return t, false
		}
		t = parsed
	} else {
		u := url.URL{Scheme: "http"}
		if _, ok := lastFlag(args, "ssl-keyfile"); ok {
			u.Scheme = "https"
		}
		host, port := "127.0.0.1", vllm.DefaultPort
		if v, ok := lastFlag(args, "host"); ok && v != "" {
			host = v
		}
		if v, ok := lastFlag(args, "port"); ok {
			port = v
		}
		u.Host = net.JoinHostPort(host, port)
		parsed, err := scrape.ParseTarget(u.String())
		if err != nil {
			return t, false
		}
		t = parsed
	}
	t.Origin = scrape.FromCommandLine
	t.ExactPath = SilencesMetrics(args)
	return t, true
}

// maxNumSeqs reads --max-num-seqs, which is a plain number
// (vllm/engine/arg_utils.py: only the numbers of tokens may be written as 8k).
func maxNumSeqs(args []string) int {
	value, _ := lastFlag(args, "max-num-seqs")
	n, err := strconv.Atoi(value)
	if err != nil || n <= 0 || n > vllm.MaxNumSeqs {
		return 0
	}
	return n
}

// SilencesMetrics says whether a vLLM server's arguments keep /metrics, and only
// that path, out of its access log: then exactly that path is to be asked.
func SilencesMetrics(args []string) bool {
	for i := range args {
		if name, value, ok := flagValue(args, i); ok && "--"+name == silencedFlag {
			for _, path := range strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' }) {
				if path == vllm.MetricsPath {
					return !slices.Contains(args, uvicornSilentFlag)
				}
			}
		}
	}
	return false
}

// flagValue reads the long flag that starts at args[i]: --name=value or --name
// value; the name with dashes. A flag without a value has the next word as one.
func flagValue(args []string, i int) (name, value string, ok bool) {
	name, found := strings.CutPrefix(args[i], "--")
	if !found || name == "" {
		return "", "", false
	}
	if n, v, ok := strings.Cut(name, "="); ok {
		return strings.ReplaceAll(n, "_", "-"), v, true
	}
	if i+1 < len(args) {
		value = args[i+1]
	}
	return strings.ReplaceAll(name, "_", "-"), value, true
}

// lastFlag gives the value of a long flag's last occurrence.
func lastFlag(args []string, name string) (value string, ok bool) {
	for i := range args {
		if n, v, is := flagValue(args, i); is && n == name {
			value, ok = v, true
		}
	}
	return value, ok
}

func isLoopbackName(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && (ip.Unmap().IsLoopback() || ip.IsUnspecified())
}
