package probe

import (
	"context"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/probe/dcgm"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/schema"
)

// fakeExporter serves pages as a dcgm-exporter does: of one GPU, GPU-a, whose values are updated at an
// interval.
type fakeExporter struct {
	network  *pipeNetwork
	server   *http.Server
	interval time.Duration
	value    func(update int) float64
	// page, if set, replaces the page at a time.
	page func(at time.Duration) (text string, replaced bool)

	mu    sync.Mutex
	began time.Time
	paths []string // requested, but for the page
	polls []time.Duration
}

func startExporter(interval time.Duration, value func(update int) float64) *fakeExporter {
	x := &fakeExporter{network: newPipeNetwork(), interval: interval, value: value, began: time.Now()}
	x.server = &http.Server{Handler: x, ErrorLog: log.New(io.Discard, "", 0)}
	go x.server.Serve(x.network)
	return x
}

func (x *fakeExporter) close() {
	x.network.Close()
	x.server.Close()
}

func (x *fakeExporter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x.mu.Lock()
	at := time.Since(x.began)
	if r.URL.Path == "/metrics" {
		x.polls = append(x.polls, at)
	} else {
		x.paths = append(x.paths, r.URL.Path)
	}
	x.mu.Unlock()
	if x.page != nil {
		if text, ok := x.page(at); ok {
			io.WriteString(w, text)
			return
		}
	}
	io.WriteString(w, exporterPage(x.value(int(at/x.interval))))
}

// exporterPage is a page with this SM_ACTIVE, half of it as DRAM_ACTIVE, no TENSOR_ACTIVE, and a blank
// SM_OCCUPANCY.
func exporterPage(v float64) string {
	const labels = `gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA A100-SXM4-80GB",Hostname="host1"`
	return fmt.Sprintf(`# HELP DCGM_FI_DEV_GPU_TEMP GPU temperature (in C).
# TYPE DCGM_FI_DEV_GPU_TEMP gauge
DCGM_FI_DEV_GPU_TEMP{%[1]s} 61
# TYPE DCGM_FI_PROF_SM_ACTIVE gauge
DCGM_FI_PROF_SM_ACTIVE{%[1]s} %.6[2]f
# TYPE DCGM_FI_PROF_SM_OCCUPANCY gauge
DCGM_FI_PROF_SM_OCCUPANCY{%[1]s} 140737488355328.000000
# TYPE DCGM_FI_PROF_DRAM_ACTIVE gauge
DCGM_FI_PROF_DRAM_ACTIVE{%[1]s} %.6[3]f
`, labels, v, v/2)
}

// dialBy returns a dial function that connects to the network of the address's port.
func dialBy(networks map[string]*pipeNetwork) scrape.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		return networks[address[strings.LastIndex(address, ":")+1:]].dial(ctx, network, address)
	}
}

// checkExporterNotes checks that an exporter is in no note and reason about engines.
func checkExporterNotes(t *testing.T, out aggregate.Output) {
	t.Helper()
	for _, v := range out.Notes.Validity {
		if v.Code == schema.CodeEndpointNotRead || strings.Contains(v.Message, ":9400") {
			t.Errorf("%s: %s", v.Code, v.Message)
		}
	}
	for _, u := range out.Notes.Unavailable {
		if strings.Contains(u.Reason, ":9400") {
			t.Errorf("%s: %s", u.Field, u.Reason)
		}
	}
}

func mean(values []float64) (sum float64) {
	for _, v := range values {
		sum += v / float64(len(values))
	}
	return sum
}

