package metrics

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"testing"
)

// The default bounds are those of a recorded page of vLLM 0.32, as far as it has the histogram.
func TestBucketFamilies(t *testing.T) {
	page, err := os.ReadFile("../../../testdata/expositions/serve_default_post.prom")
	if err != nil {
		t.Fatal(err)
	}
	for m := range NumMetrics {
		family, ok := m.BucketFamily()
		if !ok {
			continue
		}
		var bounds []float64
		prefix := []byte(m.CanonicalName() + "_bucket{")
		for line := range bytes.Lines(page) {
			_, after, found := bytes.Cut(line, []byte(`le="`))
			text, _, _ := bytes.Cut(after, []byte(`"`))
			if !found || !bytes.HasPrefix(line, prefix) || string(text) == "+Inf" {
				continue
			}
			x, err := strconv.ParseFloat(string(text), 64)
			if err != nil {
				t.Fatal(err)
			}
			bounds = append(bounds, x)
		}
		want := family.Defaults
		if family.Key == "request_tokens" { // the page ends at the model's length
			want = want[:len(bounds)]
		}
		if family.Key == "kv_cache_residency" && len(bounds) == 0 { // exported with --kv-cache-metrics only
			continue
		}
		if !slices.Equal(bounds, want) || len(bounds) == 0 {
			t.Errorf("%s, of %s, has the bounds %v, want %v", m.CanonicalName(), family.Key, bounds, want)
		}
	}
	if _, ok := KVCacheUsage.BucketFamily(); ok {
		t.Error("a gauge has buckets")
	}
}
