//go:build !linux

package doctor

// rlimitNProc is RLIMIT_NPROC of macOS (sys/resource.h), which package unix lacks.
const rlimitNProc = 7
