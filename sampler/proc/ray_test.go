package proc

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/vobs/vobs/sampler/internal/proctest"
)

// Names and ids of a session of Ray 2.60.0.
const (
	rayLogs   = "/tmp/ray/session_2026-11-30_08-46-35_248512_3872/logs"
	rayWorker = "a7a44ed3b8db184c176e0bf853ef77f618bff416b134fe8004df703e"
	rayDriver = "01000000ffffffffffffffffffffffffffffffffffffffffffffffff"
)

func TestParseRayDriverLog(t *testing.T) {
	for path, want := range map[string]struct {
		job RayJob
		pid int
	}{
		rayLogs + "/python-core-driver-" + rayDriver + "_4185.log":               {RayJob{rayLogs, "01000000"}, 4185},
		"python-core-driver-" + rayDriver + "_4185.log":                          {RayJob{".", "01000000"}, 4185},
		rayLogs + "/python-core-driver-" + rayDriver + "_0.log":                  {},
		rayLogs + "/python-core-driver-" + rayDriver + "_x.log":                  {},
		rayLogs + "/python-core-driver-" + rayDriver + "_4185":                   {},
		rayLogs + "/python-core-driver-" + rayDriver + ".log":                    {},
		rayLogs + "/python-core-driver-" + rayWorker + "_4185.log":               {}, // not a driver's id
		rayLogs + "/python-core-worker-" + rayDriver + "_4185.log":               {},
		rayLogs + "/python-core-driver-01000000_4185.log":                        {},
		rayLogs + "/python-core-driver-" + strings.Repeat("f", 56) + "_4185.log": {},
		rayLogs: {}, "": {},
	} {
		job, pid, ok := parseRayDriverLog(path)
		if job != want.job || pid != want.pid || ok != (want.pid > 0) {
			t.Errorf("%s: %+v, %d, %v", path, job, pid, ok)
		}
	}
}

func TestParseRayWorkerLog(t *testing.T) {
	for path, want := range map[string]struct {
		job RayJob
		pid int
	}{
		rayLogs + "/worker-" + rayWorker + "-02000000-4437.out":        {RayJob{rayLogs, "02000000"}, 4437},
		rayLogs + "/worker-" + rayWorker + "-02000000-4437.err":        {RayJob{rayLogs, "02000000"}, 4437},
		rayLogs + "/worker-" + rayWorker + "-ffffffff-4264.out":        {RayJob{rayLogs, ""}, 4264},
		rayLogs + "/python-core-worker-" + rayWorker + "_4264.log":     {RayJob{rayLogs, ""}, 4264},
		rayLogs + "/python-core-worker-" + rayWorker + "_4264.out":     {},
		rayLogs + "/python-core-worker-" + rayWorker[1:] + "_4264.log": {},
		rayLogs + "/worker-" + rayWorker + "-02000000-4437.log":        {},
		rayLogs + "/worker-" + rayWorker + "-02000000-.out":            {},
		rayLogs + "/worker-" + rayWorker + "-0200000G-4437.out":        {},
		rayLogs + "/worker-" + rayWorker + "-0200-4437.out":            {},
		rayLogs + "/worker-" + rayWorker + "-4437.out":                 {},
		rayLogs + "/worker-" + rayWorker[1:] + "-02000000-4437.out":    {},
		rayLogs + "/events/event_CORE_WORKER_4264.log":                 {},
		rayLogs + "/raylet.out":                                        {}, rayLogs: {}, "": {},
	} {
		job, pid, ok := parseRayWorkerLog(path)
		if job != want.job || pid != want.pid || ok != (want.pid > 0) {
			t.Errorf("%s: %+v, %d, %v", path, job, pid, ok)
		}
	}
}

