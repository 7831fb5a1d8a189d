package observe

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/sampler/proc"
)

// The directory that an engine's process was given is found in its environment, once;
// its counters count from zero unless somebody wrote there before the run.
func TestFilesOfAnEngine(t *testing.T) {
	procRoot := t.TempDir()
	environ := func(pid, env string) {
		if err := os.Mkdir(filepath.Join(procRoot, pid), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(procRoot, pid, "environ"), []byte(env), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	started := time.Now()
	fresh, old := t.TempDir(), t.TempDir()
	for dir, at := range map[string]time.Time{fresh: started.Add(time.Second), old: started.Add(-time.Second)} {
		name := filepath.Join(dir, "counter_7.db")
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
	}
	environ("7", "HOME=/root\x00PROMETHEUS_MULTIPROC_DIR="+fresh+"\x00")
	environ("8", "PROMETHEUS_MULTIPROC_DIR="+old)
	environ("9", "PROMETHEUS_MULTIPROC_DIR=relative\x00PROMETHEUS_MULTIPROC_DIRS=/x")
	environ("10", "")
	find := func(files bool) map[string]bool {
		prober := probe.New(probe.Config{})
		f := newFinder(procRoot, nil, prober)
		f.files, f.started = files, started
		for _, pid := range []int{7, 7, 8, 9, 10, 11} {
			f.addFiles(proc.Process{PID: pid})
		}
		found := map[string]bool{}
		for _, t := range prober.Targets() {
			found[t.Dir] = t.Started
		}
		return found
	}
	found := find(true)
	if isFresh, ok := found[fresh]; !ok || !isFresh {
		t.Errorf("the fresh directory: %v", found)
	}
	if isFresh, ok := found[old]; !ok || isFresh {
		t.Errorf("the directory with files of before: %v", found)
	}
	if len(found) != 2 {
		t.Errorf("found %v", found)
	}
	if found := find(false); len(found) != 0 {
		t.Errorf("--multiproc off found %v", found)
	}
}

// The command gets the directory by one entry, also where it had an empty one, which
// getenv would find first.
func TestFilesInTheEnvironment(t *testing.T) {
	b := &bracket{env: []string{"A=1", "PROMETHEUS_MULTIPROC_DIR=", "B=2"}, filesDir: "/made"}
	if got := b.commandEnv(); !slices.Equal(got, []string{"A=1", "B=2", "PROMETHEUS_MULTIPROC_DIR=/made"}) {
		t.Errorf("%q", got)
	}
	b.filesDir = ""
	if got := b.commandEnv(); !slices.Equal(got, b.env) {
		t.Errorf("without one: %q", got)
	}
}
