package observe

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/vobs/vobs/sampler/proc"
)

// A process is an engine if it has its file open.
func TestFileEngines(t *testing.T) {
	if _, err := proc.Read("/proc", os.Getpid()); err != nil {
		t.Skip("SKIPPED: no /proc: ", err)
	}
	dir, pid := t.TempDir(), strconv.Itoa(os.Getpid())
	name := "gauge_mostrecent_" + pid + ".db"
	e := fileEngines{"/proc", dir}
	if got := e.Of(pid, name); got != "" {
		t.Errorf("without a file: %q", got)
	}
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := e.Of(pid, name); got != pid {
		t.Errorf("with the file open: %q, want %q", got, pid)
	}
	for _, other := range []string{"1", "host_1", "0"} {
		if got := e.Of(other, name); got != "" {
			t.Errorf("process %s: %q", other, got)
		}
	}
	if e.Ended(pid) || !e.Ended("999999999") {
		t.Error("this process has ended, or one that does not exist has not")
	}
}
