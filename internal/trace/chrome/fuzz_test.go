package chrome_test

import (
	"testing"

	"github.com/vobs/vobs/internal/trace"
)

// FuzzRead reads anything: it ends with an error or with figures that fit together.
func FuzzRead(f *testing.F) {
	one := event("ncclDevKernel", 1000, 10)
	f.Add([]byte(`{"schemaVersion": 1, "deviceProperties": [{"id": 0, "name": "A"}], "distributedInfo": {"rank": 3}, "traceEvents": [` + one + `]}`))
	f.Add([]byte(`[` + one + "," + event("flash", 1005, 1) + `, {"ph": "X", "cat": "user_annotation", "name": "execute_context_1(2)_generation_0(0)", "ts": 1, "dur": 5}`))
	f.Add([]byte(`[{"ph": "X", "cat": "kernel", "name": "\x", "ts": 1}, ` + one + `]`))
	f.Add([]byte(`[{"ph": "X", "cat": "gpu_user_annotation", "name": "execute_new_1_cached_2", "pid": 0, "ts": 900, "dur": 200}, ` + one +
		`, {"ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "ts": 990, "dur": 2, "args": {"correlation": 1000}}]`))
	f.Add([]byte("\x1f\x8b\x08"))
	f.Add([]byte("\x28\xb5\x2f\xfd"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := read(t, data)
		if err == nil {
			trace.CheckResult(t.Errorf, r)
		}
	})
}

// Cutting a trace anywhere, and changing any byte, is an error or leaves figures that fit together.
func TestCutAndChanged(t *testing.T) {
	text := []byte(`{"traceEvents": [` + event("flash", 1000, 10) + ", " + event("ncclDevKernel", 1005, 20) + `], "traceName": "x"}`)
	for at := range text {
		cut := text[:at]
		changed := append(append(append([]byte{}, text[:at]...), text[at]^0x15), text[at+1:]...)
		for _, data := range [][]byte{cut, changed} {
			if r, err := read(t, data); err == nil {
				trace.CheckResult(t.Errorf, r)
			}
		}
	}
}
