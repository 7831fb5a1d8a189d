package doctor

import "golang.org/x/sys/unix"

const rlimitNProc = unix.RLIMIT_NPROC