// A dcgm-exporter's figures are the mean and the maximum of its updates within the run. It is not
// an engine, whether there is one or not, and is scraped once a second.
func TestExporter(t *testing.T) {
	value := func(update int) float64 { return 0.1 + 0.01*float64(update%50) }
	for name, c := range map[string]struct {
		interval time.Duration
		length   time.Duration
		engine   bool
		cfg      Config
		reason   string // for no figure
		// missed is how many updates may be missed besides the first.
		missed int
	}{
		"alone":                 {interval: time.Second, length: 20 * time.Second, missed: 1},
		"with an engine":        {interval: time.Second, length: 20 * time.Second, engine: true, missed: 1},
		"dense polls":           {interval: time.Second, length: 20 * time.Second, engine: true, cfg: Config{Interval: 20 * time.Millisecond}, missed: 1},
		"by default every 30 s": {interval: 30 * time.Second, length: 10 * time.Minute, missed: 0},
		"a short run":           {interval: 30 * time.Second, length: time.Minute, reason: "the dcgm-exporter at http://127.0.0.1:9400/metrics: 1 of its updates of DCGM_FI_PROF_SM_ACTIVE lie within the run, and 3 are needed"},
		"a second":              {interval: time.Second, length: time.Second, reason: "0 of its updates of DCGM_FI_PROF_SM_ACTIVE"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := startExporter(c.interval, value)
				defer x.close()
				time.Sleep(c.interval / 2)
				networks := map[string]*pipeNetwork{"9400": x.network}
				c.cfg.Dial = dialBy(networks)
				p := New(c.cfg)
				p.Add(target(t, "http://127.0.0.1:9400"))
				if c.engine {
					engine := newReplay(t, testkit.Recorded(t, "serve_default_pre"))
					networks["8000"] = newPipeNetwork()
					server := &http.Server{Handler: engine, ErrorLog: log.New(io.Discard, "", 0)}
					go server.Serve(networks["8000"])
					defer server.Close()
					defer networks["8000"].Close()
					p.Add(target(t, "http://127.0.0.1:8000"))
				}
				p.ScrapeBaseline(context.Background())
				started := time.Now()
				p.Start(started)
				time.Sleep(c.length)
				ended := time.Now()
				if got := len(p.Targets()); got != 0 && !c.engine || got != 1 && c.engine {
					t.Errorf("%d targets may be engines", got)
				}
				out := p.Finish(context.Background(), ended)
				checkExporterNotes(t, out)
				if (out.Engine != nil) != c.engine {
					t.Errorf("engine: %s", testkit.JSON(out.Engine))
				}
				x.mu.Lock()
				defer x.mu.Unlock()
				if len(x.paths) > 0 {
					t.Errorf("requests for %q", x.paths)
				}
				polls := slices.DeleteFunc(slices.Clone(x.polls), func(at time.Duration) bool { at -= c.interval / 2; return at <= 0 || at > c.length })
				for i := 1; i < len(polls); i++ {
					if gap := polls[i] - polls[i-1]; gap < time.Second || gap > 1250*time.Millisecond {
						t.Errorf("polls %v apart", gap)
					}
				}
				a := p.GPUActivity("GPU-a", ended)
				if a == nil {
					t.Fatal("no exporter")
				}
				got := a.Figures[dcgm.SMActive]
				if c.reason != "" {
					if got != nil || !strings.Contains(a.Reasons[dcgm.SMActive], c.reason) {
						t.Errorf("%+v, %q, want %q", got, a.Reasons[dcgm.SMActive], c.reason)
					}
					return
				}
				var want []float64 // of the updates that cover time of the run only
				for u := 2; time.Duration(u)*c.interval-c.interval/2 <= c.length; u++ {
					want = append(want, value(u))
				}
				if got == nil || math.Abs(float64(got.Mean)-mean(want)) > 0.01*float64(c.missed)+1e-9 || math.Abs(float64(got.Max)-slices.Max(want)) > 0.01*float64(c.missed)+1e-9 {
					t.Fatalf("%+v, want %v, %v: %s", got, mean(want), slices.Max(want), a.Reasons[dcgm.SMActive])
				}
				if dram := a.Figures[dcgm.DRAMActive]; dram == nil || math.Abs(float64(dram.Mean-got.Mean/2)) > 1e-6 {
					t.Errorf("DRAM: %+v, %s", dram, a.Reasons[dcgm.DRAMActive])
				}
				for f, want := range map[dcgm.Figure]string{
					dcgm.SMOccupancy:  "is not a fraction, or differs between series: 1.40737488355328e+14",
					dcgm.TensorActive: "its page has no DCGM_FI_PROF_PIPE_TENSOR_ACTIVE of this GPU: enable it",
				} {
					if a.Figures[f] != nil || !strings.Contains(a.Reasons[f], want) {
						t.Errorf("%s: %+v, %q, want %q", f.Name(), a.Figures[f], a.Reasons[f], want)
					}
				}
				if other := p.GPUActivity("GPU-b", ended); !strings.HasSuffix(other.Reasons[0], ": it does not have this GPU") {
					t.Errorf("GPU-b: %+v", other)
				}
			})
		})
	}
}

