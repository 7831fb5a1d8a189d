package child

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// maskMain blocks a few signals and executes its arguments.
func maskMain() {
	runtime.LockOSThread()
	var set unix.Sigset_t
	for _, sig := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGTERM, syscall.SIGWINCH} {
		set.Val[0] |= 1 << (uint(sig) - 1)
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil); err != nil {
		panic(err)
	}
	path, err := exec.LookPath(os.Args[1])
	if err != nil {
		panic(err)
	}
	panic(syscall.Exec(path, os.Args[1:], os.Environ()))
}

// state returns what a process finds when it starts: of /proc/self/status the lines that
// are the same for all processes, the limits, and of /proc/self/stat group, session,
// terminal, foreground group, priority and nice value.
func state(t *testing.T, text string) []string {
	t.Helper()
	var got []string
	for _, line := range strings.Split(text, "\n") {
		key, _, _ := strings.Cut(line, ":")
		switch key {
		case "Umask", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "SigCgt", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb",
			"NoNewPrivs", "Seccomp", "Cpus_allowed", "Mems_allowed", "THP_enabled", "SigPnd", "ShdPnd":
			got = append(got, line)
		}
		if strings.HasPrefix(line, "Max ") {
			got = append(got, line)
		}
		if i := strings.LastIndex(line, ") "); i > 0 && len(strings.Fields(line)) > 40 {
			f := strings.Fields(line[i+2:])
			got = append(got, "stat "+strings.Join([]string{f[2], f[3], f[4], f[5], f[15], f[16], f[37], f[38]}, " "))
		}
	}
	if len(got) < 30 {
		t.Fatalf("only %d facts in:\n%s", len(got), text)
	}
	return got
}

// shows looks for a line in a state. Of a signal mask the line's bits must be set: the
// machine that runs the tests may ignore other signals too.
func shows(t *testing.T, state []string, line string) bool {
	t.Helper()
	name, mask, _ := strings.Cut(line, ":\t")
	if !strings.HasPrefix(name, "Sig") {
		return slices.Contains(state, line)
	}
	bits, err := strconv.ParseUint(mask, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(state, func(have string) bool {
		haveName, haveMask, _ := strings.Cut(have, ":\t")
		haveBits, err := strconv.ParseUint(haveMask, 16, 64)
		return haveName == name && err == nil && haveBits&bits == bits
	})
}

// TestCommandStartsInTheSameState compares the state in which a command starts under
// vobs with the state without vobs.
func TestCommandStartsInTheSameState(t *testing.T) {
	t.Parallel()
	mask := program("vobs-mask")
	cases := map[string]struct {
		prepare string // shell code, before exec
		through []string
		cgo     bool   // needs the C part
		has     string // a line that shows that prepare had an effect
	}{
		"plain":        {has: "SigIgn:\t0000000000000000"},
		"nohup":        {prepare: "trap '' HUP", has: "SigIgn:\t0000000000000001"},
		"background":   {prepare: "trap '' INT", has: "SigIgn:\t0000000000000002"},
		"ignored":      {prepare: "trap '' QUIT TERM PIPE", cgo: true, has: "SigIgn:\t0000000000005004"},
		"ignored more": {prepare: "trap '' HUP INT USR1 USR2 ALRM WINCH TSTP TTIN TTOU", cgo: true, has: "SigIgn:\t0000000008382a03"},
		"masked":       {through: []string{mask}, cgo: true, has: "SigBlk:\t0000000008004200"},
		"limits":       {prepare: "ulimit -Sn 203; ulimit -Sc 0; umask 027; cd /proc", has: "Umask:\t0027"},
	}
	for name, c := range cases {
		if c.cgo && !senderKnown {
			t.Logf("SKIPPED %s: needs cgo: run with CGO_ENABLED=1 and a C compiler", name)
			continue
		}
		dir := t.TempDir()
		run := func(driver []string, command ...string) string {
			t.Helper()
			if c.prepare == "" {
				c.prepare = ":"
			}
			args := append([]string{"-c", c.prepare + `; exec 7</dev/null; exec "$@"`, "sh"}, c.through...)
			cmd := exec.Command("sh", append(append(args, driver...), command...)...)
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v: %v\n%s", name, cmd.Args, err, out)
			}
			return string(out)
		}
		driver := []string{program("vobs-driver")}

		look := []string{"cat", "/proc/self/status", "/proc/self/limits", "/proc/self/stat"}
		want, got := state(t, run(nil, look...)), state(t, run(driver, look...))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: the command starts in another state under vobs (-without +with):\n%s", name, diff)
		}
		if !shows(t, want, c.has) {
			t.Errorf("%s: the test does not test anything: no %q in\n%s", name, c.has, strings.Join(want, "\n"))
		}
		look = []string{"sh", "-c", "ls /proc/$$/fd; readlink /proc/$$/cwd /proc/$$/fd/0 /proc/$$/fd/7"}
		if want, got := run(nil, look...), run(driver, look...); want != got || !strings.Contains(want, "\n7\n") {
			t.Errorf("%s: %v gives %q under vobs, %q without", name, look, got, want)
		}
	}
}

func TestEnvironmentIsUnchanged(t *testing.T) {
	t.Parallel()
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=/usr/bin:/bin", "A=1", "A=2", "", "noequals", "=odd", "B=", "BAD=\xff\xfe", "MULTI=a\nb", "GORACE=atexit_sleep_ms=0"}
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p, err := os.StartProcess(program("vobs-driver"), []string{program("vobs-driver"), cat, "/proc/self/environ"},
		&os.ProcAttr{Env: env, Files: []*os.File{nil, file, os.Stderr}})
	if err != nil {
		t.Fatal(err)
	}
	if ps, err := p.Wait(); err != nil || !ps.Success() {
		t.Fatalf("%v, %v", ps, err)
	}
	got, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Join(env, "\x00")+"\x00", string(got)); diff != "" {
		t.Errorf("the command's environment differs (-want +got):\n%s", diff)
	}
}

// Not parallel: it changes the environment.
func TestEnvironFollowsOwnChanges(t *testing.T) {
	t.Setenv("VOBS_CHILD_TEST_ENVIRON", "set")
	if diff := cmp.Diff(os.Environ(), Environ()); diff != "" {
		t.Errorf("an environment that vobs changed is not passed on (-want +got):\n%s", diff)
	}
}

func TestStdoutAsStderr(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(program("vobs-driver"), "-stderr", "--", "sh", "-c", "readlink /proc/self/fd/1; readlink /proc/self/fd/2 >&2")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(stderr.String())
	if stdout.Len() != 0 || len(lines) != 2 {
		t.Fatalf("stdout %q, stderr %q", stdout.String(), stderr.String())
	}
	// The second line is written by a readlink whose fd 1 is fd 2 as well.
	if lines[0] != lines[1] || !strings.HasPrefix(lines[0], "pipe:") {
		t.Errorf("the command's stdout is %s, its stderr %s: not the same file", lines[0], lines[1])
	}
}

// waitStopped waits until job control has stopped the process.
func waitStopped(t *testing.T, pid int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond) // a process that is not our child has to be polled
	defer tick.Stop()
	deadline := time.After(patience)
	var text []byte
	for {
		var err error
		if text, err = os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err != nil {
			t.Fatal(err)
		}
		if i := strings.LastIndex(string(text), ") "); string(text[i+2]) == "T" {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("process %d was not stopped: %s", pid, text)
		}
	}
}
