package cli

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/schema"
)

// Files of /proc that do not respond, as when LXCFS hangs: another file is mounted over them,
// in a mount namespace of vobs and the command. The bounds on time that docs/reliability.md
// states are checked with some slack, for a busy machine.
const (
	startBound = time.Second + hangSlack
	endBound   = 2*time.Second + hangSlack
	hangSlack  = 10 * time.Second
)

// lxcfsFiles are the files that LXCFS provides and vobs reads.
const lxcfsFiles = "loadavg stat meminfo pressure/cpu pressure/memory pressure/io"

// over defines the shell function over, which mounts a file over files of /proc.
func over(file string) string {
	return "over() { for f; do mount --bind '" + file + "' /proc/$f || exit 77; done; }; "
}

// inMountNamespace starts a script in a mount namespace. `exec vobs` keeps its pid.
func inMountNamespace(t *testing.T, script string) *process {
	t.Helper()
	args := []string{"unshare", "--mount", "sh", "-c", script}
	if os.Getuid() != 0 {
		args = slices.Insert(args, 1, "--user", "--map-root-user")
	}
	p := prepare(t, args...)
	p.skip = func(t *testing.T) {
		if p.ProcessState.ExitCode() == 77 || strings.Contains(p.output.String(), "unshare failed") {
			t.Skipf("SKIPPED: files cannot be mounted over /proc here; run it as root, or allow user namespaces: %s", &p.output)
		}
	}
	if err := p.launch(t); err != nil {
		t.Skipf("SKIPPED: needs unshare(1) of util-linux: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("it said:\n%s", &p.output)
		}
	})
	return p
}

// waitWithin waits for a file and checks how long that takes.
func (p *process) waitWithin(t *testing.T, file string, bound time.Duration) {
	t.Helper()
	began := time.Now()
	p.waitFile(t, file)
	if took := time.Since(began); took > bound {
		t.Errorf("%s appeared after %v", file, took)
	}
}

// wantNull checks that a key is null because of a text.
func wantNull(t *testing.T, e schema.GenerationObservability, field, text string) {
	t.Helper()
	if !slices.ContainsFunc(e.Unavailable, func(u schema.Unavailable) bool { return u.Field == field && strings.Contains(u.Reason, text) }) {
		t.Errorf("%s is not null because of %q: %+v", field, text, e.Unavailable)
	}
}

// quoted quotes a text for a shell.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

func fifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// LXCFS hangs from the start, or from a moment on. Nothing waits for it; the host's figures
// come from elsewhere, or are null.
func TestLXCFSHangs(t *testing.T) {
	for _, test := range []struct {
		name string
		file func(t *testing.T) string
	}{
		{"FIFO", fifo},
		{"FUSE", func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "file")
			testkit.HangingFile(t, path)
			return path
		}},
	} {
		t.Run(test.name+" from the start", func(t *testing.T) {
			t.Parallel()
			p := inMountNamespace(t, over(test.file(t))+"over "+lxcfsFiles+"; exec vobs run -o e.json -- sh -c ': >up; exit 7'")
			p.watchThreads(t)
			p.waitWithin(t, "up", startBound)
			p.waitWithin(t, "e.json", endBound)
			wantLXCFS(t, p)
		})
		t.Run(test.name+" during the run", func(t *testing.T) {
			t.Parallel()
			p := inMountNamespace(t, "exec vobs run -o e.json -- sh -c "+
				quoted(over(test.file(t))+"over "+lxcfsFiles+"; : >up; until [ -e go ]; do sleep 0.02; done; exit 7"))
			p.watchThreads(t)
			p.waitFile(t, "up")
			p.touch(t, "go")
			p.waitWithin(t, "e.json", endBound)
			wantLXCFS(t, p)
		})
	}
}

func wantLXCFS(t *testing.T, p *process) {
	t.Helper()
	if got := p.finish(t); got != "7" {
		t.Errorf("vobs ended with %s", got)
	}
	e := p.event(t, "e.json")
	wantRun(t, e, "7", false)
	if e.LoadavgPre == nil || e.LoadavgPost == nil || e.Host.MemoryTotalBytes == nil || e.Host.TreeCPUSeconds == nil {
		t.Errorf("what has another source is missing: %+v", e)
	}
	if e.Host.PressureSomeSeconds != nil {
		t.Errorf("pressure: %+v", e.Host.PressureSomeSeconds)
	}
	for _, u := range e.Unavailable {
		if strings.HasPrefix(u.Field, "host.pressure_some_seconds") && !strings.Contains(u.Reason, "another file is mounted over the kernel's") && !strings.Contains(u.Reason, "no line \"some\"") {
			t.Errorf("%s: %s", u.Field, u.Reason)
		}
	}
}

// Files that have no other source do not respond. A thread stays in the kernel, and with it the
// process, until they do; the event is there by then.
func TestProcHangs(t *testing.T) {
	t.Run("from the start", func(t *testing.T) {
		t.Parallel()
		if testkit.RaceEnabled {
			t.Skip("SKIPPED: the race detector reads these files itself before main")
		}
		file := filepath.Join(t.TempDir(), "file")
		_, release := testkit.HangingFile(t, file)
		p := inMountNamespace(t, over(file)+"over $$/status $$/environ "+lxcfsFiles+"; exec vobs run -o e.json -- sh -c ': >up; exit 7'")
		t.Cleanup(release)
		p.watchThreads(t)
		p.waitWithin(t, "up", startBound)
		p.waitWithin(t, "e.json", endBound)
		p.waitOutput(t, "no response, which may keep vobs from ending: /proc/self/environ; /proc/self/status")
		release()
		if got := p.finish(t); got != "7" {
			t.Errorf("vobs ended with %s", got)
		}
		e := p.event(t, "e.json")
		wantRun(t, e, "7", false)
		wantNull(t, e, "overhead.max_rss_bytes", "/proc/self/status: no response")
	})
	// The status of the command itself: the sampler or discovery hangs. TERM is forwarded.
	t.Run("during the run", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "file")
		opened, release := testkit.HangingFile(t, file)
		p := inMountNamespace(t, "exec vobs run -o e.json -- sh -c "+
			quoted(over(file)+"trap 'exit 9' TERM; over $$/stat; : >up; while :; do sleep 0.02; done"))
		t.Cleanup(release)
		p.watchThreads(t)
		p.waitFile(t, "up")
		p.eventually(t, func() error {
			select {
			case <-opened:
				return nil
			default:
				return errors.New("the status of the command was not read")
			}
		})
		p.send(t, syscall.SIGTERM)
		p.waitWithin(t, "e.json", endBound)
		p.waitOutput(t, "no response, which may keep vobs from ending: a file in /proc")
		release()
		if got := p.finish(t); got != "9" {
			t.Errorf("vobs ended with %s", got)
		}
		e := p.event(t, "e.json")
		wantRun(t, e, "9", true)
		// Discovery may have been through before the file hung.
		if e.Engine != nil {
			t.Errorf("engine %+v", e.Engine)
		}
		if !slices.ContainsFunc(e.Validity, func(v schema.Validity) bool { return v.Code == schema.CodeTreeCPUIncomplete }) {
			t.Errorf("validity: %+v", e.Validity)
		}
	})
}
