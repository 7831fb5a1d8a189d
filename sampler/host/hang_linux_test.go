package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/sampler/internal/proctest"
	"github.com/vobs/vobs/schema"
)

// A FUSE file whose server hangs, as LXCFS's may, is given up, although a thread cannot be
// interrupted while it opens the file.
func TestFUSE(t *testing.T) {
	f := hostFixture(t)
	for _, name := range []string{"loadavg", "meminfo", "pressure/io"} {
		testkit.HangingFile(t, filepath.Join(f.Root, name))
	}
	began := time.Now()
	if avg, err := ReadLoadAvg(f.Root); err == nil {
		t.Errorf("load averages %v", avg)
	}
	s := Start(Config{ProcRoot: f.Root, CgroupRoot: f.Root, RootPID: proctest.VobsPID})
	s.CommandStarted()
	host, notes := s.Stop(time.Second)
	if took := time.Since(began); took > 2*readTimeout+stopTimeout+lastReadTimeout+slack {
		t.Errorf("it took %v", took)
	}
	nullsExplained(t, host, notes)
	for _, field := range []string{"host.memory_total_bytes", "host.tree_peak_rss_bytes", "host.pressure_some_seconds.io"} {
		if !slices.ContainsFunc(notes.Unavailable, func(u schema.Unavailable) bool {
			return u.Field == field && strings.Contains(u.Reason, "no response")
		}) {
			t.Errorf("%s: %v", field, notes.Unavailable)
		}
	}
	if host.CPUCount == nil || host.PressureSomeSeconds == nil || host.PressureSomeSeconds.CPU == nil {
		t.Errorf("what responds is missing: %+v", host)
	}
}

// If LXCFS hangs from the start, what sysinfo(2) has is not missing: the files are not opened.
func TestLXCFSHangs(t *testing.T) {
	proctest.NeedProc(t)
	const inside = "VOBS_TEST_LXCFS_HANGS"
	if os.Getenv(inside) == "" {
		file := filepath.Join(t.TempDir(), "file")
		testkit.HangingFile(t, file)
		script := "for f in loadavg meminfo stat; do mount --bind " + file + " /proc/$f || exit; done; exec '" + os.Args[0] + "' -test.run='^TestLXCFSHangs$' -test.v"
		cmd := exec.Command("unshare", "--mount", "sh", "-c", script)
		cmd.Env = append(os.Environ(), inside+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "PASS: TestLXCFSHangs") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if avg, err := ReadLoadAvg("/proc"); err != nil || avg == nil {
		t.Errorf("load averages %v, %v", avg, err)
	}
	s := Start(Config{})
	s.CommandStarted()
	testkit.Await(t, "the tree was read", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.samples.count >= 1
	})
	host, notes := s.Stop(time.Second)
	if host.MemoryTotalBytes == nil || host.CPUCount == nil {
		t.Errorf("%+v, %v", host, notes)
	}
	if hanging := bounded.Hanging(); len(hanging) > 0 {
		t.Errorf("hanging: %q", hanging)
	}
}
