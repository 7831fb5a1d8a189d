package child

import (
	"os/exec"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
)

// The wait loop rests while many orphans end, for less time the more there are, and not after
// a few of them.
func TestRest(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	r := rest{pid: cmd.Process.Pid}
	defer r.close()
	now := time.Now()
	for range 3 * manyOrphans { // one every 100 ms
		if now = now.Add(100 * time.Millisecond); r.after(now, false) {
			t.Fatal("it rested after a few orphans")
		}
	}
	now = time.Now()
	r = rest{pid: cmd.Process.Pid}
	defer r.close()
	for i := range manyOrphans {
		waited := r.after(now.Add(time.Duration(i)*time.Millisecond-manyOrphans*time.Millisecond), false)
		if r.unavailable {
			t.Skip("SKIPPED: no pidfd_open(2): it needs Linux 5.3 or later")
		}
		if waited != (i == manyOrphans-1) {
			t.Errorf("orphan %d: waited = %v", i+1, waited)
		}
	}
	if took := time.Since(now); took > testkit.Patience {
		t.Errorf("a rest with an orphan every millisecond took %v", took)
	}
	if r.again() {
		t.Error("it rested once more, although no orphan had ended")
	}
	// The end of the command ends a rest.
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	r.since, r.count = time.Now().Add(-time.Hour), 2
	began := time.Now()
	if !r.again() {
		t.Error("it did not rest")
	}
	if took := time.Since(began); took >= maxRest && took < testkit.Patience {
		t.Logf("the end of the command was noticed after %v", took)
	}
}

// A command that leaves hundreds of orphans ends with its own status, with nothing left to be
// waited for and the CPU time of all of them.
func TestManyOrphans(t *testing.T) {
	c, err := Start(Spec{Args: []string{"sh", "-c", "i=0; while [ $i -lt 300 ]; do (true &); i=$((i+1)); done; exit 7"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if e := c.Exit(); e.Code != 7 {
		t.Errorf("exit %+v, want code 7", e)
	}
	if !c.WaitNoChildren(testkit.Patience) {
		t.Error("orphans were not reaped")
	}
	if c.CPUTime() <= 0 {
		t.Error("no CPU time")
	}
}
