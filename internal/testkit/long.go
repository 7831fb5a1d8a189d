package testkit

import "os"

// Long reports whether tests run at full length: VOBS_TEST_LONG is set and not empty,
// as in `make check-long`. Without it, slow simulations run for about a tenth of that.
func Long() bool { return os.Getenv("VOBS_TEST_LONG") != "" }

// Scale returns whole if tests run at full length (Long), and short otherwise.
func Scale[T any](whole, short T) T {
	if Long() {
		return whole
	}
	return short
}
