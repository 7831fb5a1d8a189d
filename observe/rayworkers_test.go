package observe

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vobs/vobs/sampler/proc"
)

const (
	// rayLogs is the directory of logs of a cluster, otherRayLogs that of another one.
	rayLogs      = "/tmp/ray/session_2026-11-30_08-46-35_248512_3872/logs"
	otherRayLogs = "/tmp/ray/session_2026-11-30_09-00-00_000001_77/logs"
)

// raylet adds a raylet, which is a child of init.
func (f procFixture) raylet(pid int) { f.Put(pid, procStat{PPID: 1, Comm: "raylet"}) }

// rayWorker adds a worker of Ray with this RAY_JOB_ID that has its output open.
func (f procFixture) rayWorker(pid, parent int, logs, job string) {
	f.t.Helper()
	f.Put(pid, procStat{PPID: parent, Comm: "ray::RayWorkerW"})
	f.files(pid, []string{"RAY_JOB_ID=" + job}, fmt.Sprintf("%s/worker-%056x-%s-%d.out", logs, pid, job, pid))
}

// rayDriver makes a process a driver of this job.
func (f procFixture) rayDriver(pid int, logs, job string) {
	f.t.Helper()
	f.files(pid, nil, fmt.Sprintf("%s/python-core-driver-%s%s_%d.log", logs, job, strings.Repeat("f", 48), pid))
}

// files writes the environment and the open files of a process.
func (f procFixture) files(pid int, env []string, open ...string) {
	f.t.Helper()
	dir := filepath.Join(f.root, fmt.Sprint(pid))
	if err := os.MkdirAll(filepath.Join(dir, "fd"), 0o755); err != nil {
		f.t.Fatal(err)
	}
	for name, text := range map[string]string{"environ": strings.Join(env, "\x00") + "\x00", "status": fmt.Sprintf("NSpid:\t%d\n", pid)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			f.t.Fatal(err)
		}
	}
	for i, target := range open {
		link := filepath.Join(dir, "fd", fmt.Sprint(10+i))
		os.Remove(link)
		if err := os.Symlink(target, link); err != nil {
			f.t.Fatal(err)
		}
	}
}

