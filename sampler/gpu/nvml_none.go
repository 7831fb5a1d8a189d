//go:build !linux || !cgo

package gpu

import "runtime"

// noDriver is the driver if NVML cannot be called: start returns why, and nothing else
// is implemented.
type noDriver struct{ driver }

func newDriver() driver { return noDriver{} }

func (noDriver) start() error {
	if runtime.GOOS != "linux" {
		return unsupportedBuild("GPUs can be sampled on Linux only: run vobs on the machine that has them")
	}
	return unsupportedBuild("this vobs was built without cgo, which NVML needs: build it with CGO_ENABLED=1 and a C compiler")
}

// unsupportedBuild is why this build cannot call NVML.
type unsupportedBuild string

func (e unsupportedBuild) Error() string { return string(e) }

// Is reports whether target is ErrNoSupport.
func (unsupportedBuild) Is(target error) bool { return target == ErrNoSupport }
