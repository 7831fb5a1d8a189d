//go:build !cgo

package cli

// cgo reports whether this build uses cgo.
const cgo = false