// cannotRead makes a file of a process unreadable, for root too.
func (f procFixture) cannotRead(pid int, name string) {
	f.t.Helper()
	path := filepath.Join(f.root, fmt.Sprint(pid), name)
	if err := os.RemoveAll(path); err != nil {
		f.t.Fatal(err)
	}
	var err error
	if name == "fd" {
		err = os.WriteFile(path, nil, 0o644)
	} else {
		err = os.Mkdir(path, 0o755)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// title sets the arguments of a process.
func (f procFixture) title(pid int, text string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.root, fmt.Sprint(pid), "cmdline"), []byte(text+"\x00"), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// testRayWorkers returns rayWorkers whose command has the processes 101 to 103.
func testRayWorkers(f procFixture) *rayWorkers {
	for _, pid := range []int{101, 102, 103} {
		f.files(pid, nil, "/dev/null")
	}
	tree := proc.NewTree(f.root, vobsPID)
	return newRayWorkers(f.root, tree, tree.PIDs, func(string) {})
}

func TestRayWorkers(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(f procFixture)
		// Of process 301, which is on a GPU.
		owned   bool
		unknown string // part of it; "": it is known
	}{
		{name: "the command's", change: func(f procFixture) {
			f.rayDriver(103, rayLogs, "02000000")
			f.rayWorker(301, 300, rayLogs, "02000000")
		}, owned: true},
		{name: "another driver's", change: func(f procFixture) {
			f.rayDriver(103, rayLogs, "02000000")
			f.rayWorker(301, 300, rayLogs, "01000000")
		}},
		{name: "another cluster's, with the same job id", change: func(f procFixture) {
			f.rayDriver(103, rayLogs, "02000000")
			f.rayWorker(301, 300, otherRayLogs, "02000000")
		}},
		{name: "two drivers", change: func(f procFixture) {
			f.rayDriver(102, otherRayLogs, "01000000")
			f.rayDriver(103, rayLogs, "02000000")
			f.rayWorker(301, 300, otherRayLogs, "01000000")
		}, owned: true},
		{name: "a process of a worker", change: func(f procFixture) {
			f.rayDriver(103, rayLogs, "02000000")
			f.rayWorker(310, 300, rayLogs, "02000000")
			f.Put(311, procStat{PPID: 310, Comm: "sh"})
			f.Put(301, procStat{PPID: 311, Comm: "VLLM::Worker"})
		}, owned: true},
		{name: "a process of another driver's worker", change: func(f procFixture) {
			f.rayDriver(103, rayLogs, "02000000")
			f.rayWorker(310, 300, rayLogs, "01000000")
			f.Put(301, procStat{PPID: 310, Comm: "VLLM::Worker"})
		}},
		{name: "a worker that another program runs", change: func(f procFixture) {
			f.rayDriver(103, rayLogs, "02000000")
			f.Put(310, procStat{PPID: 300, Comm: "uv"})
			f.files(310, []string{"RAY_JOB_ID=02000000"}, rayLogs+"/raylet.out")
			f.rayWorker(301, 310, rayLogs, "02000000")
		}, owned: true},
		{name: "with vLLM's title", change: func(f procFixture) {
			f.rayDriver(103, rayLogs, "02000000")
			f.rayWorker(301, 300, rayLogs, "02000000")
			f.Put(301, procStat{PPID: 300, Comm: "VLLM::EngineCor"})
		}, owned: true},
		{name: "not below a raylet", change: func(f procFixture) {
			f.rayDriver(103, rayLogs, "02000000")
			f.rayWorker(301, 1, rayLogs, "02000000")
		}, owned: true},
		{name: "not below a raylet, with vLLM's title", change: func(f procFixture) {
			f.rayDriver(103, rayLogs, "02000000")
			f.rayWorker(301, 1, rayLogs, "02000000")
			f.Put(301, procStat{PPID: 1, Comm: "VLLM::EngineCor"})
		}, owned: true},
		{name: "a title in the arguments alone", change: func(f procFixture) {
			f.rayDriver(103, rayLogs, "02000000")
			f.rayWorker(301, 1, rayLogs, "02000000")
			f.Put(301, procStat{PPID: 1, Comm: "python3"})
			f.title(301, "ray::RayWorkerWrapper.execute_method")
		}, owned: true},
		{name: "started without a job", change: func(f procFixture) {
			logs := filepath.Join(f.root, "logs")
			f.rayDriver(103, logs, "02000000")
			f.rayWorker(301, 300, logs, "ffffffff")
			output, err := os.Readlink(filepath.Join(f.root, "301", "fd", "10"))
			if err == nil {
				err = os.Mkdir(logs, 0o755)
			}
			if err == nil {
				err = os.WriteFile(output, []byte(":job_id:02000000\n:actor_name:RayWorkerWrapper\n"), 0o644)
			}
			if err != nil {
				f.t.Fatal(err)
			}
		}, owned: true},
		{name: "without a job", change: func(f procFixture) {
			f.rayDriver(103, rayLogs, "02000000")
			f.rayWorker(301, 300, rayLogs, "ffffffff")
		}, unknown: "process 301 (ray::RayWorkerW) is a worker of Ray, and its job is unknown: neither"},
		{name: "no driver", change: func(f procFixture) {
			f.rayWorker(301, 300, rayLogs, "02000000")
		}, unknown: "process 301 (ray::RayWorkerW) is a worker of Ray for job 02000000, and no process of the command is known as a driver"},
		{name: "its environment cannot be read", change: func(f procFixture) {
			f.rayDriver(103, rayLogs, "02000000")
			f.rayWorker(301, 300, rayLogs, "02000000")
			f.cannotRead(301, "environ")
		}, unknown: "its job is unknown: reading the environment of process 301"},
		{name: "its files cannot be read", change: func(f procFixture) {
			f.rayDriver(103, rayLogs, "02000000")
			f.rayWorker(301, 300, rayLogs, "02000000")
			f.cannotRead(301, "fd")
		}, unknown: "its job is unknown: reading the open files of process 301"},
		{name: "no file open", change: func(f procFixture) {
			f.rayDriver(103, rayLogs, "02000000")
			f.rayWorker(301, 300, rayLogs, "02000000")
			f.files(301, []string{"RAY_JOB_ID=02000000"}, "/dev/null")
		}, unknown: "it is unknown of which cluster"},
		{name: "no file open, another job", change: func(f procFixture) {
			f.rayDriver(103, rayLogs, "02000000")
			f.rayWorker(301, 300, rayLogs, "01000000")
			f.files(301, []string{"RAY_JOB_ID=01000000"}, "/dev/null")
		}},
		{name: "a process of the command cannot be read", change: func(f procFixture) {
			f.rayDriver(103, rayLogs, "02000000")
			f.cannotRead(102, "fd")
			f.rayWorker(301, 300, rayLogs, "01000000")
		}, unknown: "the command's drivers are not all known: reading the open files of process 102"},
		{name: "the driver is found although another process cannot be read", change: func(f procFixture) {
			f.rayDriver(103, rayLogs, "02000000")
			f.cannotRead(102, "fd")
			f.rayWorker(301, 300, rayLogs, "02000000")
		}, owned: true},
		{name: "a reader of the driver's log", change: func(f procFixture) {
			f.files(103, nil, fmt.Sprintf("%s/python-core-driver-01000000%s_77.log", rayLogs, strings.Repeat("f", 48)))
			f.rayWorker(301, 300, rayLogs, "01000000")
		}, unknown: "no process of the command is known as a driver"},
		{name: "an engine without Ray", change: func(f procFixture) {
			f.rayDriver(103, rayLogs, "02000000")
			f.Put(301, procStat{PPID: 50, Comm: "VLLM::EngineCor"})
			f.files(301, []string{"PATH=/bin"}, "/dev/null")
		}},
		{name: "another user's engine without Ray", change: func(f procFixture) {
			f.rayDriver(103, rayLogs, "02000000")
			f.Put(301, procStat{PPID: 50, Comm: "VLLM::EngineCor"})
			f.cannotRead(301, "environ")
		}},
		{name: "an engine whose parent is hidden", change: func(f procFixture) {
			f.Put(301, procStat{PPID: 299, Comm: "VLLM::EngineCor"})
			f.cannotRead(301, "environ")
		}, unknown: "its job is unknown"},
		{name: "a game", change: func(f procFixture) {
			f.rayDriver(103, rayLogs, "02000000")
			f.Put(301, procStat{PPID: 50, Comm: "game"})
			f.cannotRead(301, "environ")
		}},
		{name: "it has ended", change: func(procFixture) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newProcFixture(t)
			f.raylet(300)
			r := testRayWorkers(f)
			c.change(f)
			f.Put(302, procStat{PPID: 50, Comm: "game"}) // on the GPU, too
			owned, unknown := r.find([]int{301, 302})
			if slices.Contains(owned, 301) != c.owned || len(owned) > 1 {
				t.Errorf("owned %v, want process 301: %v", owned, c.owned)
			}
			if why := unknown[301]; (why == "") != (c.unknown == "") || !strings.Contains(why, c.unknown) || unknown[302] != "" {
				t.Errorf("unknown %v, want %q", unknown, c.unknown)
			}
			if elsewhere := r.cpuElsewhere(); (elsewhere != "") != (c.owned || c.unknown != "") {
				t.Errorf("CPU time elsewhere: %q", elsewhere)
			}
		})
	}
}

