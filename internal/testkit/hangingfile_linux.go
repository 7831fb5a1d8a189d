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
// thread that opens the file cannot be interrupted by any signal. opened is closed once one
// does. The test is skipped if FUSE cannot be used.
func HangingFile(t testing.TB, path string) (opened <-chan struct{}, release func()) {
	t.Helper()
	const how = "SKIPPED: needs FUSE: run it as root where /dev/fuse exists (modprobe fuse; docker run --privileged)"
	server, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("%s: %v", how, err)
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=%o,user_id=%d,group_id=%d,allow_other", server, unix.S_IFREG, os.Getuid(), os.Getgid())
	if err := unix.Mount("vobs-test", path, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		unix.Close(server)
		t.Skipf("%s: %v", how, err)
	}
	served, open := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(served)
		serveInit(server, open)
	}()
	var once sync.Once
	release = func() {
		once.Do(func() {
			// This ends the connection: each request fails, and so does the server's read.
			if err := unix.Unmount(path, unix.MNT_FORCE|unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
			<-served
			unix.Close(server)
		})
	}
	t.Cleanup(release)
	return open, release
}

// serveInit reads requests until the connection ends. It answers FUSE_INIT (struct
// fuse_init_out in include/uapi/linux/fuse.h) and leaves the others without an answer. It
// closes opened at the first FUSE_OPEN.
func serveInit(server int, opened chan struct{}) {
	const (
		headerIn, headerOut = 40, 16
		opOpen, opInit      = 14, 26
		initOut             = 64
	)
	seen := false
	request := make([]byte, 1<<17)
	order := binary.NativeEndian
	for {
		n, err := unix.Read(server, request)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return
		}
		if n < headerIn+8 {
			continue
		}
		switch order.Uint32(request[4:]) {
		case opInit:
		case opOpen:
			if !seen {
				seen = true
				close(opened)
			}
			continue
		default:
			continue
		}
		answer := make([]byte, headerOut+initOut)
		order.PutUint32(answer, uint32(len(answer)))
		copy(answer[8:16], request[8:16]) // the request's number
		order.PutUint32(answer[headerOut:], 7)
		order.PutUint32(answer[headerOut+4:], min(order.Uint32(request[headerIn+4:]), 31))
		order.PutUint32(answer[headerOut+20:], 4096) // max_write
		if _, err := unix.Write(server, answer); err != nil {
			return
		}
	}
}
