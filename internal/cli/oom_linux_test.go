package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/schema"
)

// memoryCgroup makes a cgroup that allows 32 MiB of memory and is not below that of this process. It
// skips the test if that is not possible, or if the kernel's log cannot be read.
func memoryCgroup(t *testing.T) string {
	t.Helper()
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("SKIPPED: the kernel's log cannot be read: run the test as root, with /dev/kmsg: %v", err)
	}
	unix.Close(fd)
	if namespace, _ := os.Readlink("/proc/self/ns/pid"); namespace != "pid:[4026531836]" {
		t.Skip("SKIPPED: this is not the initial pid namespace: run the test outside of a container")
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	var errs []error
	for _, c := range []struct{ parent, own, limit, swapLimit, swap string }{
		{"/sys/fs/cgroup/memory", ":memory:/", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "33554432"},
		{"/sys/fs/cgroup", "0::/", "memory.max", "memory.swap.max", "0"},
	} {
		if regexp.MustCompile(`(?m)^\d*` + c.own + `$`).Match(own) {
			errs = append(errs, fmt.Errorf("the cgroup of this process is the root of %s", c.parent))
			continue
		}
		dir := filepath.Join(c.parent, fmt.Sprintf("vobs-test-oom-%d-%s", os.Getpid(), strings.ReplaceAll(filepath.Base(t.Name()), " ", "-")))
		if err := os.Mkdir(dir, 0o755); err != nil {
			errs = append(errs, err)
			continue
		}
		t.Cleanup(func() {
			eventually(t, func() error { return os.Remove(dir) }) // busy while a process is ending
		})
		err := setLimit(dir, c.limit, "33554432")
		if err == nil {
			_ = setLimit(dir, c.swapLimit, c.swap) // there may be no swap to limit
			return dir
		}
		errs = append(errs, err)
	}
	t.Skipf("SKIPPED: no cgroup with a limit on memory can be made: run the test as root, where /sys/fs/cgroup is writable: %v", errors.Join(errs...))
	return ""
}

// setLimit sets a limit of a cgroup, if the directory is one.
func setLimit(cgroup, name, value string) error {
	f, err := os.OpenFile(filepath.Join(cgroup, name), os.O_WRONLY, 0) // never creates a file
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// A process that the kernel kills for lack of memory in another cgroup is noted by the kernel's log, if
// the command failed.
func TestOOMInAnotherCgroup(t *testing.T) {
	t.Parallel()
	const victim = "within cgroup=%s sh -c 'ulimit -v 1048576; sleep 1; exec tail /dev/zero'"
	for name, c := range map[string]struct {
		command string
		noted   bool
	}{
		"the command":                {"exec " + victim, true},
		"a child":                    {victim + "; exit 3", true},
		"a child that is not missed": {victim + "; exit 0", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cgroup := memoryCgroup(t)
			cmd := exec.CommandContext(t.Context(), "vobs", "run", "-v", "-o", "e.json", "--", "sh", "-c", fmt.Sprintf(c.command, cgroup))
			cmd.Dir = t.TempDir()
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			_ = cmd.Run() // it ends as the command does
			out, err := os.ReadFile(filepath.Join(cmd.Dir, "e.json"))
			var e schema.GenerationObservability
			if err = errors.Join(err, json.Unmarshal(out, &e)); err != nil {
				t.Fatalf("%v\n%s", err, stderr.String())
			}
			got := strings.Join(doubts(e, schema.CodeOOMKilled), "\n")
			if want := regexp.MustCompile(`^the kernel killed a process of the command for lack of memory, as its log shows: \d+ \(tail\)$`); want.MatchString(got) != c.noted || !c.noted && got != "" {
				t.Errorf("%q\n%s\n%s", got, testkit.JSON(e.Run), stderr.String())
			}
		})
	}
}
