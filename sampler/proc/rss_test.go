package proc

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRSS(t *testing.T) {
	if !Exists("/proc/self/statm") {
		t.Skip("there is no /proc here")
	}
	self, err := Read("/proc", os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	before, err := RSS("/proc", self)
	if err != nil || before <= 0 {
		t.Fatalf("%d bytes, %v", before, err)
	}
	const size = 64 << 20
	memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(memory)
	for i := 0; i < size; i += 4096 {
		memory[i] = 1
	}
	if after, err := RSS("/proc", self); err != nil || after-before < size/2 {
		t.Errorf("%d bytes more with %d bytes in use, %v", after-before, size, err)
	}
	self.StartTicks++
	if _, err := RSS("/proc", self); !errors.Is(err, unix.ESRCH) {
		t.Errorf("another process of the pid: %v", err)
	}
}
