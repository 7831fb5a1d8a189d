package deliver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pipe returns both ends of a pipe that holds one page, as files that block.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	r, w = os.NewFile(uintptr(fds[0]), "r"), os.NewFile(uintptr(fds[1]), "w")
	t.Cleanup(func() { r.Close(); w.Close() })
	if _, err := unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, 4096); err != nil {
		t.Fatal(err)
	}
	return r, w
}

// A stream that the command has made non-blocking gets the whole event all the same, as does
// one that blocks.
func TestWriteStream(t *testing.T) {
	event := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	for name, nonblocking := range map[string]bool{"blocking": false, "non-blocking": true} {
		r, w := pipe(t)
		fd, err := descriptor(w)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.SetNonblock(fd, nonblocking); err != nil {
			t.Fatal(err)
		}
		read := make(chan []byte)
		go func() {
			b, _ := io.ReadAll(r)
			read <- b
		}()
		n, err := WriteStream(t.Context(), w, event)
		w.Close()
		if got := <-read; err != nil || n != len(event) || !bytes.Equal(got, event) {
			t.Errorf("%s: %d of %d bytes, %v; read %d", name, n, len(event), err, len(got))
		}
	}
}

// A stream that nobody reads is given up when the context ends, and one without a reader at
// once.
func TestWriteStreamGivesUp(t *testing.T) {
	r, w := pipe(t)
	if !HasRoom(w) {
		t.Error("an empty pipe has no room")
	}
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for HasRoom(w) {
			time.Sleep(time.Millisecond)
		}
		cancel(enough)
	}()
	if n, err := WriteStream(ctx, w, make([]byte, 10_000)); !errors.Is(err, enough) || n != 4096 {
		t.Errorf("%d bytes, %v", n, err)
	}
	r.Close()
	if _, err := WriteStream(t.Context(), w, []byte("x")); !errors.Is(err, unix.EPIPE) {
		t.Errorf("without a reader: %v", err)
	}
}
