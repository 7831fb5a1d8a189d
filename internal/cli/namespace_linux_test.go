package cli

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// asProcess1 starts `vobs run args...` as process 1 of a pid namespace: with a /proc of that
// namespace, as every container has it, or with ours, as after `unshare --pid` alone.
func asProcess1(t *testing.T, ownProc bool, args ...string) *process {
	t.Helper()
	mount := "mount -t proc proc /proc || exit 77; "
	if !ownProc {
		mount = ""
	}
	p := prepare(t, append([]string{"sh", "-c", mount + `exec vobs run "$@"`, "sh"}, args...)...)
	p.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS
	p.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	p.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	const how = "SKIPPED: needs user and pid namespaces: run where `unshare -Upfr --mount-proc true` works (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns; docker run --privileged)"
	if err := p.launch(t); err != nil {
		t.Skipf("%s: %v", how, err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("it said:\n%s", &p.output)
		}
	})
	p.skip = func(t *testing.T) {
		if p.ProcessState.ExitCode() == 77 {
			t.Skipf("%s: %s", how, &p.output)
		}
	}
	return p
}

// orphans is a command that leaves a thousand short-lived orphans, and exits with its
// argument once they are completely gone. One of them shows that vobs adopts them.
const orphans = `
i=0; while [ $i -lt 1000 ]; do ( : & ); i=$((i+1)); done
( sh -c 'echo $$ >orphan; until [ -e seen ]; do sleep 0.02; done' & )
until [ -s orphan ]; do sleep 0.02; done
parent() { sed 's/.*) . //; s/ .*//' /proc/$(cat orphan)/stat; }
tries=0
until [ "$(parent)" = $PPID ]; do
	tries=$((tries+1)); [ $tries -lt 1000 ] || { echo "the orphan belongs to $(parent), not to $PPID"; exit 99; }
	sleep 0.05
done
: >seen
tries=0
while [ -e /proc/$(cat orphan) ] || cat /proc/[0-9]*/stat 2>/dev/null | sed 's/.*) //' | grep -q "^Z $PPID "; do
	tries=$((tries+1)); [ $tries -lt 1000 ] || { echo zombies; exit 98; }
	sleep 0.05
done
exit $0
`

func TestOrphans(t *testing.T) {
	t.Parallel()
	p := prepare(t, "vobs", "run", "-o", "e.json", "--", "sh", "-c", orphans, "5")
	if err := p.launch(t); err != nil {
		t.Fatal(err)
	}
	wantOrphansGone(t, p, "e.json")
}

func wantOrphansGone(t *testing.T, p *process, file string) {
	t.Helper()
	if got := p.finish(t); got != "5" {
		t.Fatalf("vobs ended with %s; it said:\n%s", got, &p.output)
	}
	e := p.event(t, file)
	wantRun(t, e, "5", false)
	if len(e.Run.Leftovers) != 0 {
		t.Errorf("leftovers: %+v", e.Run.Leftovers)
	}
}

// Process 1 gets all orphans, and no signal that it does not handle.
func TestAsProcess1(t *testing.T) {
	t.Run("orphans", func(t *testing.T) {
		t.Parallel()
		p := asProcess1(t, true, "-o", "e.%p.json", "--", "sh", "-c", orphans, "5")
		wantOrphansGone(t, p, "e.1.json")
	})
	// The signal that killed the command cannot kill vobs.
	for signal, code := range map[string]string{"TERM": "143", "KILL": "137", "USR1": "138"} {
		t.Run("killed by "+signal, func(t *testing.T) {
			t.Parallel()
			p := asProcess1(t, true, "-o", "e.%p.json", "--", "sh", "-c", "kill -"+signal+" $$")
			if got := p.finish(t); got != code {
				t.Errorf("vobs ended with %s, want %s", got, code)
			}
			wantRun(t, p.event(t, "e.1.json"), "SIG"+signal, false)
		})
	}
	t.Run("ended from outside", func(t *testing.T) {
		t.Parallel()
		p := asProcess1(t, true, "-o", "e.%p.json", "--", "sh", "-c", ": >up; while :; do sleep 0.05; done")
		p.waitFile(t, "up")
		p.send(t, syscall.SIGTERM)
		if got := p.finish(t); got != "143" {
			t.Errorf("vobs ended with %s, want 143", got)
		}
		wantRun(t, p.event(t, "e.1.json"), "SIGTERM", true)
	})
	// In this /proc the numbers belong to other processes: 1 is init, and everything is its
	// descendant. None of them belongs to the command, or is ended because of it.
	t.Run("behind another's proc", func(t *testing.T) {
		t.Parallel()
		p := asProcess1(t, false, "--kill-leftovers", "-o", "e.%p.json", "--", "sh", "-c", "sleep 1000 >/dev/null 2>&1 & exit 5")
		if got := p.finish(t); got != "5" {
			t.Errorf("vobs ended with %s, want 5", got)
		}
		e := p.event(t, "e.1.json")
		wantRun(t, e, "5", false)
		if len(e.Run.Leftovers) != 0 || e.Host.TreePeakRSSBytes != nil {
			t.Errorf("leftovers %+v, peak of the tree %v", e.Run.Leftovers, e.Host.TreePeakRSSBytes)
		}
		if s := p.output.String(); !strings.HasPrefix(s, "vobs: warning: processes of the command are still running and cannot be listed: /proc shows the processes of another pid namespace") || strings.Count(s, "\n") != 1 {
			t.Errorf("it said:\n%s", s)
		}
		if len(e.Validity) == 0 || e.Validity[0].Code != "leftovers_unknown" {
			t.Errorf("validity: %+v", e.Validity)
		}
	})
}

