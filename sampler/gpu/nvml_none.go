//go:build !linux || !cgo

package gpu

import (
	"errors"
	"runtime"
)

// noDriver is the driver if NVML cannot be called: start returns why, and nothing else
// is implemented.
type noDriver struct{ driver }

func newDriver() driver { return noDriver{} }

func (noDriver) start() error {
	if runtime.GOOS != "linux" {
		return errors.New("GPUs can be sampled on Linux only: run vobs on the machine that has them")
	}
	return errors.New("this vobs was built without cgo, which NVML needs: build it with CGO_ENABLED=1 and a C compiler")
}
