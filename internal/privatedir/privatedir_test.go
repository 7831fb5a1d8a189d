package privatedir

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// inTemp makes TMPDIR a new directory, and leaves no other place.
func inTemp(t *testing.T) (dir string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", dir)
	t.Setenv("HOME", "")
	t.Setenv("XDG_CACHE_HOME", "")
	return dir
}

func userDir(tmp string) string { return filepath.Join(tmp, fmt.Sprintf("vobs-%d", os.Geteuid())) }

func TestMake(t *testing.T) {
	tmp := inTemp(t)
	for _, keep := range []bool{false, true} {
		path, err := Make("vobs-test-", keep)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Dir(path) != userDir(tmp) || !strings.HasPrefix(filepath.Base(path), "vobs-test-") {
			t.Errorf("made %s", path)
		}
		for _, dir := range []string{path, filepath.Dir(path)} {
			if info, err := os.Lstat(dir); err != nil || info.Mode() != os.ModeDir|0o700 {
				t.Error(info, err)
			}
		}
		if l := readLease(path); (l == nil) != keep || l != nil && (l.Processes[0].PID != os.Getpid() || l.Boot == "" || !l.hasUsers("/proc")) {
			t.Errorf("keep %v: lease %+v", keep, l)
		}
		if err := Remove(path); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Error(err)
		}
	}
	// What keeps the name from other users stays, with the bit that systemd-tmpfiles heeds.
	if info, err := os.Lstat(filepath.Join(userDir(tmp), readme)); err != nil || info.Mode() != 0o600|fs.ModeSticky || info.Size() == 0 {
		t.Error(info, err)
	}
}

// The command's processes may have other working directories.
func TestMakeIsAbsolute(t *testing.T) {
	t.Chdir(inTemp(t))
	t.Setenv("TMPDIR", ".")
	if path, err := Make("x-", false); err != nil || !filepath.IsAbs(path) {
		t.Error(path, err)
	}
}

// A place in which another user could take the path is not used; the next one is.
func TestUnsafePlaces(t *testing.T) {
	chmod := func(mode os.FileMode) func(string) error {
		return func(tmp string) error { return os.Chmod(tmp, mode) }
	}
	for _, c := range []struct {
		name   string
		change func(tmp string) error // what is wrong with TMPDIR
		reason string                 // "" if it is used
		root   bool                   // needs root
	}{
		{name: "sticky", change: chmod(0o777 | fs.ModeSticky)},
		{name: "writable for all", change: chmod(0o777), reason: "writable for them, without a sticky bit"},
		{name: "foreign group", change: func(tmp string) error { return os.Chmod(tmp, 0o770) }, reason: "writable for them", root: true},
		{name: "another user's", change: func(tmp string) error { return os.Chown(tmp, 54321, 54321) }, reason: "belongs to user 54321", root: true},
		{name: "a link", change: func(tmp string) error { return os.Symlink(os.DevNull, userDir(tmp)) }, reason: "is not a directory"},
		{name: "a link to a directory", change: func(tmp string) error { return os.Symlink(tmp, userDir(tmp)) }, reason: "is not a directory"},
		{name: "a file", change: func(tmp string) error { return os.WriteFile(userDir(tmp), nil, 0o600) }, reason: "is not a directory"},
		{name: "open", change: func(tmp string) error { return os.Mkdir(userDir(tmp), 0o755) }, reason: "open to other users"},
		{name: "taken by another user", change: func(tmp string) error {
			if err := os.Mkdir(userDir(tmp), 0o700); err != nil {
				return err
			}
			return os.Chown(userDir(tmp), 54321, 54321)
		}, reason: "belongs to user 54321", root: true},
		{name: "gone", change: os.Remove, reason: "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.root && os.Geteuid() != 0 {
				t.Skip("SKIPPED: needs root: run the tests with sudo")
			}
			tmp := inTemp(t)
			if c.name == "foreign group" {
				if err := os.Chown(tmp, 0, 54321); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.change(tmp); err != nil {
				t.Fatal(err)
			}
			path, err := Make("x-", false)
			if c.reason == "" {
				if err != nil || filepath.Dir(path) != userDir(tmp) {
					t.Errorf("made %s, %v", path, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("made %q, %v; want an error about %q", path, err, c.reason)
			}
			home := t.TempDir()
			t.Setenv("HOME", home)
			if path, err := Make("x-", false); err != nil || filepath.Dir(path) != filepath.Join(home, ".cache", "vobs") {
				t.Errorf("with a home directory: %q, %v", path, err)
			}
		})
	}
}

// PYTHONPATH separates directories by colons: a part of the path would be a directory of its
// own, relative to wherever the command's processes are.
func TestMakeWithoutSeparator(t *testing.T) {
	tmp := filepath.Join(inTemp(t), "a:b")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", tmp)
	if path, err := Make("x-", false); err == nil || !strings.Contains(err.Error(), `PYTHONPATH cannot hold a path with ":"`) {
		t.Error(path, err)
	}
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	if path, err := Make("x-", false); err != nil || filepath.Dir(path) != filepath.Join(cache, "vobs") {
		t.Error(path, err)
	}
}
