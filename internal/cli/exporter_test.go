package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/schema"
)

// A dcgm-exporter given by --metrics-url has the activity of the GPUs whose performance counters NVML
// does not report. It is not an engine.
func TestExporter(t *testing.T) {
	t.Parallel()
	const script = `
device 0
uuid GPU-00000000-aaaa
process pid=child mem=2GiB
device 1
uuid GPU-00000000-bbbb
sm_active 0.9
sm_occupancy 0.2
tensor_active 0.4
dram_active 0.5
device 2
uuid GPU-00000000-cccc
`
	library := fakeNVML(t)
	for name, withEngine := range map[string]bool{"alone": false, "with an engine": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "gpu"), []byte(script), 0o666); err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			polls := 0
			exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				polls++
				for _, field := range []string{"SM_ACTIVE", "SM_OCCUPANCY", "PIPE_TENSOR_ACTIVE", "DRAM_ACTIVE"} {
					fmt.Fprintf(w, "# TYPE DCGM_FI_PROF_%s gauge\n", field)
					for i, uuid := range []string{"GPU-00000000-aaaa", "GPU-00000000-bbbb"} {
						fmt.Fprintf(w, "DCGM_FI_PROF_%s{gpu=\"%d\",UUID=%q,device=\"nvidia%[2]d\",modelName=\"Simulated GPU\",Hostname=\"host1\"} %.6[4]f\n", field, i, uuid, 0.25+0.5*float64(polls%2))
					}
				}
				if polls == 8 { // the first one before the start, and the second one's time began there
					if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o666); err != nil {
						t.Error(err)
					}
				}
			}))
			defer exporter.Close()
			flags := []string{"run", "--strict", "--metrics-url", exporter.URL}
			if withEngine {
				flags = append(flags, "--metrics-url", newPageServer(t, recorded(t, "serve_default_pre")).listen())
			}
			out := runVobs(t, dir, []string{"LD_LIBRARY_PATH=" + library, "FAKE_NVML_SCRIPT=" + filepath.Join(dir, "gpu")},
				append(flags, "--", "sh", "-c", "until [ -e go ]; do sleep 0.05; done")...)
			var e schema.GenerationObservability
			if err := json.Unmarshal(out, &e); err != nil {
				t.Fatal(err)
			}
			if problems := schema.Validate(out, schema.Options{Strict: true}); problems != nil {
				t.Errorf("%v", problems)
			}
			if (e.Engine != nil) != withEngine {
				t.Errorf("engine: %s", testkit.JSON(e.Engine))
			}
			for _, v := range e.Validity {
				if v.Code == schema.CodeEndpointNotRead || strings.Contains(v.Message, exporter.URL) {
					t.Errorf("%s: %s", v.Code, v.Message)
				}
			}
			for i, want := range []string{"dcgm", "nvml_gpm", ""} {
				g := e.GPUs[i]
				source := ""
				if g.ActivitySource != nil {
					source = *g.ActivitySource
				}
				if source != want {
					t.Errorf("GPU %d: the source is %q, want %q", i, source, want)
				}
				for field, got := range map[string]*schema.MeanMax{"sm_active": g.SMActive, "sm_occupancy": g.SMOccupancy, "tensor_active": g.TensorActive, "dram_active": g.DRAMActive} {
					switch {
					case want == "" && got == nil:
					case want == "nvml_gpm" && got != nil && got.Max != 0.75:
					case want == "dcgm" && got != nil && got.Max == 0.75 && got.Mean > 0.3 && got.Mean < 0.7: // half of the time each, give or take a pause of the machine
					default:
						t.Errorf("GPU %d: %s is %+v", i, field, got)
					}
				}
			}
			for _, u := range e.Unavailable {
				if u.Field == "gpus.2.sm_active" && !strings.HasSuffix(u.Reason, "; the dcgm-exporter at "+exporter.URL+"/metrics: it does not have this GPU") {
					t.Errorf("the reason of %s is %q", u.Field, u.Reason)
				}
				if !strings.HasPrefix(u.Field, "gpus.2.") && strings.Contains(u.Reason, exporter.URL) {
					t.Errorf("the reason of %s is %q", u.Field, u.Reason)
				}
			}
			if t.Failed() {
				io.WriteString(t.Output(), testkit.JSON(e))
			}
		})
	}
}