// A worker without a known driver is looked at again, less and less often.
func TestRayWorkersLookAgain(t *testing.T) {
	f := newProcFixture(t)
	f.raylet(300)
	f.rayWorker(301, 300, rayLogs, "02000000")
	f.Put(302, procStat{PPID: 50, Comm: "game"})
	r := testRayWorkers(f)
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		discover := r.discover
		r.discover = func() error { looks++; return discover() }
		const hour = 14400 // rounds
		for range hour {
			if owned, unknown := r.find([]int{301, 302}); len(owned) > 0 || unknown[301] == "" {
				t.Fatal(owned, unknown)
			}
			time.Sleep(250 * time.Millisecond)
		}
		if looks < 60 || looks > 75 {
			t.Errorf("%d looks in an hour", looks)
		}
		f.rayDriver(103, rayLogs, "02000000")
		deadline := time.Now().Add(lastRayLook + time.Second)
		for time.Now().Before(deadline) {
			if owned, _ := r.find([]int{301, 302}); slices.Equal(owned, []int{301}) {
				return
			}
			time.Sleep(250 * time.Millisecond)
		}
		t.Error("the driver was not found")
	})
}

// A worker that was there before the command's driver is another one's once the driver is known.
func TestRayWorkersBeforeDriver(t *testing.T) {
	f := newProcFixture(t)
	f.raylet(300)
	f.rayWorker(301, 300, rayLogs, "01000000")
	r := testRayWorkers(f)
	synctest.Test(t, func(t *testing.T) {
		if owned, unknown := r.find([]int{301}); len(owned) > 0 || unknown[301] == "" || r.cpuElsewhere() == "" {
			t.Errorf("%v, %v, %q", owned, unknown, r.cpuElsewhere())
		}
		f.rayDriver(103, rayLogs, "02000000")
		time.Sleep(firstRayLook)
		if owned, unknown := r.find([]int{301}); len(owned) > 0 || len(unknown) > 0 || r.cpuElsewhere() != "" {
			t.Errorf("with a driver: %v, %v, %q", owned, unknown, r.cpuElsewhere())
		}
	})
}

