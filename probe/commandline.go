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

// CommandLine is what a command's arguments show about engines.
type CommandLine struct {
	// Server reports whether the command is itself a vLLM server.
	Server bool
	// Offline reports whether the command is one of vLLM's benchmarks without a server.
	Offline bool
	// Targets are a server's own address, or the addresses that a client connects to.
	Targets []scrape.Target
	// MaxNumSeqs is a server's --max-num-seqs; 0 if it is absent or not a number.
	MaxNumSeqs int
	// KVRole is the kv_role in a server's --kv-transfer-config; "" if there is none.
	KVRole string
}

// vLLM's flags for access logs: vllm/entrypoints/openai/cli_args.py.
const (
	endpointLogFlag = "--disable-access-log-for-endpoints"
	accessLogFlag   = "--disable-uvicorn-access-log"
)

// clientFlags are flags of benchmark clients whose value is the engine's address
// (vllm bench serve, GuideLLM, AIPerf, genai-perf, inference-perf, lm-eval and
// similar scripts). vLLM's defaults for them: vllm/benchmarks/serve.py.
var clientFlags = []string{"url", "base-url", "api-url", "api-base", "server-url", "endpoint-url", "target", "openai-api-base", "openai-base-url"}

// ReadCommandLine finds engines in a parsed command line, by vLLM's own flags and
// defaults and by the usual flags of clients. A URL that is not the value of such a flag
// counts only if it stays within this host: vobs must not scrape a host that is not
// meant as an engine.
func ReadCommandLine(line args.CommandLine) CommandLine {
	if line.Role == args.Server {
		c := CommandLine{Server: true, MaxNumSeqs: maxNumSeqs(line.Args), KVRole: kvRole(line.Options)}
		if t, ok := serverTarget(line.Args); ok {
			t.MaxNumSeqs, t.KVRole = c.MaxNumSeqs, c.KVRole
			c.Targets = []scrape.Target{t}
		}
		return c
	}
	argv := line.Argv
	c := CommandLine{Offline: line.Role == args.OfflineBenchmark}
	add := func(address string) {
		// Whatever the API's path, the metrics are at the server's root.
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
		if u, err := url.Parse(arg); err == nil && isLoopbackHost(u.Hostname()) {
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

// serverTarget returns the address at which a server with these flags listens on this
// host; ok is false for a server without one (--headless).
func serverTarget(args []string) (t scrape.Target, ok bool) {
	if _, ok := lastFlag(args, "headless"); ok {
		return t, false
	}
	address := ""
	if socket, ok := lastFlag(args, "uds"); ok {
		address = "unix://" + socket
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
		address = u.String()
	}
	t, err := scrape.ParseTarget(address)
	if err != nil {
		return t, false
	}
	t.Origin = scrape.FromCommandLine
	t.ExactPath = SilencesMetrics(args)
	return t, true
}

// maxNumSeqs returns --max-num-seqs, a plain number (vllm/engine/arg_utils.py: only
// numbers of tokens may be written as 8k); 0 if it is absent or invalid.
func maxNumSeqs(args []string) int {
	value, _ := lastFlag(args, "max-num-seqs")
	n, err := strconv.Atoi(value)
	if err != nil || n <= 0 || n > vllm.MaxNumSeqs {
		return 0
	}
	return n
}

// kvRole returns the kv_role of --kv-transfer-config (vllm/config/kv_transfer.py), or "".
func kvRole(options *args.Options) string {
	if options == nil {
		return ""
	}
	transfer, _ := options.Values["kv_transfer_config"].(map[string]any)
	role, _ := transfer["kv_role"].(string)
	return role
}

// SilencesMetrics reports whether a vLLM server's arguments keep exactly the path
// /metrics out of its access log. Then only that path may be scraped.
func SilencesMetrics(args []string) bool {
	for i := range args {
		if name, value, ok := flagValue(args, i); ok && "--"+name == endpointLogFlag {
			for _, path := range strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' }) {
				if path == vllm.MetricsPath {
					return !slices.Contains(args, accessLogFlag)
				}
			}
		}
	}
	return false
}

// flagValue parses the long flag at args[i], --name=value or --name value, and returns
// the name with dashes. A flag that takes no value returns the next argument as value.
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

// lastFlag returns the value of a long flag's last occurrence.
func lastFlag(args []string, name string) (value string, ok bool) {
	for i := range args {
		if n, v, isFlag := flagValue(args, i); isFlag && n == name {
			value, ok = v, true
		}
	}
	return value, ok
}

// isLoopbackHost reports whether a URL's host is this one.
func isLoopbackHost(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && (ip.Unmap().IsLoopback() || ip.IsUnspecified())
}
