//go:build !linux

package proc

import "os"

// isProcFS returns false: there is no procfs here, at most a fixture tree.
func isProcFS(string) bool { return false }

// Exists reports whether there is a file.
func Exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Overlaid returns false.
func Overlaid(string, string) bool { return false }

// listPIDs appends the numeric names in a directory to dst.
func listPIDs(dir string, dst []int) ([]int, error) {
	f, err := os.Open(dir)
	if err != nil {
		return dst, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	for _, name := range names {
		if pid, ok := parsePID([]byte(name)); ok {
			dst = append(dst, pid)
		}
	}
	return dst, err
}

// listEntries is listPIDs without inodes.
func listEntries(dir string, dst []dirEntry) ([]dirEntry, error) {
	pids, err := listPIDs(dir, nil)
	for _, pid := range pids {
		dst = append(dst, dirEntry{pid: pid})
	}
	return dst, err
}

// countThreads returns 0: the number is unknown.
func countThreads(string, int) int { return 0 }