// A pid that is listed again may be another process.
func TestRayWorkersPIDReused(t *testing.T) {
	f := newProcFixture(t)
	f.raylet(300)
	r := testRayWorkers(f)
	f.rayDriver(103, rayLogs, "02000000")
	f.Put(301, procStat{PPID: 50, Comm: "game"})
	if owned, unknown := r.find([]int{301}); len(owned) > 0 || len(unknown) > 0 {
		t.Error(owned, unknown)
	}
	r.find(nil)
	f.rayWorker(301, 300, rayLogs, "02000000")
	if owned, _ := r.find([]int{301}); !slices.Equal(owned, []int{301}) {
		t.Error(owned)
	}
}

// If /proc hangs, it is unknown whether a process is a worker, and the GPUs are read on.
func TestRayWorkersHang(t *testing.T) {
	f := newProcFixture(t)
	f.raylet(300)
	f.rayWorker(301, 300, rayLogs, "02000000")
	f.Put(302, procStat{PPID: 50, Comm: "game"})
	r := testRayWorkers(f)
	f.rayDriver(103, rayLogs, "02000000")
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		discover := r.discover
		r.discover = func() error { <-release; return discover() }
		begin := time.Now()
		owned, unknown := r.find([]int{301})
		if took := time.Since(begin); len(owned) > 0 || !strings.Contains(unknown[301], "no response") || took > ownerTimeout {
			t.Errorf("%v, %v in %v", owned, unknown, took)
		}
		close(release)
		time.Sleep(time.Second)
		if owned, unknown := r.find([]int{301}); !maps.Equal(unknown, map[int]string{}) || !slices.Equal(owned, []int{301}) {
			t.Errorf("afterwards: %v, %v", owned, unknown)
		}
	})
}
