package proc

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/sampler/internal/open"
)

// isProcFS reports whether path is on a real procfs, where an open descriptor of a
// process's file keeps referring to that process and fails once it has ended. In a
// fixture tree the files are opened by their paths each time instead.
func isProcFS(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.PROC_SUPER_MAGIC
}

// countThreads returns the number of threads of a process, or 0 if it is unknown: the links of
// its directory of threads are two more (proc_task_getattr in fs/proc/base.c). That is a fifth
// of the cost of reading its status.
func countThreads(procRoot string, pid int) int {
	var st unix.Stat_t
	if unix.Stat(procPath(procRoot, pid, "task"), &st) != nil {
		return 0
	}
	return max(0, int(st.Nlink)-2)
}

// statxFlags keep statx from waiting for the response of a file system's server.
const statxFlags = unix.AT_STATX_DONT_SYNC | unix.AT_NO_AUTOMOUNT

// Exists reports whether there is a file. It does not wait for a file that is mounted there to
// respond.
func Exists(path string) bool {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, statxFlags, 0, &st)
	if err == unix.ENOSYS { // before Linux 4.11
		_, err = os.Stat(path)
	}
	return err == nil
}

// Overlaid reports whether another file is mounted over a file of a procfs, as LXCFS does in
// containers with loadavg, meminfo, stat and others. It is false below any other directory.
// It does not wait for the other file to respond.
func Overlaid(procRoot, name string) bool {
	if !isProcFS(procRoot) {
		return false
	}
	path := filepath.Join(procRoot, name)
	var root, file unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, procRoot, statxFlags, 0, &root) == nil {
		return unix.Statx(unix.AT_FDCWD, path, statxFlags, 0, &file) == nil &&
			(file.Dev_major != root.Dev_major || file.Dev_minor != root.Dev_minor)
	}
	var st unix.Statfs_t // before Linux 4.11
	return unix.Statfs(path, &st) == nil && st.Type != unix.PROC_SUPER_MAGIC
}

// listPIDs appends the numeric names in a directory to dst, such as the threads in
// /proc/PID/task.
func listPIDs(dir string, dst []int) ([]int, error) {
	entries, err := listEntries(dir, nil)
	for _, e := range entries {
		dst = append(dst, e.pid)
	}
	return dst, err
}

// listEntries appends the entries with numeric names in a directory to dst: the processes in
// /proc, the threads in /proc/PID/task. It reads the entries itself because os.ReadDir
// allocates for each of them and does not return the inodes.
func listEntries(dir string, dst []dirEntry) ([]dirEntry, error) {
	fd, err := open.Directory(dir)
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

// parseDirents appends the entries of a getdents64 buffer whose names are process ids. An
// entry (struct linux_dirent64, getdents(2)) is: inode (8 bytes), offset (8), length of the
// entry (2), type (1), NUL-terminated name. Parsing ends at an inconsistent length.
func parseDirents(b []byte, dst []dirEntry) []dirEntry {
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
			dst = append(dst, dirEntry{pid, binary.NativeEndian.Uint64(b)})
		}
		b = b[size:]
	}
	return dst
}
