package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prom2json"
)

// `vobs scrape` prints what prom2json prints, family by family.
func TestScrapeIsProm2JSON(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "expositions", "*.prom"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded expositions: %v", err)
	}
	compared := 0
	for _, file := range files {
		page, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(bytes.NewReader(page))
		if err != nil {
			continue // not in the text format
		}
		compared++
		want := map[string]any{}
		for name, family := range families {
			b, err := json.Marshal(prom2json.NewFamily(family))
			if err != nil {
				t.Fatal(err)
			}
			var v any
			if err := json.Unmarshal(b, &v); err != nil {
				t.Fatal(err)
			}
			want[name] = v
		}
		var list []map[string]any
		if err := json.Unmarshal(runVobs(t, ".", nil, "scrape", file), &list); err != nil {
			t.Fatal(err)
		}
		got := map[string]any{}
		for _, family := range list {
			got[family["name"].(string)] = any(family)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-prom2json +vobs)\n%s", filepath.Base(file), diff)
		}
	}
	if compared == 0 {
		t.Error("no exposition in the text format")
	}
}
