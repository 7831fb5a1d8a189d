package child

import "os"

// Mirror ends vobs as the command ended, and never returns: with its exit code or by
// the same signal, so that a shell sees no difference (a bash loop ends on Ctrl-C only
// if the program in it was killed by INT). Deferred functions do not run. vobs leaves
// no core dump. If the signal does not kill, as in process 1 of a container, the exit
// code is 128 + the signal's number.
func (e Exit) Mirror() {
	if e.Signal == 0 {
		os.Exit(e.Code)
	}
	killSelf(e.Signal)
	os.Exit(128 + int(e.Signal))
}
