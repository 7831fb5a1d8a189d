package cli

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A Ctrl-C or a TERM ends vobs ab once the run in progress is over. What is complete is
// compared, and every event is in the file.
func TestABStopped(t *testing.T) {
	for name, c := range map[string]struct {
		cause  func(*testing.T, *process)
		script string // what the fifth run does
	}{
		"Ctrl-C":                         {typeOnTerminal(ctrlC), "exec sleep 100"},
		"Ctrl-C, which the run survives": {typeOnTerminal(ctrlC), "trap 'exit 0' INT; sleep 100 & wait"},
		"TERM":                           {sendSignal(syscall.SIGTERM), "exec sleep 100"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			script := "echo >>count; if [ $(wc -l <count) = 5 ]; then echo fifth; " + c.script + "; fi"
			p := prepare(t, "vobs", "ab", "-n", "6", "--append", "runs.jsonl", "--metric", "duration", "--", "sh", "-c", script, "---", "sh", "-c", script)
			p.Env = append(p.Env, "TMPDIR="+p.Dir)
			p.launchOnTerminal(t)
			p.waitOutput(t, "fifth")
			c.cause(t, p)
			if got := p.finish(t); got != "130" {
				t.Errorf("vobs ab ended with %s, want 130; it said:\n%s", got, &p.output)
			}
			p.waitOutput(t, `2 runs against 2, interleaved, in pairs`)
			lines, err := os.ReadFile(filepath.Join(p.Dir, "runs.jsonl"))
			if n := strings.Count(string(lines), "\n"); err != nil || n != 5 {
				t.Errorf("%d events, want 5: %v", n, err)
			}
			if left, _ := filepath.Glob(filepath.Join(p.Dir, "vobs-ab-*")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}
