//go:build linux && cgo

package gpu

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/schema"
)

// These tests load the fake NVML library through the real go-nvml binding, in a
// helper process.

func TestDevices(t *testing.T) {
	t.Parallel()
	lib := fakeLibrary(t)
	for _, n := range []int{0, 1, 2, 8} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			// The memory follows a file that the command writes.
			used := filepath.Join(t.TempDir(), "used")
			if err := os.WriteFile(used, []byte("1GiB"), 0o600); err != nil {
				t.Fatal(err)
			}
			wait := untilMeasured
			if n == 0 {
				wait = ""
			}
			r := helperConfig{Command: []string{"sh", "-c", "echo 3GiB >'" + used + "'; " + wait}, Strict: 20 * time.Second, Leaks: true}.run(t, lib, fmt.Sprintf(`
				devices %d
				used file %s
				process pid=child mem=2GiB
				power 250
				util 0.75
				temp 61
				throttle sw_power_cap gpu_idle`, n, used))
			if r.Ready != "" {
				t.Fatal(r.Ready)
			}
			if len(r.GPUs) != n || r.GPUs == nil {
				t.Fatalf("%d devices: %+v", len(r.GPUs), r.Notes)
			}
			if n == 0 {
				if r.reason("peak_vram_gb") == "" {
					t.Error("no reason for peak_vram_gb")
				}
				return
			}
			if *r.PeakVRAMGB != 3 {
				t.Errorf("peak_vram_gb %v", *r.PeakVRAMGB)
			}
			for i, d := range r.GPUs {
				if d.Index != i || d.Name != "Simulated GPU" || *d.DriverVersion != "580.82.07" || *d.MemoryAPI != "v2" {
					t.Errorf("GPU %d: %+v", i, d)
				}
				if *d.PeakBytes != 3*gib || *d.MemoryTotalBytes != 80*gib || *d.MemoryReservedBytes != 569<<20 {
					t.Errorf("GPU %d: peak %d, total %d, reserved %d", i, *d.PeakBytes, *d.MemoryTotalBytes, *d.MemoryReservedBytes)
				}
				if d.UsedByJob == nil || !*d.UsedByJob || *d.JobPeakBytes != 2*gib || len(d.ForeignProcesses) != 0 {
					t.Errorf("GPU %d: processes: %v", i, r.Notes)
				}
				if d.PowerWatts == nil || d.PowerWatts.Max != 250 || d.Utilization.Mean != 0.75 || *d.TemperatureCelsiusMax != 61 || *d.ThrottledFraction != 1 || strings.Join(d.ThrottleReasons, " ") != "sw_power_cap" {
					t.Errorf("GPU %d: gauges: %+v", i, d)
				}
				// 100 W, from a reading before the start to one after the end.
				if low := 95 * r.Ran.Seconds(); d.EnergyJoules == nil || float64(*d.EnergyJoules) < low || float64(*d.EnergyJoules) > low+1000 {
					t.Errorf("GPU %d: %v J in %v, want 100 W", i, d.EnergyJoules, r.Ran)
				}
				if d.BaselineBytes == nil || *d.BaselineBytes != gib {
					t.Errorf("GPU %d: baseline %v: %s", i, d.BaselineBytes, r.reason(fmt.Sprintf("gpus.%d.baseline_bytes", i)))
				}
			}
		})
	}
}

