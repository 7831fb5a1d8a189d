// Package arch holds tests of the program's structure: which packages may import which
// (arch_test.go), and what is linked into the binary and initialized at every start
// (binary_test.go). A new package needs a place in the table of layers.
package arch
