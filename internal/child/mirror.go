package child

import "os"

// Mirror ends vobs as the command ended and never returns: with its exit code,
// or by the same signal, so that a shell sees no difference (a bash loop ends
// on Ctrl-C only if what it ran died of INT). Deferred functions do not run. No
// core dump of vobs is written. Where the signal does not kill, as in process 1
// of a container, the exit code is 128 + the signal's number.
func (e Exit) Mirror() {
	if e.Signal == 0 {
		os.Exit(e.Code)
	}
	dieOf(e.Signal)
	os.Exit(128 + int(e.Signal))
}