func TestParseRayJobLine(t *testing.T) {
	for output, want := range map[string]string{
		":job_id:01000000\n:actor_name:RayWorkerWrapper\n": "01000000",
		"a warning\n:job_id:0a000000\n":                    "0a000000",
		":job_id:01000000\n:job_id:02000000\n":             "01000000",
		":job_id:01000000":                                 "", // not written whole
		":job_id:ffffffff\n":                               "",
		":job_id:0100000\n":                                "",
		"x:job_id:01000000\n":                              "",
		"":                                                 "",
	} {
		if got := parseRayJobLine([]byte(output)); got != want {
			t.Errorf("%q: %q, want %q", output, got, want)
		}
	}
}

func FuzzParseRayDriverLog(f *testing.F) {
	f.Add(rayLogs + "/python-core-driver-" + rayDriver + "_4185.log")
	f.Add("python-core-driver-_.log")
	f.Fuzz(func(t *testing.T, path string) {
		job, pid, ok := parseRayDriverLog(path)
		if !ok {
			return
		}
		if pid <= 0 || !isRayJob(job.ID) || !strings.Contains(path, "python-core-driver-"+job.ID+strings.Repeat("f", 48)+"_") {
			t.Errorf("%q: %+v, %d", path, job, pid)
		}
	})
}

func FuzzParseRayWorkerLog(f *testing.F) {
	f.Add(rayLogs + "/worker-" + rayWorker + "-02000000-4437.out")
	f.Add(rayLogs + "/worker-" + rayWorker + "-ffffffff-4437.err")
	f.Add(rayLogs + "/python-core-worker-" + rayWorker + "_4264.log")
	f.Add("worker---.out")
	f.Fuzz(func(t *testing.T, path string) {
		job, pid, ok := parseRayWorkerLog(path)
		if ok && (pid <= 0 || job.Logs == "" || job.ID != "" && (!isRayJob(job.ID) || !strings.Contains(path, "-"+job.ID+"-"))) {
			t.Errorf("%q: %+v, %d", path, job, pid)
		}
	})
}

func FuzzParseRayJobLine(f *testing.F) {
	f.Add([]byte(":job_id:01000000\n:task_name:x\n"))
	f.Add([]byte("\n:job_id:"))
	f.Fuzz(func(t *testing.T, output []byte) {
		if id := parseRayJobLine(output); id != "" && (!isRayJob(id) || !strings.Contains(string(output), ":job_id:"+id+"\n")) {
			t.Errorf("%q: %q", output, id)
		}
	})
}

// A worker shows its job in its environment, in the name of its output, or in its output.
func TestRayWorkerJob(t *testing.T) {
	const pid = 4264
	core := rayLogs + "/python-core-worker-" + rayWorker + "_4264.log"
	output := func(job string) string { return rayLogs + "/worker-" + rayWorker + "-" + job + "-4264.out" }
	for _, c := range []struct {
		name    string
		environ string
		files   []string // that it holds open
		want    RayJob
		err     string
	}{
		{"environment", "RAY_JOB_ID=02000000", []string{core, output("02000000")}, RayJob{rayLogs, "02000000"}, ""},
		{"environment without files", "RAY_JOB_ID=02000000", nil, RayJob{"", "02000000"}, ""},
		{"name of the output", "PATH=/bin", []string{"socket:[1]", output("02000000"), core}, RayJob{rayLogs, "02000000"}, ""},
		{"removed output", "PATH=/bin", []string{output("02000000") + " (deleted)"}, RayJob{rayLogs, "02000000"}, ""},
		{"started without a job", "RAY_JOB_ID=ffffffff", []string{"OUTPUT"}, RayJob{"LOGS", "01000000"}, ""},
		{"no job yet", "RAY_JOB_ID=ffffffff", []string{core, output("ffffffff")}, RayJob{}, ErrNoRayJob.Error()},
		{"the output of another worker", "RAY_JOB_ID=ffffffff", []string{rayLogs + "/worker-" + rayWorker + "-02000000-99.out"}, RayJob{}, ErrNoRayJob.Error()},
		{"not a worker", "PATH=/bin", []string{"/dev/null"}, RayJob{}, ErrNoRayJob.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := proctest.New(t)
			f.Put(pid, proctest.Stat{PPID: 1, Comm: "ray::RayWorkerW"})
			f.Write("4264/status", "Name:\tray::RayWorkerW\nNSpid:\t4264\n")
			f.Link("4264/fd/0", "/dev/null")
			f.Write("4264/environ", "HOME=/root\x00"+c.environ+"\x00")
			name := fmt.Sprintf("worker-%s-ffffffff-4264.out", rayWorker)
			f.Write("logs/"+name, ":job_id:01000000\n:actor_name:RayWorkerWrapper\n")
			for i, target := range c.files {
				if target == "OUTPUT" {
					target = f.Root + "/logs/" + name
				}
				f.Link(fmt.Sprintf("4264/fd/%d", i+1), target)
			}
			if c.want.Logs == "LOGS" {
				c.want.Logs = f.Root + "/logs"
			}
			got, err := RayWorkerJob(f.Root, pid)
			if got != c.want || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
				t.Errorf("%+v, %v, want %+v, %q", got, err, c.want, c.err)
			}
		})
	}
}

