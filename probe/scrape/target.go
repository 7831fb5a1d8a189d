package scrape

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/vobs/vobs/internal/vllm"
)

// Origin is how an address became known. If several origins yield figures, only
// those of the lowest are used.
type Origin int

// The origins of an address, best first.
const (
	// FromFlag is an address that the user set by --metrics-url or VOBS_METRICS_URL.
	FromFlag Origin = iota
	// FromFiles is a directory of prometheus_client's multiprocess files that the
	// command's processes write.
	FromFiles
	// FromCommandLine is an address in the command's own arguments.
	FromCommandLine
	// FromTree is a server found among the command's processes, or an address of this
	// host in their arguments.
	FromTree
)

// Target is the address of one /metrics page, or a directory of multiprocess files
// with the same content.
type Target struct {
	Origin Origin
	// URL is the page's address: http or https, with a host and a path.
	URL *url.URL
	// Dir is the directory of multiprocess files to read; "" for a server.
	Dir string
	// Socket is the path of the unix socket to dial instead of URL's host; "" for TCP.
	Socket string
	// ExactPath forbids filtered scrapes, which use another path: the server keeps
	// only this exact path out of its access log.
	ExactPath bool
	// Started reports whether the process behind the address started inside the
	// run, so that its counters count from zero.
	Started bool
	// MaxNumSeqs is --max-num-seqs on the server's command line, the most requests
	// that each of its engines runs at once; 0 if unknown.
	MaxNumSeqs int
	// MaxNumBatchedTokens is --max-num-batched-tokens there, the most tokens that each of its
	// engines computes in one step; 0 if unknown.
	MaxNumBatchedTokens int
	// KVRole is the kv_role in the server's --kv-transfer-config; "" if unknown.
	KVRole string
}

// ParseTarget parses an address as users write it: http://HOST:PORT[/PATH],
// https://…, unix:///PATH/TO.sock or HOST:PORT. The default path is /metrics. The
// unspecified addresses 0.0.0.0 and [::], on which servers listen, become loopback.
func ParseTarget(s string) (Target, error) {
	text := s
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		// url.Error repeats the whole address, which may contain a password.
		return Target{}, errors.New("metrics address is not a valid URL: use http://HOST:PORT/metrics or unix:///PATH")
	}
	t := Target{URL: u}
	switch u.Scheme {
	case "http", "https":
		if u.Hostname() == "" {
			return Target{}, fmt.Errorf("metrics address %s has no host: use http://HOST:PORT/metrics", u.Redacted())
		}
		if port := u.Port(); port != "" {
			if _, err := strconv.ParseUint(port, 10, 16); err != nil {
				return Target{}, fmt.Errorf("metrics address %s: port %s is out of range: use 1 to 65535", u.Redacted(), port)
			}
		}
		if ip, err := netip.ParseAddr(u.Hostname()); err == nil && ip.IsUnspecified() {
			loopback := "127.0.0.1"
			if ip.Is6() {
				loopback = "::1"
			}
			u.Host = HostPort(loopback, u.Port())
		}
	case "unix", "http+unix":
		socket := u.Path
		if u.Host != "" { // unix://relative/path
			socket = path.Join(u.Host, u.Path)
		}
		if socket == "" {
			return Target{}, fmt.Errorf("metrics address %q has no path: use unix:///PATH/TO.sock", s)
		}
		t.Socket = socket
		t.URL = &url.URL{Scheme: "http", Host: "localhost", User: u.User}
	default:
		return Target{}, fmt.Errorf("metrics address has scheme %q: use http, https or unix", u.Scheme)
	}
	if t.URL.Path == "" || t.URL.Path == "/" {
		t.URL.Path = vllm.MetricsPath
	}
	t.URL.Fragment = ""
	return t, nil
}

// HostPort returns host:port, or host if port is "", with brackets around an IPv6
// address.
func HostPort(host, port string) string {
	if port == "" {
		if strings.Contains(host, ":") {
			return "[" + host + "]"
		}
		return host
	}
	return net.JoinHostPort(host, port)
}

// Name returns the address as messages and the event show it: without user info
// and without the values of the query.
func (t Target) Name() string {
	if t.Socket != "" {
		name := "unix://" + t.Socket
		if t.URL.Path != vllm.MetricsPath {
			name += ":" + t.URL.Path
		}
		return name
	}
	u := *t.URL
	u.User = nil
	u.RawQuery = redactQuery(u.RawQuery)
	return u.String()
}

// Same reports whether two addresses differ in their spelling only: `localhost` is 127.0.0.1,
// as is [::ffff:127.0.0.1], hosts have no upper case, default ports may be left out, and vLLM
// serves the same page at /metrics and /metrics/. An engine read at two addresses would count
// twice.
func (t Target) Same(other Target) bool { return t.canonical() == other.canonical() }

// canonical returns one spelling of the address.
func (t Target) canonical() string {
	u := url.URL{Scheme: t.URL.Scheme, Path: path.Clean(t.URL.Path), RawQuery: t.URL.RawQuery}
	if t.Socket != "" {
		return path.Clean(t.Socket) + " " + u.String()
	}
	host := strings.TrimSuffix(strings.ToLower(t.URL.Hostname()), ".")
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	}
	u.Host = HostPort(host, t.Port())
	return u.String()
}

// Port returns the TCP port, the scheme's default if the address has none; "" for a directory.
func (t Target) Port() string {
	if p := t.URL.Port(); p != "" {
		return p
	}
	return map[string]string{"http": "80", "https": "443"}[t.URL.Scheme]
}

// redactQuery replaces all values of a query, because any may be a secret.
func redactQuery(query string) string {
	if query == "" {
		return ""
	}
	parts := strings.Split(query, "&")
	for i, p := range parts {
		if name, _, ok := strings.Cut(p, "="); ok {
			parts[i] = name + "=<redacted>"
		}
	}
	return strings.Join(parts, "&")
}

// Loopback reports whether the address stays within this host, and returns its TCP
// port (0 for a unix socket).
func (t Target) Loopback() (port int, ok bool) {
	if t.Socket != "" {
		return 0, true
	}
	host := t.URL.Hostname()
	if host != "localhost" {
		ip, err := netip.ParseAddr(host)
		if err != nil || !ip.Unmap().IsLoopback() {
			return 0, false
		}
	}
	p := t.URL.Port()
	switch {
	case p != "":
		if n, err := net.LookupPort("tcp", p); err == nil {
			return n, true
		}
		return 0, false
	case t.URL.Scheme == "https":
		return 443, true
	}
	return 80, true
}
