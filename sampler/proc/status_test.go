package proc

import "testing"

func TestStatusField(t *testing.T) {
	status := []byte("Name:\ta:b\nUid:\t0\t0\t0\t0\nVmHWM:\t    2048 kB\nSeccomp_filters:\t0\nLast:")
	for name, want := range map[string]string{"Name": "a:b", "Uid": "0\t0\t0\t0", "VmHWM": "2048 kB", "Last": ""} {
		if got, ok := StatusField(status, name); !ok || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
	for _, name := range []string{"", "Vm", "Seccomp", "0"} {
		if got, ok := StatusField(status, name); ok {
			t.Errorf("%s: %q", name, got)
		}
	}
}