func TestRayDriverJobs(t *testing.T) {
	f := proctest.New(t)
	f.Put(4185, proctest.Stat{PPID: 1, Comm: "python"})
	f.Write("4185/status", "NSpid:\t9000\t4185\n") // in a container
	f.Link("4185/fd/1", "/dev/null")
	f.Link("4185/fd/15", rayLogs+"/python-core-driver-"+rayDriver+"_4185.log")
	f.Link("4185/fd/16", "pipe:[12484599]")
	f.Link("4185/fd/17", rayLogs+"/python-core-driver-02"+rayDriver[2:]+"_77.log") // another process's
	jobs, err := RayDriverJobs(f.Root, 4185)
	if err != nil || !slices.Equal(jobs, []RayJob{{rayLogs, "01000000"}}) {
		t.Errorf("%+v, %v", jobs, err)
	}
	if _, err := RayDriverJobs(f.Root, 7); !gone(err) || !strings.Contains(err.Error(), "process 7") {
		t.Errorf("without a process: %v", err)
	}
	if _, err := RayWorkerJob(f.Root, 4185); err == nil || errors.Is(err, ErrNoRayJob) {
		t.Errorf("an environment that cannot be read: %v", err)
	}
}

func TestLineage(t *testing.T) {
	f := proctest.New(t)
	f.Put(1, proctest.Stat{Comm: "systemd"})
	f.Put(40, proctest.Stat{PPID: 1, Comm: "raylet"})
	f.Put(41, proctest.Stat{PPID: 40, Comm: "ray::RayWorkerW"})
	f.Put(42, proctest.Stat{PPID: 41, Comm: "VLLM::Worker"})
	f.Put(50, proctest.Stat{PPID: 49, Comm: "python"})
	pids := func(list []Process) (pids []int) {
		for _, p := range list {
			pids = append(pids, p.PID)
		}
		return pids
	}
	for _, c := range []struct {
		pid      int
		chain    []int
		complete bool
		below    []int
	}{
		{42, []int{42, 41, 40, 1}, true, []int{42, 41}},
		{41, []int{41, 40, 1}, true, []int{41}},
		{40, []int{40, 1}, true, nil},
		{50, []int{50}, false, nil},
		{99, nil, false, nil},
	} {
		chain, complete := Lineage(f.Root, c.pid)
		if !slices.Equal(pids(chain), c.chain) || complete != c.complete {
			t.Errorf("%d: %v, %v", c.pid, chain, complete)
		}
		if below := BelowRaylet(chain); !slices.Equal(pids(below), c.below) {
			t.Errorf("%d: %v below the raylet, want %v", c.pid, below, c.below)
		}
	}
}
