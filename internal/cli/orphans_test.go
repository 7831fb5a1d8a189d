package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/internal/testkit"
)

// commandAmidOrphans is a command that ends with its first argument, a code or a signal,
// while children that it never waited for, and theirs, come and go.
const commandAmidOrphans = `( : & ); ( ( : & ) & ); : & ( sleep 0 & ); case $0 in [0-9]*) exit $0;; esac; kill -$0 $$`

// TestCodesAmidOrphans runs vobs again and again: no exit code is lost or taken from an
// orphan.
func TestCodesAmidOrphans(t *testing.T) {
	t.Parallel()
	runs := testkit.Scale(1000, 40)
	dir := t.TempDir()
	env := append(os.Environ(), "LD_LIBRARY_PATH="+brokenNVML(t))
	const atOnce = 4
	got := make([]string, runs)
	failed := make(chan error)
	for worker := range atOnce {
		go func() {
			for i := worker; i < runs; i += atOnce {
				cmd := exec.Command("vobs", "run", "--append", fmt.Sprintf("%d.jsonl", worker), "--", "sh", "-c", commandAmidOrphans, wantedExit(i))
				cmd.Dir, cmd.Env = dir, env
				out, err := cmd.CombinedOutput()
				if cmd.ProcessState == nil {
					failed <- err
					return
				}
				got[i] = exitOf(cmd.ProcessState)
				if len(out) > 0 {
					got[i] += fmt.Sprintf(", saying %q", out)
				}
			}
			failed <- nil
		}()
	}
	for range atOnce {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	told := make([]string, runs)
	for worker := range atOnce {
		text, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%d.jsonl", worker)))
		if err != nil {
			t.Fatal(err)
		}
		i := worker
		for line := range bytes.Lines(text) {
			if i >= runs {
				t.Fatalf("events without a run: %s", line)
			}
			e := validEvent(t, line)
			switch {
			case e.Run.Signal != nil:
				told[i] = *e.Run.Signal
			case e.Run.ExitCode != nil:
				told[i] = strconv.Itoa(*e.Run.ExitCode)
			}
			i += atOnce
		}
	}
	want := make([]string, runs)
	for i := range want {
		if want[i] = wantedExit(i); want[i] == "TERM" || want[i] == "KILL" {
			want[i] = "SIG" + want[i]
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("vobs ended otherwise than the command (-command +vobs):\n%s", diff)
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("the events tell something else (-command +event):\n%s", diff)
	}
}

// wantedExit returns how the command of run i ends.
func wantedExit(i int) string {
	switch i % 10 {
	case 8:
		return "TERM"
	case 9:
		return "KILL"
	}
	return strconv.Itoa(i * 7 % 256)
}
