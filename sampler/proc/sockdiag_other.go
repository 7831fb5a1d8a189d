//go:build !linux

package proc

import "errors"

// diagListeners always fails.
func diagListeners(bool) ([]netSocket, error) { return nil, errors.ErrUnsupported }
