package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fullPipe returns a pipe that is full.
func fullPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	conn, err := w.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var full error
	err = conn.Control(func(fd uintptr) { // it does not block yet
		for full == nil {
			_, full = unix.Write(int(fd), make([]byte, 4096))
		}
	})
	if err != nil || full != unix.EAGAIN {
		t.Fatalf("filling a pipe: %v, %v", err, full)
	}
	return r, w
}

// launchWith starts the process with these streams, and closes vobs's ends here.
func (p *process) launchWith(t *testing.T, stdout, stderr *os.File) {
	t.Helper()
	for _, f := range []*os.File{stdout, stderr} {
		if f != nil {
			f.Fd() // it blocks, as those that a shell hands over do
		}
	}
	p.Stdout, p.Stderr = io.Writer(&p.output), io.Writer(&p.output)
	if stdout != nil {
		p.Stdout = stdout
	}
	if stderr != nil {
		p.Stderr = stderr
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	p.reap(t)
}

// Nobody reads stderr. The event is in its file within seconds, and vobs ends as the command
// did.
func TestStderrThatNobodyReads(t *testing.T) {
	t.Parallel()
	_, full := fullPipe(t)
	p := prepare(t, "vobs", "run", "-v", "--summary", "-o", "e.json", "--", "sh", "-c", "exit 7")
	p.launchWith(t, nil, full)
	p.waitFile(t, "e.json")
	if got := p.finish(t); got != "7" {
		t.Errorf("vobs ended with %s", got)
	}
	wantRun(t, p.event(t, "e.json"), "7", false)
}

// Nobody reads stdout, where the event goes. TERM ends the wait, and the event goes to stderr.
func TestStdoutThatNobodyReads(t *testing.T) {
	t.Parallel()
	_, full := fullPipe(t)
	p := prepare(t, "vobs", "run", "--", "sh", "-c", "touch ran; exit 7")
	p.launchWith(t, full, nil)
	p.waitFile(t, "ran")
	// A signal before the command's end would be the command's. Afterwards, the first ends it.
	p.eventually(t, func() error {
		_ = p.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.ended:
			return nil
		case <-time.After(200 * time.Millisecond):
			return errors.New("it still runs")
		}
	})
	if got := p.finish(t); got != "7" && got != "SIGTERM" { // the command may have got one
		t.Errorf("vobs ended with %s", got)
	}
	text := p.output.String()
	if !strings.Contains(text, "writing the event to stdout: ") || !strings.Contains(text, "; the event follows\n{\"peak_vram_gb\"") {
		t.Errorf("it said:\n%s", text)
	}
}

// The command makes the stream non-blocking that it shares with vobs, and the reader is slow.
func TestNonBlockingStdout(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	fd := w.Fd()
	if _, err := unix.FcntlInt(fd, unix.F_SETPIPE_SZ, 4096); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(int(fd), true); err != nil { // as asyncio's connect_write_pipe does
		t.Fatal(err)
	}
	p := prepare(t, "vobs", "run", "--label", "long="+strings.Repeat("x", 20_000), "--", "sh", "-c", "exit 7")
	p.Stdout, p.Stderr = w, &p.output
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	p.reap(t)
	var event bytes.Buffer
	buf := make([]byte, 1000)
	for {
		n, err := r.Read(buf)
		event.Write(buf[:n])
		if err != nil {
			break
		}
	}
	if got := p.finish(t); got != "7" {
		t.Errorf("vobs ended with %s; it said:\n%s", got, &p.output)
	}
	wantRun(t, validEvent(t, event.Bytes()), "7", false)
}

// The file of events has no room for the whole line: what was written of it goes again.
func TestAppendBeyondLimit(t *testing.T) {
	t.Parallel()
	const before = "{\"a\":1}\n"
	p := prepare(t, "sh", "-c", "ulimit -f 1; exec vobs run --append e.jsonl --label long="+strings.Repeat("x", 2000)+" -- sh -c 'exit 7'")
	if err := os.WriteFile(filepath.Join(p.Dir, "e.jsonl"), []byte(before), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := p.launch(t); err != nil {
		t.Fatal(err)
	}
	if got := p.finish(t); got != "7" {
		t.Errorf("vobs ended with %s; it said:\n%s", got, &p.output)
	}
	if b, err := os.ReadFile(filepath.Join(p.Dir, "e.jsonl")); err != nil || string(b) != before {
		t.Errorf("the file has %d bytes: %.60q, %v", len(b), b, err)
	}
	text := p.output.String()
	at := strings.Index(text, "{\"peak_vram_gb\"")
	if !strings.Contains(text, "; the event follows\n") || at < 0 {
		t.Fatalf("it said:\n%s", text)
	}
	wantRun(t, validEvent(t, []byte(text[at:])), "7", false)
}