// publicPrograms returns a process that runs vobs as nobody in a directory that everybody may
// enter, with a copy of vobs and a become-root that works. It needs root.
func publicPrograms(t *testing.T, args ...string) *process {
	t.Helper()
	dir, err := os.MkdirTemp("", "vobs-public")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	const nobody = 65534
	bin, work := filepath.Join(dir, "bin"), filepath.Join(dir, "work")
	err = errors.Join(os.Chmod(dir, 0o755), os.Mkdir(bin, 0o755), os.Mkdir(work, 0o755), os.Chown(work, nobody, nobody))
	for name, mode := range map[string]os.FileMode{"vobs": 0o755, "become-root": 0o755 | os.ModeSetuid} {
		err = errors.Join(err, copyProgram(filepath.Join(bin, name), mode))
	}
	if err != nil {
		t.Fatal(err)
	}
	p := prepare(t, append([]string{filepath.Join(bin, "vobs")}, args...)...)
	p.Dir = work
	p.Env = append(p.Env, "PATH="+bin+":/usr/local/bin:/usr/bin:/bin", "LD_LIBRARY_PATH=")
	p.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	return p
}

func copyProgram(to string, mode os.FileMode) error {
	// A process that another test starts meanwhile would hold the file open for writing
	// until it executes its program, and a program that is being written cannot be started.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	from, err := os.Open(self)
	if err != nil {
		return err
	}
	defer from.Close()
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close(), os.Chmod(to, mode))
}

// As a user without privileges: everything works, and what may not be written is refused.
func TestAsUser(t *testing.T) {
	t.Parallel()
	// The command runs for several readings of the process tree, however slow the machine.
	args := []string{"run", "-o", "e.json", "--", "sh", "-c", `id -u; sleep 1; until [ -e go ]; do sleep 0.05; done; exit 5`}
	var p *process
	if os.Getuid() == 0 {
		p = publicPrograms(t, args...)
	} else {
		p = prepare(t, append([]string{"vobs"}, args...)...)
	}
	if err := p.launch(t); err != nil {
		t.Fatal(err)
	}
	p.waitOutput(t, `[1-9]\d*\n`)
	p.touch(t, "go")
	if got := p.finish(t); got != "5" {
		t.Errorf("vobs ended with %s; it said:\n%s", got, &p.output)
	}
	e := p.event(t, "e.json")
	wantRun(t, e, "5", false)
	if e.Host.TreePeakRSSBytes == nil || e.Host.CPUCount == nil || e.LoadavgPre == nil {
		t.Errorf("the host: %+v, %v", e.Host, e.Unavailable)
	}
	for _, target := range []string{"-o", "--append"} {
		refused := exec.Command(p.Path, "run", target, "/proc/1/e.json", "--", "touch", "started")
		refused.Dir, refused.Env, refused.SysProcAttr = p.Dir, p.Env, &syscall.SysProcAttr{Credential: p.SysProcAttr.Credential}
		out, err := refused.CombinedOutput()
		if refused.ProcessState == nil || refused.ProcessState.ExitCode() != 125 || !strings.HasPrefix(string(out), "vobs: error: ") {
			t.Errorf("%s where nobody may write: %v\n%s", target, err, out)
		}
	}
	if _, err := os.Stat(filepath.Join(p.Dir, "started")); err == nil {
		t.Error("the command was started without a place for its event")
	}
}

// As under sudo: the command belongs to another user, and signals cannot be forwarded. There
// is one warning; vobs keeps waiting, and ends as the command does.
func TestForwardingWithoutPermission(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: needs root, to run vobs as nobody over a command that belongs to root: run the tests with sudo")
	}
	p := publicPrograms(t, "run", "-o", "e.json", "--", "become-root", "sh", "-c", `echo "I am $(id -u)."; until [ -e go ]; do sleep 0.05; done; exit 7`)
	if err := p.launch(t); err != nil {
		t.Fatal(err)
	}
	if id := p.waitOutput(t, `I am (\d+)\.|become-root: .*`); id != "0" {
		t.Skipf("SKIPPED: set-user-id files have no effect below %s: set TMPDIR to a folder that is not mounted nosuid: %s", os.TempDir(), &p.output)
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGTERM} {
		p.send(t, sig)
		p.waitOutput(t, `vobs: warning: cannot forward SIG`)
	}
	p.touch(t, "go")
	if got := p.finish(t); got != "7" {
		t.Errorf("vobs ended with %s, the command with 7; it said:\n%s", got, &p.output)
	}
	e := p.event(t, "e.json")
	wantRun(t, e, "7", true)
	want := "vobs: warning: cannot forward SIGTERM to the command (pid "
	if s := p.output.String(); strings.Count(s, "warning") != 1 || !strings.Contains(s, want) || !strings.Contains(s, "operation not permitted") {
		t.Errorf("it said:\n%s", s)
	}
}
