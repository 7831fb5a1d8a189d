package trace

import "math"

// CheckResult calls complain with each figure that cannot be. It is for tests, above all for
// fuzzing: whatever a reader finds, the figures fit together.
func CheckResult(complain func(format string, args ...any), r *Result) {
	const epsilon = 1e-6
	atMost := func(d *Device, what string, x, bound float64) {
		if !(x >= -epsilon && x <= bound*(1+1e-9)+epsilon) || math.IsNaN(x) || math.IsInf(x, 0) {
			complain("device %d: %s is %v, not from 0 to %v", d.Device, what, x, bound)
		}
	}
	for _, d := range r.Devices {
		atMost(d, "busy", d.BusySeconds, d.SpanSeconds)
		atMost(d, "kernel busy", d.KernelBusySeconds, d.BusySeconds)
		atMost(d, "idle", d.IdleFraction, 1)
		atMost(d, "overlap", d.OverlapSeconds, d.Classes[Communication.String()].Seconds)
		atMost(d, "exposed communication", d.ExposedCommunicationSeconds, d.Classes[Communication.String()].Seconds)
		for name, c := range d.Classes {
			atMost(d, name, c.Seconds, d.BusySeconds)
		}
		atMost(d, "gaps", d.Gaps.Seconds, d.SpanSeconds-d.BusySeconds)
		atMost(d, "busy outside of gaps", d.SpanSeconds-d.BusySeconds, d.Gaps.Seconds)
		for _, row := range d.timeline {
			for _, share := range row {
				atMost(d, "a column", share, 1)
			}
		}
		for _, k := range d.TopKernels {
			atMost(d, "a mean", k.MeanSeconds, k.Seconds)
		}
	}
}
