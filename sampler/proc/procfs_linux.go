package proc

import (
	"bytes"
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// isProcFS reports whether path is on a real procfs, where an open descriptor of a
// process's file keeps referring to that process and fails once it has ended. In a
// fixture tree the files are opened by their paths each time instead.
func isProcFS(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.PROC_SUPER_MAGIC
}

// listPIDs appends the numeric names in a directory to dst: the processes in /proc,
// the threads in /proc/PID/task. It reads the entries itself because os.ReadDir
// allocates for each of them.
func listPIDs(dir string, dst []int) ([]int, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_DIRECTORY, 0)
	if err != nil {
		return dst, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	var buf [8192]byte
	for {
		n, err := unix.Getdents(fd, buf[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return dst, &os.PathError{Op: "readdir", Path: dir, Err: err}
		}
		if n <= 0 {
			return dst, nil
		}
		dst = parseDirents(buf[:n], dst)
	}
}

// parseDirents appends the process ids among the names of a getdents64 buffer.
// An entry (struct linux_dirent64, getdents(2)) is: inode (8 bytes), offset (8),
// length of the entry (2), type (1), NUL-terminated name. Parsing ends at an
// inconsistent length.
func parseDirents(b []byte, dst []int) []int {
	const header = 19
	for len(b) > header {
		size := int(binary.NativeEndian.Uint16(b[16:]))
		if size <= header || size > len(b) {
			return dst
		}
		name := b[header:size]
		if end := bytes.IndexByte(name, 0); end >= 0 {
			name = name[:end]
		}
		if pid, ok := parsePID(name); ok {
			dst = append(dst, pid)
		}
		b = b[size:]
	}
	return dst
}
