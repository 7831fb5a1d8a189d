package spelling

import (
	"slices"
	"strings"
	"testing"
)

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"run", "run", 0}, {"rnu", "run", 1}, {"ru", "run", 1}, {"runn", "run", 1}, {"ran", "run", 1}, {"abc", "xyz", 3}, {"", "abc", 3},
	} {
		if got := Distance(c.a, c.b); got != c.want {
			t.Errorf("Distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
		if got := Distance(c.b, c.a); got != c.want {
			t.Errorf("Distance(%q, %q) = %d, want %d", c.b, c.a, got, c.want)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"ttft", "itl", "peak_vram", "peak_vram_gb", "gpus.*.peak_bytes", "gpus.*.job_peak_bytes", "engine.tokens.prompt"}
	for _, c := range []struct {
		word string
		n    int
		want []string
	}{
		{"tttf", 3, []string{"ttft"}},
		{"peak_bytes", 3, []string{"gpus.*.peak_bytes"}},
		{"peak", 3, []string{"peak_vram", "peak_vram_gb"}},
		{"peak", 1, []string{"peak_vram"}},
		{"gpus.peak_bytes", 3, []string{"gpus.*.peak_bytes"}},
		{"engine.token.prompt", 3, []string{"engine.tokens.prompt"}},
		{"nothing_like_it", 3, nil},
		{strings.Repeat("x", 1_000_000), 3, nil}, // without comparing its letters
		{"", 3, nil},
	} {
		if got := Nearest(c.word, names, c.n); !slices.Equal(got, c.want) {
			t.Errorf("Nearest(%q, %d) = %q, want %q", c.word, c.n, got, c.want)
		}
	}
}
