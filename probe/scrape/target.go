package scrape

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strings"

	"github.com/vobs/vobs/internal/vllm"
)

// Origin says how an address came to be known. Where several yield figures, the
// lowest one's are used for all.
type Origin int

// The origins of an address, best first.
const (
	// FromFlag is an address that the user gave, by --metrics-url or VOBS_METRICS_URL.
	FromFlag Origin = iota
	// FromFiles is a directory of prometheus_client's shared files that the
	// command's processes write to.
	FromFiles
	// FromCommandLine is an address in the command's own arguments.
	FromCommandLine
	// FromTree is a server found among the command's processes.
	FromTree
)

// Target is the address of one /metrics page, or a directory that has what would stand on it.
type Target struct {
	Origin Origin
	// URL is what is asked: http or https, with a host and a path.
	URL *url.URL
	// Dir is the directory of shared files that is read, see [Directory]; "" for a server.
	Dir string
	// Socket is the path of the unix socket to dial instead of URL's host; "" for TCP.
	Socket string
	// ExactPath forbids filtered polls, which ask another path: the server
	// keeps this path alone out of its access log.
	ExactPath bool
	// Started says that the process behind the address started inside the run:
	// its counters count from zero.
	Started bool
	// MaxNumSeqs is the --max-num-seqs of the server's command line: the most
	// requests that each of its engines runs at once. 0 where it is not known.
	MaxNumSeqs int
}

// ParseTarget reads an address as a user gives it: http://HOST:PORT[/PATH],
// https://…, unix:///PATH/TO.sock or HOST:PORT. Without a path /metrics is asked.
// The unspecified addresses 0.0.0.0 and [::], which a server listens on, are
// dialled as loopback.
func ParseTarget(s string) (Target, error) {
	text := s
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		// url.Error repeats the whole address, with what may be a password.
		return Target{}, fmt.Errorf("metrics address: not a URL: use http://HOST:PORT/metrics or unix:///PATH")
	}
	t := Target{URL: u}
	switch u.Scheme {
	case "http", "https":
		if u.Hostname() == "" {
			return Target{}, fmt.Errorf("metrics address %s: no host: use http://HOST:PORT/metrics", u.Redacted())
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
			return Target{}, fmt.Errorf("metrics address %q: no path: use unix:///PATH/TO.sock", s)
		}
		t.Socket = socket
		t.URL = &url.URL{Scheme: "http", Host: "localhost", User: u.User}
	default:
		return Target{}, fmt.Errorf("metrics address: scheme %q: use http, https or unix", u.Scheme)
	}
	if t.URL.Path == "" || t.URL.Path == "/" {
		t.URL.Path = vllm.MetricsPath
	}
	t.URL.Fragment = ""
	return t, nil
}

func HostPort(host, port string) string {
	if port == "" {
		if strings.Contains(host, ":") {
			return "[" + host + "]"
		}
		return host
	}
	return net.JoinHostPort(host, port)
}

// Name is the address for people and for the event: without user info.
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

// Same says whether two addresses are one: `localhost` is 127.0.0.1. An engine that
// is read at two addresses would count twice.
func (t Target) Same(other Target) bool {
	canonical := func(t Target) string {
		if t.Socket == "" && t.URL.Hostname() == "localhost" {
			u := *t.URL
			u.Host = HostPort("127.0.0.1", u.Port())
			t.URL = &u
		}
		return t.Name()
	}
	return canonical(t) == canonical(other)
}

// redactQuery keeps the names in a query and drops what may be a secret: all values.
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

// Loopback says whether the address leads to this host without leaving it, and
// the TCP port it leads to (0 for a unix socket).
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
