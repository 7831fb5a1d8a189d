package probe

import (
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
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
	// Those in the text of `sh -c` have the origin [scrape.FromTree], as if they were found
	// in the arguments of the processes that the shell is going to start.
	Targets []scrape.Target
	// MaxNumSeqs is a server's --max-num-seqs; 0 if it is absent or not a number.
	MaxNumSeqs int
	// MaxNumBatchedTokens is a server's --max-num-batched-tokens; 0 if it is absent or invalid.
	MaxNumBatchedTokens int
	// KVRole is the kv_role in a server's --kv-transfer-config; "" if there is none.
	KVRole string
}

// vLLM's flags for access logs: vllm/entrypoints/openai/cli_args.py.
const (
	endpointLogFlag = "--disable-access-log-for-endpoints"
	accessLogFlag   = "--disable-uvicorn-access-log"
)

// clientFlags are flags of benchmark clients whose value is the engine's address
// (vllm bench serve, GuideLLM, AIPerf, genai-perf, inference-perf, lm-eval, Locust and
// similar scripts). vLLM's defaults for them: vllm/benchmarks/serve.py.
var clientFlags = []string{
	"url", "u", "base-url", "api-url", "api-base", "api-base-url", "api-endpoint", "server-url", "server-address", "server-metrics", "server-metrics-url", "endpoint", "endpoint-url",
	"host", // only with a scheme: elsewhere it is a name without a port
	"target", "target-url", "openai-api-base", "openai-base-url", "openai-url", "vllm-url", "vllm-base-url", "vllm-api-base", "vllm-endpoint",
}

// settings are those of clientFlags that are engines' addresses as variables and as
// NAME=VALUE, too. Under other names, as URL=…, only addresses of this host are.
var settings = []string{"base-url", "api-base", "server-url", "openai-api-base", "openai-base-url", "vllm-url", "vllm-base-url", "vllm-api-base", "vllm-endpoint"}

// settingsFlags have a list of NAME=VALUE as their value (lm-eval --model_args).
var settingsFlags = []string{"model-args"}

// ReadCommandLine finds engines in a parsed command line, by vLLM's own flags and
// defaults and by the usual flags of clients. A URL that is not the value of such a flag
// counts only if it stays within this host: vobs must not scrape a host that is not
// meant as an engine.
func ReadCommandLine(line args.CommandLine) CommandLine {
	if line.Role == args.Server {
		c := CommandLine{Server: true, MaxNumSeqs: maxNumSeqs(line.Args), MaxNumBatchedTokens: maxNumBatchedTokens(line.Args), KVRole: kvRole(line.Options)}
		if t, ok := serverTarget(line); ok {
			t.MaxNumSeqs, t.MaxNumBatchedTokens, t.KVRole = c.MaxNumSeqs, c.MaxNumBatchedTokens, c.KVRole
			c.Targets = []scrape.Target{t}
		}
		return c
	}
	argv := line.Argv
	c := CommandLine{Offline: line.Role == args.OfflineBenchmark}
	for _, address := range clientAddresses(argv) {
		c.add(address, scrape.FromCommandLine)
	}
	if line.Command.Text {
		for _, address := range scriptAddresses(argv) {
			c.add(address, scrape.FromTree)
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
		c.add("http://"+net.JoinHostPort(host, port), scrape.FromCommandLine)
	}
	return c
}

// add adds the metrics page of the server at an address: whatever the API's path, it is at
// the server's root.
func (c *CommandLine) add(address string, origin scrape.Origin) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return
	}
	t, err := scrape.ParseTarget((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: vllm.MetricsPath}).String())
	if err != nil {
		return
	}
	t.Origin = origin
	for _, known := range c.Targets {
		if known.Name() == t.Name() {
			return
		}
	}
	c.Targets = append(c.Targets, t)
}

// maxArguments bounds the arguments that are searched for addresses: xargs can pass 100,000.
const maxArguments = 4096

// clientAddresses returns the URLs of engines in a client's arguments.
func clientAddresses(argv []string) (out []string) {
	argv = argv[:min(len(argv), maxArguments)]
	for i, arg := range argv {
		name, value, isFlag := clientFlag(argv, i)
		if isFlag && slices.Contains(clientFlags, name) {
			out = append(out, addressesIn(value, name)...)
		}
		if isFlag && slices.Contains(settingsFlags, name) {
			for _, setting := range strings.Split(value, ",") {
				out = append(out, settingAddresses(setting)...)
			}
		}
		if !strings.HasPrefix(arg, "-") {
			out = append(out, settingAddresses(arg)...)
		}
		if isLocalURL(arg) {
			out = append(out, arg)
		}
	}
	return out
}

