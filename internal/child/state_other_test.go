//go:build !linux

package child

import "testing"

func maskMain() { panic("only on Linux") }

// waitStopped has no /proc to look at; the shell's own message must do.
func waitStopped(*testing.T, int) {}
