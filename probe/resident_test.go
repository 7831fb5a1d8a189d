package probe

import (
	"testing"
	"time"

	"github.com/vobs/vobs/internal/curve"
	"github.com/vobs/vobs/internal/testkit"
)

// The memory of the API servers is that of whole pages, because polls do not request it. While a
// server is down it is unknown.
func TestResidentMemory(t *testing.T) {
	const name = "engine.process_resident_memory_bytes"
	servers := [...]string{"serve_default_pre", "serve_ngram_pre"}
	page := func(server int, bytes string) string {
		return testkit.ReplaceLines(t, testkit.Recorded(t, servers[server]), "process_resident_memory_bytes", "process_resident_memory_bytes "+bytes+"\n")
	}
	pl := newPlayer(t, target(t, "http://10.0.0.1:8000"), target(t, "http://10.0.0.2:8000"))
	recorded := map[string][]float64{}
	pl.p.cfg.Record = func(r curve.Reading) {
		if r.Name == name {
			recorded[r.Endpoint] = append(recorded[r.Endpoint], r.Value)
		}
	}
	gauges := pl.p.gauges[pl.p.endpoints[0].target.Origin]
	gauges.Start(pl.began)
	for i, bytes := range []string{"1e9", "3e9"} {
		pl.at(-0.1, i, phaseBefore, true, page(i, bytes))
		pl.at(0.1, i, phaseDuring, true, page(i, bytes))
	}
	for i, bytes := range []string{"1.5e9", "3.5e9"} {
		pl.at(1, i, phaseDuring, false, page(i, bytes))
		pl.at(5.1, i, phaseDuring, true, page(i, bytes))
	}
	down := pl.began.Add(6 * time.Second)
	for i := range servers {
		gauges.Clear(i, down)
		pl.at(10, i, phaseAfter, true, page(i, "2e9"))
	}
	gauges.End(pl.began.Add(9 * time.Second))
	for endpoint, want := range map[string][3]float64{"http://10.0.0.1:8000/metrics": {1e9, 1e9, 1.5e9}, "http://10.0.0.2:8000/metrics": {3e9, 3e9, 3.5e9}} {
		if got := recorded[endpoint]; len(got) != 4 || [3]float64(got) != want {
			t.Errorf("%s: recorded %v, want %v and the last page", endpoint, got, want)
		}
	}
	found := false
	for _, f := range pl.report(9).Curves {
		if f.Name != name {
			continue
		}
		found = true
		for i, s := range f.Slots(curve.Shortest, 36) {
			want := map[int]float64{0: 4e9, 20: 5e9}[i]
			if s.Mean != want || s.Max != want {
				t.Errorf("slot %d: %+v, want %v", i, s, want)
			}
		}
	}
	if !found {
		t.Error("there is no curve")
	}
}