// A spike of 20 ms is seen on each of 8 devices, unless the machine itself paused for
// longer than the spike: then the gap shows that, and the test tries again.
func TestSpike(t *testing.T) {
	lib := fakeLibrary(t)
	script := "devices 8\nused 1GiB\n"
	for i := range 8 {
		for k := range 3 {
			script += fmt.Sprintf("device %d\nused pulse %dGiB at=%dms for=20ms\n", i, 10+k, 400+40*i+320*k)
		}
	}
	for attempt := 1; ; attempt++ {
		r := helperConfig{Run: 1500 * time.Millisecond, Strict: 20 * time.Second}.run(t, lib, script)
		caught, doubtful := 0, 0
		for i, d := range r.GPUs {
			gap := float64(*d.Sampling.MaxGapSeconds)
			switch {
			case *d.PeakBytes == 13*gib:
				caught++
			case gap < 0.020:
				t.Errorf("attempt %d: GPU %d: peak %d, although no gap was longer than %.1f ms", attempt, i, *d.PeakBytes, 1000*gap)
			default:
				doubtful++
			}
		}
		t.Logf("attempt %d: the highest of three spikes of 20 ms was seen on %d of 8 devices, the machine paused for longer on %d", attempt, caught, doubtful)
		if doubtful == 0 {
			return
		}
		if attempt == 5 {
			t.Skip("SKIPPED: this machine is too busy to read every 20 ms: run the test on an idle one")
		}
	}
}

func TestVisibleDevices(t *testing.T) {
	t.Parallel()
	lib := fakeLibrary(t)
	const script = `
		devices 3
		used 1GiB
		device 1
		uuid GPU-11111111-aaaa
		used 2GiB
		name "Other GPU"
		device 2
		instance
		uuid MIG-22220000-aaaa
		used 3GiB
		process pid=4242 mem=2GiB
		instance
		uuid MIG-22221111-aaaa
		used 4GiB`
	for name, c := range map[string]struct {
		config  helperConfig
		want    string // UUIDs
		missing string
		doubt   bool
	}{
		"unset":      {helperConfig{}, "GPU-fa4e0000-5a5a-4b4b-8c8c-000000000000 GPU-11111111-aaaa MIG-22220000-aaaa MIG-22221111-aaaa", "", false},
		"empty":      {helperConfig{Visible: schema.Ptr("")}, "", "", false},
		"uuid":       {helperConfig{Visible: schema.Ptr("GPU-11111111-aaaa")}, "GPU-11111111-aaaa", "", false},
		"mixed":      {helperConfig{Visible: schema.Ptr("MIG-22221,GPU-1111,0")}, "MIG-22221111-aaaa GPU-11111111-aaaa GPU-fa4e0000-5a5a-4b4b-8c8c-000000000000", "", true},
		"old MIG":    {helperConfig{Visible: schema.Ptr("MIG-GPU-fa4e2222-5a5a-4b4b-8c8c-000000000002/8/0")}, "MIG-22221111-aaaa", "", false},
		"unresolved": {helperConfig{Visible: schema.Ptr("1,7,0"), Order: "PCI_BUS_ID"}, "GPU-11111111-aaaa", `"7"`, false},
		"nothing":    {helperConfig{Visible: schema.Ptr("7")}, "", `"7"`, false},
		"order":      {helperConfig{Visible: schema.Ptr("1")}, "GPU-11111111-aaaa", "", true},
		"option":     {helperConfig{Visible: schema.Ptr("0"), Devices: []string{"2:1", "GPU-1"}}, "MIG-22221111-aaaa GPU-11111111-aaaa", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.config.Run, c.config.Strict = 300*time.Millisecond, 20*time.Second
			r := c.config.run(t, lib, script)
			if r.GPUs == nil {
				t.Fatalf("gpus is null: %+v", r.Notes)
			}
			var got []string
			for i, d := range r.GPUs {
				got = append(got, d.UUID)
				if mig := strings.HasPrefix(d.UUID, "MIG-"); mig {
					if d.MIGOf == nil || *d.MIGOf != "GPU-fa4e2222-5a5a-4b4b-8c8c-000000000002" || *d.MemoryTotalBytes != 10*gib || d.Index != 2 {
						t.Errorf("instance: %+v", d)
					}
					if reason := r.reason(fmt.Sprintf("gpus.%d.energy_joules", i)); !strings.Contains(reason, "MIG instance") {
						t.Errorf("energy of an instance: %q", reason)
					}
				} else if d.MIGOf != nil {
					t.Errorf("%s is not an instance, but has mig_of", d.UUID)
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("sampled %q, want %q", got, c.want)
			}
			if reason := r.reason("gpus"); c.missing == "" && reason != "" || !strings.Contains(reason, c.missing) {
				t.Errorf("missing %q, want %q", reason, c.missing)
			}
			if (r.Ready != "") != (c.missing != "") {
				t.Errorf("Ready: %q", r.Ready)
			}
			if (r.doubt("device_order_unknown") != "") != c.doubt {
				t.Errorf("validity: %+v", r.Notes.Validity)
			}
		})
	}
}

