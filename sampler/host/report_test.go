package host

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/vobs/vobs/sampler/internal/proctest"
	"github.com/vobs/vobs/schema"
)

// nullsExplained checks that exactly the nulls of the group have a reason in notes, for
// themselves or for a group above them.
func nullsExplained(t *testing.T, host schema.Host, notes schema.Notes) {
	t.Helper()
	missing := make(map[string]bool)
	for _, u := range notes.Unavailable {
		if u.Reason == "" || strings.HasSuffix(u.Reason, ".") {
			t.Errorf("%s: reason %q", u.Field, u.Reason)
		}
		missing[u.Field] = true
	}
	nulls := map[string]bool{
		"host.cpu_count":             host.CPUCount == nil,
		"host.cpu_limit":             host.CPULimit == nil,
		"host.memory_total_bytes":    host.MemoryTotalBytes == nil,
		"host.memory_limit_bytes":    host.MemoryLimitBytes == nil,
		"host.tree_cpu_seconds":      host.TreeCPUSeconds == nil,
		"host.tree_peak_rss_bytes":   host.TreePeakRSSBytes == nil,
		"host.pressure_some_seconds": host.PressureSomeSeconds == nil,
		"host.energy_joules":         host.EnergyJoules == nil,
		"host.sampling":              host.Sampling == nil,
	}
	if p := host.PressureSomeSeconds; p != nil {
		nulls["host.pressure_some_seconds.cpu"] = p.CPU == nil
		nulls["host.pressure_some_seconds.memory"] = p.Memory == nil
		nulls["host.pressure_some_seconds.io"] = p.IO == nil
	}
	if s := host.Sampling; s != nil {
		nulls["host.sampling.period_seconds"] = s.PeriodSeconds == nil
		nulls["host.sampling.max_gap_seconds"] = s.MaxGapSeconds == nil
	}
	for field, null := range nulls {
		if null != missing[field] {
			t.Errorf("%s: null %v, has a reason %v", field, null, missing[field])
		}
		delete(missing, field)
	}
	for field := range missing {
		t.Errorf("%s: no such field", field)
	}
}

// What the host lacks is null and has a reason.
func TestNulls(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	unlimited := func(t *testing.T) string {
		f := proctest.VLLM(t)
		f.Write("stat", "cpu0 1 2\n")
		f.Write("meminfo", "MemTotal: 1 kB\n")
		f.Write("self/cgroup", "0::/\n")
		f.Write("self/mountinfo", "35 24 0:30 / /cg rw - cgroup2 cgroup2 rw\n")
		f.Write("cg/cpu.max", "max 100000\n")
		f.Write("cg/memory.max", "max\n")
		return f.Root
	}
	bare := func(t *testing.T) string {
		f := proctest.New(t)
		f.Write("stat", "")
		return f.Root
	}
	tests := []struct {
		name    string
		root    func(t *testing.T) string
		started bool
		cpu     time.Duration
		reasons map[string]string
	}{
		{"no /proc", func(t *testing.T) string { return filepath.Join(t.TempDir(), "none") }, true, -1, map[string]string{
			"host.cpu_count": "only Linux", "host.sampling": "only Linux", "host.tree_cpu_seconds": "not reported"}},
		{"an empty /proc", bare, true, -1, map[string]string{
			"host.cpu_count": "cpu0", "host.memory_total_bytes": "meminfo", "host.cpu_limit": "cgroups", "host.memory_limit_bytes": "cgroups",
			"host.pressure_some_seconds": "CONFIG_PSI", "host.tree_peak_rss_bytes": "ended before"}},
		{"no limits", unlimited, false, 0, map[string]string{
			"host.cpu_limit": "the cgroup sets no limit", "host.memory_limit_bytes": "the cgroup sets no limit",
			"host.tree_peak_rss_bytes": "the command was not started", "host.sampling.period_seconds": "fewer than two"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := test.root(t)
			s := Start(Config{ProcRoot: root, CgroupRoot: root, RootPID: proctest.VobsPID})
			if test.started {
				s.CommandStarted()
			}
			host, notes := s.Stop(test.cpu)
			nullsExplained(t, host, notes)
			for field, reason := range test.reasons {
				if !slices.ContainsFunc(notes.Unavailable, func(u schema.Unavailable) bool {
					return u.Field == field && strings.Contains(u.Reason, reason)
				}) {
					t.Errorf("%s: no reason with %q in %v", field, reason, notes.Unavailable)
				}
			}
			if test.cpu >= 0 && (host.TreeCPUSeconds == nil || float64(*host.TreeCPUSeconds) != test.cpu.Seconds()) {
				t.Errorf("tree_cpu_seconds = %v", host.TreeCPUSeconds)
			}
			if left := mustList(t, s); test.name != "no limits" && len(left) != 0 {
				t.Errorf("leftovers %v", left)
			}
			again, notes2 := s.Stop(time.Hour)
			if diff := cmp.Diff(host, again) + cmp.Diff(notes, notes2); diff != "" {
				t.Errorf("a second Stop returns something else: %s", diff)
			}
		})
	}
	// Without a /proc, the CPU time of processes waited for is still reported.
	s := Start(Config{ProcRoot: filepath.Join(t.TempDir(), "none")})
	host, notes := s.Stop(time.Second)
	if host.TreeCPUSeconds == nil || *host.TreeCPUSeconds != 1 || len(notes.Validity) != 1 || notes.Validity[0].Code != "tree_cpu_incomplete" {
		t.Errorf("tree_cpu_seconds = %v, validity %v", host.TreeCPUSeconds, notes.Validity)
	}
}

// Failed readings are counted and do not discard the others.
func TestTreeSamples(t *testing.T) {
	var samples treeSamples
	start := time.Now()
	samples.add(start, 100, nil)
	samples.add(start.Add(time.Second), 300, errors.New("one process was not readable"))
	samples.add(start.Add(4*time.Second), 200, nil)
	samples.add(start.Add(5*time.Second), 50, nil)
	var host schema.Host
	var notes schema.Notes
	samples.report(&host, &notes)
	want := &schema.Sampling{PeriodSeconds: schema.F(2.5), Samples: 3, Errors: 1, MaxGapSeconds: schema.F(4)}
	if diff := cmp.Diff(want, host.Sampling); diff != "" || *host.TreePeakRSSBytes != 300 || len(notes.Unavailable) != 0 {
		t.Errorf("peak %d, notes %v (-want +got):\n%s", *host.TreePeakRSSBytes, notes, diff)
	}
	samples = treeSamples{}
	samples.add(start, 0, errors.New("no permission"))
	host, notes = schema.Host{}, schema.Notes{}
	samples.report(&host, &notes)
	if host.TreePeakRSSBytes != nil || !strings.Contains(fmt.Sprint(notes), "no permission") {
		t.Errorf("peak %v, notes %v", host.TreePeakRSSBytes, notes)
	}
}
