//go:build !linux || !cgo

package gpu

import (
	"errors"
	"runtime"
)

// noDriver stands where NVML cannot be called: it says so and offers nothing else.
type noDriver struct{ driver }

func newDriver() driver { return noDriver{} }

func (noDriver) start() error {
	if runtime.GOOS != "linux" {
		return errors.New("GPUs are sampled on Linux only: run vobs on the machine that has them")
	}
	return errors.New("this vobs was built without cgo, which NVML needs: build it with CGO_ENABLED=1 and a C compiler")
}
