package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/sampler/internal/proctest"
	"github.com/vobs/vobs/sampler/proc"
	"github.com/vobs/vobs/schema"
)

func TestLoadsOf(t *testing.T) {
	if got := *loadsOf(&unix.Sysinfo_t{Loads: [3]uint64{1 << 16, 3 << 15, 682}}); got != (schema.LoadAvg{1, 1.5, 0.01}) {
		t.Errorf("%v", got)
	}
}

// In a container with LXCFS, files that describe the container are mounted over the kernel's:
// the event still has the host's figures.
func TestLXCFS(t *testing.T) {
	proctest.NeedProc(t)
	const inside = "VOBS_TEST_LXCFS"
	if os.Getenv(inside) == "" {
		dir := t.TempDir()
		var script strings.Builder
		for name, text := range map[string]string{
			"loadavg": "99.01 98.02 97.03 1/2 3\n",
			"meminfo": "MemTotal:        1024 kB\n",
			"stat":    strings.Repeat("cpu77 1 2 3 4\n", 1),
		} {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			script.WriteString("mount --bind " + path + " /proc/" + name + " && ")
		}
		const allowed = "mounts are allowed"
		script.WriteString("echo " + allowed + " && exec '" + os.Args[0] + "' -test.run='^TestLXCFS$'")
		cmd := exec.Command("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script.String())
		if os.Getuid() == 0 {
			cmd = exec.Command("unshare", "--mount", "sh", "-c", script.String())
		}
		cmd.Env = append(os.Environ(), inside+"=1")
		out, err := cmd.CombinedOutput()
		if !strings.Contains(string(out), allowed) {
			t.Skipf("SKIPPED: files cannot be mounted over /proc here; run it as root, or allow user namespaces: %v\n%s", err, out)
		}
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	avg, err := ReadLoadAvg("/proc")
	if err != nil || avg[0] == 99.01 || avg[2] == 97.03 {
		t.Errorf("load %v, %v", avg, err)
	}
	memory, err := readMemory("/proc")
	if err != nil || memory <= 1<<20 {
		t.Errorf("memory %d, %v", memory, err)
	}
	cpus, err := readCPUs("/proc")
	if err != nil && !strings.Contains(err.Error(), "LXCFS") {
		t.Errorf("CPUs %d, %v", cpus, err)
	}
	if want, ok := hostCPUs(); ok && cpus != want {
		t.Errorf("CPUs %d, want %d", cpus, want)
	}
	for _, name := range []string{"loadavg", "meminfo", "stat"} {
		if !proc.Overlaid("/proc", name) || proc.Overlaid("/proc", "version") {
			t.Errorf("a file is mounted over %s, and over no other", name)
		}
	}
}

// Where nothing is mounted over them, the kernel's files are read.
func TestNoLXCFS(t *testing.T) {
	proctest.NeedProc(t)
	for _, name := range []string{"loadavg", "meminfo", "stat"} {
		if proc.Overlaid(t.TempDir(), name) {
			t.Errorf("%s of a fixture", name)
		}
	}
}