// However NVML fails, go-nvml must not make the dynamic loader end the process with exit
// code 127.
func TestNoDriver(t *testing.T) {
	t.Parallel()
	lib := fakeLibrary(t)
	for name, c := range map[string]struct {
		lib, script string
		reason      string
	}{
		"no library":          {t.TempDir(), "", "cannot be loaded"},
		"no NVML":             {fakeLibrary(t, "nvmlInit", "nvmlInit_v2"), "", "has no nvmlInit"},
		"no memory call":      {fakeLibrary(t, "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetMemoryInfo_v2"), "devices 1", "reading the GPUs' memory"},
		"driver not loaded":   {lib, "rule nvmlInit_v2 code=DRIVER_NOT_LOADED", "not loaded"},
		"versions differ":     {lib, "rule nvmlInit_v2 code=LIB_RM_VERSION_MISMATCH", "reboot"},
		"count fails":         {lib, "rule nvmlDeviceGetCount* code=UNKNOWN", "counting the GPUs"},
		"init hangs":          {lib, "rule nvmlInit_v2 hang", "still initializing"},
		"init takes too long": {lib, "rule nvmlInit_v2 sleep=30s", "still initializing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := helperConfig{Run: 300 * time.Millisecond}.run(t, c.lib, c.script)
			if r.GPUs != nil || r.PeakVRAMGB != nil {
				t.Errorf("%+v", r.GPUs)
			}
			if !strings.Contains(r.reason("gpus"), c.reason) || !strings.Contains(r.reason("peak_vram_gb"), c.reason) {
				t.Errorf("reasons %+v, want %q", r.Notes.Unavailable, c.reason)
			}
			if r.Memory != nil {
				t.Errorf("memory of processes: %v", r.Memory)
			}
			if r.Stop > 1500*time.Millisecond {
				t.Errorf("Stop took %v after a command of 0.3 s", r.Stop)
			}
		})
	}
}

// Stop waits for an init that outlasts the command, and then takes readings.
func TestLateInit(t *testing.T) {
	t.Parallel()
	lib := fakeLibrary(t)
	r := helperConfig{Run: 2 * time.Second}.run(t, lib, "devices 1\nused 5GiB\nrule nvmlInit_v2 sleep=2500ms")
	if len(r.GPUs) != 1 || r.GPUs[0].PeakBytes == nil || *r.GPUs[0].PeakBytes != 5*gib || r.doubt("gpu_sampling_late") == "" {
		t.Errorf("%+v", r.Readings)
	}
	if r.Stop > 3*time.Second {
		t.Errorf("Stop took %v", r.Stop)
	}
}

// optionalSymbols are the symbols that vobs calls, except nvmlInit and those without which
// there is nothing to sample.
var optionalSymbols = []string{
	"nvmlSystemGetDriverVersion", "nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetPowerUsage",
	"nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetC2cModeInfoV", "nvmlGpmQueryDeviceSupport", "nvmlGpmSampleAlloc", "nvmlGpmSampleGet", "nvmlGpmMetricsGet", "nvmlDeviceGetUtilizationRates", "nvmlDeviceGetTemperature", "nvmlDeviceGetTemperatureV",
	"nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons",
	"nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetComputeRunningProcesses_v2", "nvmlDeviceGetComputeRunningProcesses_v3",
	"nvmlDeviceGetGraphicsRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses_v2", "nvmlDeviceGetGraphicsRunningProcesses_v3",
	"nvmlDeviceGetMigMode", "nvmlDeviceGetMaxMigDeviceCount", "nvmlDeviceGetMigDeviceHandleByIndex", "nvmlDeviceGetGpuInstanceId",
	"nvmlDeviceGetComputeInstanceId", "nvmlErrorString", "nvmlInit_v2", "nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2",
}

