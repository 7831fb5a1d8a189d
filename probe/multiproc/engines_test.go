package multiproc

import (
	"testing"
)

// fakeEngines names an engine by the tens of its process's identifier.
type fakeEngines struct{ ended map[string]bool }

func (fakeEngines) Of(process, _ string) string {
	if len(process) < 2 {
		return ""
	}
	return process[:len(process)-1]
}

func (f fakeEngines) Ended(engine string) bool { return f.ended[engine] }

// Of several engines that write the same gauge, a page has each one's; of several processes of
// one engine, the most recent.
func TestEngines(t *testing.T) {
	dir := t.TempDir()
	gauge := func(process string, value, stamp float64) {
		newDB().raw(`["g", "g", {"engine": "0"}, ""]`, value, stamp).write(t, dir+"/gauge_mostrecent_"+process+".db")
	}
	engines := fakeEngines{map[string]bool{}}
	r := New(dir, nil)
	r.SetEngines(engines)
	check := func(step string, want ...float64) {
		t.Helper()
		page := read(t, r, true)
		var got []float64
		labels := map[string]bool{}
		for _, s := range page.Samples {
			got = append(got, s.Value)
			labels[s.Labels.Key()] = true
			if s.Labels.Get("engine") != "0" {
				t.Errorf("%s: labels %s", step, s.Labels.Key())
			}
		}
		if len(got) != len(want) || len(labels) != len(want) {
			t.Fatalf("%s: %v, want %v; labels %v", step, got, want, labels)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: %v, want %v", step, got, want)
			}
		}
	}
	gauge("11", 4, 100)
	check("one process", 4)
	gauge("12", 5, 101)
	check("two of one engine", 5)
	gauge("21", 3, 99)
	check("another engine", 5, 3)
	gauge("11", 6, 102)
	check("the first one's is the most recent", 6, 3)
	gauge("7", 9, 200) // a process that is unknown
	check("an unknown process", 6, 3)
	engines.ended["1"] = true
	check("the first engine has ended", 3)
	engines.ended["2"] = true
	check("both have ended: as the collector", 9)
	r = New(dir, nil)
	check("not distinguished", 9)
	if got := flat(t, read(t, r, true)); len(got) != 1 {
		t.Errorf("%v", got)
	}
}