// An exporter that does not answer for a while, or comes up late, counts for as long as it answers. Its
// failures are not an engine's.
func TestExporterFaults(t *testing.T) {
	const other = "# TYPE DCGM_FI_DEV_GPU_TEMP gauge\nDCGM_FI_DEV_GPU_TEMP{gpu=\"0\",UUID=\"GPU-a\"} 61\n"
	for name, c := range map[string]struct {
		page   func(at time.Duration) (string, bool)
		reason string
	}{
		"no figures for a while": {page: func(at time.Duration) (string, bool) { return other, at > 5*time.Second && at < 9*time.Second }},
		"an empty page":          {page: func(at time.Duration) (string, bool) { return "", at > 5*time.Second && at < 9*time.Second }},
		"a cut page": {page: func(at time.Duration) (string, bool) {
			return other + "DCGM_FI_PROF_SM_ACTIVE{", at > 5*time.Second && at < 9*time.Second
		}},
		"late": {page: func(at time.Duration) (string, bool) { return other, at < 4*time.Second }},
		"ends": {page: func(at time.Duration) (string, bool) { return other, at > 7*time.Second }, reason: "its updates of DCGM_FI_PROF_SM_ACTIVE cover"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := startExporter(time.Second, func(update int) float64 { return 0.1 + 0.01*float64(update) })
				defer x.close()
				x.page = c.page
				p := New(Config{Dial: x.network.dial})
				p.Add(target(t, "http://127.0.0.1:9400"))
				p.ScrapeBaseline(context.Background())
				p.Start(time.Now())
				time.Sleep(20 * time.Second)
				ended := time.Now()
				out := p.Finish(context.Background(), ended)
				checkExporterNotes(t, out)
				x.mu.Lock()
				defer x.mu.Unlock()
				// Until the first figures it may be vLLM without statistics.
				if len(x.paths) > 0 && name != "late" {
					t.Errorf("requests for %q", x.paths)
				}
				a := p.GPUActivity("GPU-a", ended)
				got := a.Figures[dcgm.SMActive]
				if (got == nil) != (c.reason != "") || !strings.Contains(a.Reasons[dcgm.SMActive], c.reason) {
					t.Errorf("%+v, %q, want %q", got, a.Reasons[dcgm.SMActive], c.reason)
				}
				if got != nil && (got.Mean < 0.18 || got.Mean > 0.26 || got.Max < 0.28 || got.Max > 0.3) {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

// Only an address that the user gave is taken for an exporter, and --strict accepts it.
func TestWhatIsAnExporter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := startExporter(time.Second, func(int) float64 { return 0.5 })
		defer x.close()
		given := target(t, "http://127.0.0.1:9400")
		if err := Check(context.Background(), Config{Dial: x.network.dial}, given); err != nil {
			t.Errorf("--strict: %v", err)
		}
		found := given
		found.Origin = scrape.FromTree
		if err := Check(context.Background(), Config{Dial: x.network.dial}, found); err == nil || !strings.Contains(err.Error(), "exports no vllm: samples") {
			t.Errorf("an address that was found: %v", err)
		}

		// A page with samples of both is an engine's.
		x.page = func(time.Duration) (string, bool) {
			return testkit.Recorded(t, "serve_default_pre") + exporterPage(0.5), true
		}
		p := New(Config{Dial: x.network.dial})
		p.Add(given)
		p.ScrapeBaseline(context.Background())
		p.Start(time.Now())
		time.Sleep(5 * time.Second)
		if out := p.Finish(context.Background(), time.Now()); out.Engine == nil || p.GPUActivity("GPU-a", time.Now()) != nil {
			t.Errorf("%s", testkit.JSON(out.Engine))
		}
	})
}
