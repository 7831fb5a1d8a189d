//go:build cgo

package cli

// cgo says that this build has C in it.
const cgo = true
