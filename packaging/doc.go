// Packaging builds what people install: archives for Linux on amd64 and arm64, Python wheels that
// carry the binary, a list of what is linked (SBOM) for each, and checksums.
//
//	go run ./packaging build -out dist   # what make dist calls
//	go run ./packaging check -out dist   # what make check-dist calls
//
// Both binaries use cgo, because NVML is reached through it. zig compiles the C parts for glibc
// 2.28, so that they run on every distribution since 2018; see zigcc.
//
// Two builds of a commit are equal byte for byte, wherever they are built, if the Go release and
// zig are the same: files in archives are sorted, have the date of the commit and no owner, and
// the binary holds no path and no build id.
package main