func TestOldDriver(t *testing.T) {
	t.Parallel()
	t.Run("memory only", func(t *testing.T) {
		t.Parallel()
		lib := fakeLibrary(t, optionalSymbols...)
		r := helperConfig{Command: []string{"sleep", "0.6"}, Strict: 20 * time.Second}.run(t, lib, "devices 1\nused 2GiB\nreserved 1GiB\nprocess pid=child mem=2GiB")
		if r.Ready != "" || len(r.GPUs) != 1 {
			t.Fatalf("%s %+v", r.Ready, r.Notes)
		}
		d := r.GPUs[0]
		if *d.MemoryAPI != "v1" || *d.PeakBytes != 3*gib || d.MemoryReservedBytes != nil || d.UsedByJob != nil || d.EnergyJoules != nil || d.PowerWatts != nil {
			t.Errorf("%+v", d)
		}
		for _, f := range []string{"driver_version", "used_by_job", "energy_joules", "power_watts", "temperature_celsius_max", "throttle_reasons"} {
			if reason := r.reason("gpus.0." + f); !strings.Contains(reason, "newer driver") {
				t.Errorf("%s: %q", f, reason)
			}
		}
	})
	t.Run("older names", func(t *testing.T) {
		t.Parallel()
		lib := fakeLibrary(t, "nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetTemperatureV",
			"nvmlDeviceGetComputeRunningProcesses_v2", "nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v2", "nvmlDeviceGetGraphicsRunningProcesses_v3", "nvmlInit_v2")
		r := helperConfig{Command: []string{"sh", "-c", untilMeasured}, Strict: 20 * time.Second}.run(t, lib, "devices 1\nused 2GiB\nprocess pid=child mem=2GiB\nthrottle hw_slowdown")
		if len(r.GPUs) != 1 || *r.GPUs[0].MemoryAPI != "v1" || r.GPUs[0].UsedByJob == nil || !*r.GPUs[0].UsedByJob || strings.Join(r.GPUs[0].ThrottleReasons, "") != "hw_slowdown" || r.GPUs[0].TemperatureCelsiusMax == nil {
			t.Errorf("%+v", r.Readings)
		}
	})
	t.Run("v2 refused", func(t *testing.T) {
		t.Parallel()
		r := helperConfig{Run: 300 * time.Millisecond}.run(t, fakeLibrary(t), "devices 1\nused 2GiB\nreserved 1GiB\nrule nvmlDeviceGetMemoryInfo_v2 code=ARGUMENT_VERSION_MISMATCH")
		if len(r.GPUs) != 1 || *r.GPUs[0].MemoryAPI != "v1" || *r.GPUs[0].PeakBytes != 3*gib {
			t.Errorf("%+v", r.Readings)
		}
	})
	t.Run("newer names only", func(t *testing.T) {
		t.Parallel()
		lib := fakeLibrary(t, "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetTemperature", "nvmlDeviceGetCurrentClocksThrottleReasons", "nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex")
		r := helperConfig{Command: []string{"sh", "-c", until("nvmlDeviceGetTemperatureV", 4)}, Strict: 20 * time.Second}.run(t, lib, "devices 1\nused 2GiB\ntemp 55")
		if len(r.GPUs) != 1 || *r.GPUs[0].MemoryAPI != "v2" || *r.GPUs[0].TemperatureCelsiusMax != 55 {
			t.Errorf("%+v", r.Readings)
		}
	})
}

