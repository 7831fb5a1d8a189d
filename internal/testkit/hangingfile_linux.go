package testkit

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// HangingFile makes path a file that never responds, until release is called: a FUSE file
// system whose server takes in every request and answers none but the first, FUSE_INIT. A
// thread that opens the file cannot be interrupted by any signal. The test is skipped if FUSE
// cannot be used.
func HangingFile(t testing.TB, path string) (release func()) {
	t.Helper()
	const how = "SKIPPED: needs FUSE: run it as root where /dev/fuse exists (modprobe fuse; docker run --privileged)"
	// Non-blocking, so that Close ends a Read.
	server, err := os.OpenFile("/dev/fuse", os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skipf("%s: %v", how, err)
	}
	conn, err := server.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var mountErr error
	if err := conn.Control(func(fd uintptr) {
		options := fmt.Sprintf("fd=%d,rootmode=%o,user_id=%d,group_id=%d,allow_other", fd, unix.S_IFREG, os.Getuid(), os.Getgid())
		mountErr = unix.Mount("vobs-test", path, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options)
	}); err != nil {
		t.Fatal(err)
	}
	if mountErr != nil {
		server.Close()
		t.Skipf("%s: %v", how, mountErr)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		serveInit(server)
	}()
	var once sync.Once
	release = func() {
		once.Do(func() {
			// This aborts the requests: each fails.
			server.Close()
			<-served
			if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(release)
	return release
}

// serveInit reads requests until the file is closed. It answers FUSE_INIT (struct
// fuse_init_out in include/uapi/linux/fuse.h) and leaves the others without an answer.
func serveInit(server *os.File) {
	const (
		headerIn, headerOut = 40, 16
		opInit              = 26
		initOut             = 64
	)
	request := make([]byte, 1<<17)
	order := binary.NativeEndian
	for {
		n, err := server.Read(request)
		if err != nil {
			return
		}
		if n < headerIn+8 || order.Uint32(request[4:]) != opInit {
			continue
		}
		answer := make([]byte, headerOut+initOut)
		order.PutUint32(answer, uint32(len(answer)))
		copy(answer[8:16], request[8:16]) // the request's number
		order.PutUint32(answer[headerOut:], 7)
		order.PutUint32(answer[headerOut+4:], min(order.Uint32(request[headerIn+4:]), 31))
		order.PutUint32(answer[headerOut+20:], 4096) // max_write
		if _, err := server.Write(answer); err != nil {
			return
		}
	}
}
