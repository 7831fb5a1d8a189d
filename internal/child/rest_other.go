//go:build !linux

package child

import "time"

// rest does nothing: orphans are not adopted here.
type rest struct{ pid int }

func (*rest) after(time.Time, bool) (waited bool) { return false }

func (*rest) again() (waited bool) { return false }

func (*rest) close() {}