// When a driver misbehaves during the run, what was sampled is kept, and each null has a
// reason.
func TestFaultyDriver(t *testing.T) {
	t.Parallel()
	lib := fakeLibrary(t)
	const fault = ": >$DIR/fault\n"
	memory := func(times int) string { return until("nvmlDeviceGetMemoryInfo_v2", times) }
	for name, c := range map[string]struct {
		script  string
		command string // of sh
		check   func(t *testing.T, r helperResult)
	}{
		"transient errors": {"devices 2\nused 2GiB\nrule nvmlDeviceGetMemoryInfo_v2 device=1 code=TIMEOUT every=5", memory(50), func(t *testing.T, r helperResult) {
			a, b := r.GPUs[0].Sampling, r.GPUs[1].Sampling
			if a.Errors != 0 || b.Errors < 5 || b.Samples < 3*b.Errors || *r.GPUs[1].PeakBytes != 2*gib {
				t.Errorf("%+v %+v", *a, *b)
			}
		}},
		"lost while sampling": {"devices 2\nused 2GiB\nrule nvmlDevice* device=1 code=GPU_IS_LOST when=$DIR/fault", memory(5) + fault + memory(5), func(t *testing.T, r helperResult) {
			d := r.GPUs[1]
			if *d.PeakBytes != 2*gib || d.Sampling.Errors == 0 || !strings.Contains(r.reason("gpus.1.energy_joules"), "lost") {
				t.Errorf("%+v %+v", d, r.Notes)
			}
			if r.GPUs[0].EnergyJoules == nil || r.GPUs[0].Sampling.Errors != 0 {
				t.Errorf("the other GPU: %+v", r.GPUs[0])
			}
		}},
		"blind at the end": {"devices 1\nused 2GiB\nrule nvmlDevice* code=UNKNOWN when=$DIR/fault", memory(5) + fault + "sleep 2", func(t *testing.T, r helperResult) {
			gap, ok := r.GPUs[0].Sampling.MaxGapSeconds.Value()
			if !ok || gap < 1.9 || gap > r.Ran.Seconds() || *r.GPUs[0].PeakBytes != 2*gib || !strings.Contains(r.doubt("gpu_sampling_broke"), "a later peak is unknown") {
				t.Errorf("gap %v, peak %d, %+v", gap, *r.GPUs[0].PeakBytes, r.Notes)
			}
		}},
		"lost from the start": {"devices 2\nrule nvmlDeviceGetUUID device=1 code=GPU_IS_LOST", memory(5), func(t *testing.T, r helperResult) {
			if len(r.GPUs) != 1 || !strings.Contains(r.reason("gpus"), "GPU 1 cannot be sampled") {
				t.Errorf("%+v", r.Notes)
			}
		}},
		"memory hangs": {"devices 2\nused 2GiB\nrule nvmlDeviceGetMemoryInfo_v2 device=1 hang when=$DIR/fault", memory(5) + fault + untilTotalOn(1, "rule:nvmlDeviceGetMemoryInfo_v2", "1"), func(t *testing.T, r helperResult) {
			if *r.GPUs[0].PeakBytes != 2*gib || !strings.Contains(r.doubt("gpu_driver_stuck"), "reading the memory") {
				t.Errorf("%+v", r.Notes)
			}
			if r.GPUs[0].EnergyJoules == nil {
				t.Errorf("energy, whose call did not hang: %s", r.reason("gpus.0.energy_joules"))
			}
		}},
		"power hangs": {"devices 1\nused 2GiB\nrule nvmlDeviceGetPowerUsage hang", untilTotal("rule:nvmlDeviceGetPowerUsage", "1") + memory(30), func(t *testing.T, r helperResult) {
			if *r.GPUs[0].PeakBytes != 2*gib || r.GPUs[0].Sampling.Samples < 20 || r.doubt("gpu_driver_stuck") == "" {
				t.Errorf("%+v", r.Readings)
			}
		}},
		"implausible": {"devices 1\nused unknown\npower unknown\nenergy unknown\nutil unknown\ntemp unknown", untilListed, func(t *testing.T, r helperResult) {
			d := r.GPUs[0]
			if d.PeakBytes != nil || r.PeakVRAMGB != nil || d.PowerWatts != nil || d.EnergyJoules != nil || d.Utilization != nil || d.TemperatureCelsiusMax != nil || d.Sampling.Errors == 0 {
				t.Errorf("%+v", d)
			}
			if !strings.Contains(r.reason("gpus.0.peak_bytes"), "plausible") {
				t.Errorf("%+v", r.Notes)
			}
		}},
		"unsupported": {"devices 1\nused 1GiB\npower unsupported\nenergy unsupported\nutil unsupported\ntemp unsupported", untilListed, func(t *testing.T, r helperResult) {
			d := r.GPUs[0]
			if *d.PeakBytes != gib || d.PowerWatts != nil || d.EnergyJoules != nil || d.Sampling.Errors != 0 || !strings.Contains(r.reason("gpus.0.power_watts"), "does not support") {
				t.Errorf("%+v %+v", d, r.Notes)
			}
		}},
		"energy decreases": {"devices 1\nenergy 0 step 5000 at=0s\nenergy file $DIR/energy", "echo -3000 >$DIR/energy", func(t *testing.T, r helperResult) {
			if r.GPUs[0].EnergyJoules != nil || !strings.Contains(r.reason("gpus.0.energy_joules"), "decreased") {
				t.Errorf("%+v", r.Notes)
			}
		}},
		"unknown process memory and a foreign one": {"devices 1\nused 2GiB\nprocess pid=child mem=unknown\nprocess pid=parent mem=1GiB", untilListed, func(t *testing.T, r helperResult) {
			d := r.GPUs[0]
			if !*d.UsedByJob || d.JobPeakBytes != nil || len(d.ForeignProcesses) != 1 || d.ForeignProcesses[0].Name == nil || *d.ForeignProcesses[0].PeakBytes != gib {
				t.Errorf("%+v", d)
			}
		}},
		"many processes": {"devices 1\nused 2GiB\nprocess pid=child mem=1GiB\n" + strings.Repeat("process pid=parent mem=1MiB\nprocess pid=self mem=1MiB type=graphics\n", 10), untilListed, func(t *testing.T, r helperResult) {
			d := r.GPUs[0]
			if !*d.UsedByJob || *d.JobPeakBytes != gib || len(d.ForeignProcesses) != 2 {
				t.Errorf("%+v", d)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := helperConfig{Command: []string{"sh", "-c", c.command}, Strict: 20 * time.Second}.run(t, lib, c.script)
			if len(r.GPUs) == 0 {
				t.Fatalf("no GPUs: %+v", r.Notes)
			}
			c.check(t, r)
			if r.Stop > 4*time.Second { // 2 s, plus delays on a busy machine
				t.Errorf("Stop took %v", r.Stop)
			}
		})
	}
}

// The cost of sampling on the real thread, with a driver that costs nothing and, under the
// governor, with one of 500 µs per call.
func TestCost(t *testing.T) {
	lib := fakeLibrary(t)
	const expensive = "rule nvmlDevice* busy=500us"
	for _, c := range []struct {
		devices  int
		rule     string
		interval time.Duration // 0: auto
		run      time.Duration
		most     float64 // upper bound, share of one core
	}{
		// The race detector and a busy machine raise the cost: the bounds are generous.
		{1, "", 0, 2 * time.Second, 3 * gpuShare},
		{8, "", 10 * time.Millisecond, 2 * time.Second, 3 * gpuShare},
		// Without the governor it would be at least 41 % (measured with a 10 ms loop).
		{8, expensive, 0, 4 * time.Second, 0.03},
	} {
		t.Run(fmt.Sprintf("%d,%v,%s", c.devices, c.interval, c.rule), func(t *testing.T) {
			t.Parallel()
			r := helperConfig{Run: c.run, Interval: c.interval, Strict: 20 * time.Second}.run(t, lib, fmt.Sprintf("devices %d\nused 1GiB\n%s", c.devices, c.rule))
			share, s := r.CPU.Seconds()/r.Ran.Seconds(), r.GPUs[0].Sampling
			t.Logf("%.2f %% of a core, %.2f %% of it in the thread; every %.1f ms, longest gap %.1f ms", 100*share, 100*r.ThreadCPU.Seconds()/r.Ran.Seconds(), 1000**s.PeriodSeconds, 1000**s.MaxGapSeconds)
			if share > c.most {
				t.Errorf("%.2f %% of a core", 100*share)
			}
			if s.Samples < 2 {
				t.Errorf("%+v", *s)
			}
		})
	}
}
