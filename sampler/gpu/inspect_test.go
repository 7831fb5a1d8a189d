package gpu

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestInspect(t *testing.T) {
	d := &fakeDriver{}
	used := func(time.Time) (uint64, error) { return 5 << 30, nil }
	procs := func(time.Time) ([]process, error) { return []process{{pid: 9}, {pid: 8}}, nil }
	d.gpus = []*fakeGPU{{drv: d, id: "GPU-a", used: used}, {drv: d, id: "GPU-b", used: used, procs: procs}}
	visible := "1,7"
	in, err := inspect(Config{Visible: &visible}, d)
	if err != nil {
		t.Fatal(err)
	}
	if in.Count != 2 || len(in.Devices) != 1 || in.Devices[0].Index != 1 || len(in.Unresolved) != 1 {
		t.Errorf("%+v", in)
	}
	if dev := in.Devices[0]; dev.MemoryErr != nil || dev.UsedBytes != 5<<30 || !slices.Equal(dev.PIDs, []int{8, 9}) || dev.PowerErr != nil {
		t.Errorf("%+v", dev)
	}
	hidden := ""
	if in, err = inspect(Config{Visible: &hidden}, d); err != nil || len(in.Devices) != 0 || in.WhyNone == "" {
		t.Errorf("%+v %v", in, err)
	}
}

func TestInspectErrors(t *testing.T) {
	causes := []error{ErrNoLibrary, ErrNoDriver, ErrMismatch, ErrNoPermission, ErrNoSupport}
	for code, want := range map[int]error{
		codeLibraryNotFound: ErrNoLibrary, codeDriverNotLoaded: ErrNoDriver, codeVersionMismatch: ErrMismatch,
		codeNoPermission: ErrNoPermission, codeOperatingSystem: ErrNoPermission, codeGPULost: nil,
	} {
		_, err := inspect(Config{}, &fakeDriver{initErr: fmt.Errorf("init: %w", &callError{"nvmlInit", code})})
		for _, cause := range causes {
			if errors.Is(err, cause) != (cause == want) {
				t.Errorf("code %d: %v: is %v: %v", code, err, cause, errors.Is(err, cause))
			}
		}
	}
}