// scriptAddresses returns the addresses of this host in the text of `sh -c`.
func scriptAddresses(argv []string) (out []string) {
	for _, arg := range argv {
		words := strings.FieldsFunc(arg, func(r rune) bool { return strings.ContainsRune(" \t\r\n'\"`;|&()<>", r) })
		if len(words) > 1 {
			out = append(out, slices.DeleteFunc(clientAddresses(words), func(a string) bool { return !isLocalURL(a) })...)
		}
	}
	return out
}

// clientFlag parses the flag at argv[i]: --name VALUE, --name=VALUE, or -u VALUE, -u=VALUE
// and -uVALUE.
func clientFlag(argv []string, i int) (name, value string, ok bool) {
	arg := argv[i]
	if strings.HasPrefix(arg, "--") {
		return flagValue(argv, i)
	}
	value, ok = strings.CutPrefix(arg, "-u")
	if !ok || slices.ContainsFunc(argv[:i], func(a string) bool { return slices.Contains(userTools, filepath.Base(a)) }) {
		return "", "", false
	}
	if value = strings.TrimPrefix(value, "="); value == "" && i+1 < len(argv) {
		value = argv[i+1]
	}
	return "u", value, true
}

// userTools have -u USER:PASSWORD.
var userTools = []string{"curl", "wget"}

// settingAddresses returns the addresses in NAME=VALUE.
func settingAddresses(setting string) []string {
	name, value, ok := strings.Cut(setting, "=")
	name = strings.ToLower(strings.ReplaceAll(name, "_", "-"))
	if !ok || !slices.Contains(clientFlags, name) {
		return nil
	}
	addresses := addressesIn(value, name)
	if slices.Contains(settings, name) {
		return addresses
	}
	return slices.DeleteFunc(addresses, func(a string) bool { return !isLocalURL(a) })
}

// isLocalURL reports whether s is a URL of this host.
func isLocalURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && isLoopbackHost(u.Hostname())
}

// addressesIn returns the URLs in the value of a flag: a URL, HOST:PORT, which means http, or
// a list of these separated by commas.
func addressesIn(value, flag string) (out []string) {
	for _, address := range strings.Split(value, ",") {
		switch {
		case strings.Contains(address, "://"):
			out = append(out, address)
		case flag != "host" && isHostPort(address):
			out = append(out, "http://"+address)
		}
	}
	return out
}

// isHostPort reports whether s is HOST:PORT, with or without a path. Without a port, a path
// such as v1/completions would pass for a host.
func isHostPort(s string) bool {
	u, err := url.Parse("http://" + s)
	if err != nil || u.User != nil || u.Hostname() == "" {
		return false
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && port > 0
}

// serverTarget returns the address on this host of a server with this command line; ok is
// false for a server without one (--headless, a container that publishes no port).
func serverTarget(line args.CommandLine) (t scrape.Target, ok bool) {
	argv := line.Args
	if _, ok := lastFlag(argv, "headless"); ok {
		return t, false
	}
	address := ""
	if socket, ok := lastFlag(argv, "uds"); ok {
		if line.Command.Container != nil {
			return t, false
		}
		address = "unix://" + socket
	} else {
		u := url.URL{Scheme: "http"}
		if _, ok := lastFlag(argv, "ssl-keyfile"); ok {
			u.Scheme = "https"
		}
		host, port := "127.0.0.1", vllm.DefaultPort
		if v, ok := lastFlag(argv, "host"); ok && v != "" {
			host = v
		}
		if v, ok := lastFlag(argv, "port"); ok {
			port = v
		}
		if c := line.Command.Container; c != nil {
			publishedAt, hostPort, ok := c.HostPort(port)
			if !ok {
				return t, false
			}
			if port = hostPort; publishedAt != "" {
				host = publishedAt
			}
		}
		u.Host = net.JoinHostPort(host, port)
		address = u.String()
	}
	t, err := scrape.ParseTarget(address)
	if err != nil {
		return t, false
	}
	t.Origin = scrape.FromCommandLine
	t.ExactPath = SilencesMetrics(argv)
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

// maxNumBatchedTokens returns --max-num-batched-tokens, which may be written as 8k; 0 if it is
// absent or invalid.
func maxNumBatchedTokens(arguments []string) int {
	value, _ := lastFlag(arguments, "max-num-batched-tokens")
	v, err := args.ParseHumanInt(value)
	n, ok := v.(int64)
	if err != nil || !ok || n <= 0 || n > vllm.MaxNumBatchedTokens {
		return 0
	}
	return int(n)
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
