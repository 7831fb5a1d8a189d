package scrape

import (
	"strings"
	"testing"
)

func TestParseTarget(t *testing.T) {
	for _, c := range []struct{ in, url, name, socket string }{
		{"http://127.0.0.1:8000", "http://127.0.0.1:8000/metrics", "http://127.0.0.1:8000/metrics", ""},
		{"127.0.0.1:8000", "http://127.0.0.1:8000/metrics", "http://127.0.0.1:8000/metrics", ""},
		{"localhost:8000/metrics/", "http://localhost:8000/metrics/", "http://localhost:8000/metrics/", ""},
		{"http://0.0.0.0:8000", "http://127.0.0.1:8000/metrics", "http://127.0.0.1:8000/metrics", ""},
		{"https://[::]:8443/m", "https://[::1]:8443/m", "https://[::1]:8443/m", ""},
		{"http://u:secret@h/metrics?token=abc", "http://u:secret@h/metrics?token=abc", "http://h/metrics?token=<redacted>", ""},
		{"unix:///run/vllm.sock", "http://localhost/metrics", "unix:///run/vllm.sock", "/run/vllm.sock"},
		{"unix://vllm.sock", "http://localhost/metrics", "unix://vllm.sock", "vllm.sock"},
	} {
		got, err := ParseTarget(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if got.URL.String() != c.url || got.Name() != c.name || got.Socket != c.socket {
			t.Errorf("%s: %s %s %q, want %s %s %q", c.in, got.URL, got.Name(), got.Socket, c.url, c.name, c.socket)
		}
	}
	for _, bad := range []string{"", "ftp://h/", "http://", "unix://", "http://h:port/", "http://u:se%zz@h"} {
		if got, err := ParseTarget(bad); err == nil {
			t.Errorf("%q is parsed as %s, want an error", bad, got.URL)
		} else if strings.Contains(err.Error(), "se%zz") {
			t.Errorf("%q: the error contains the password: %v", bad, err)
		}
	}
}
