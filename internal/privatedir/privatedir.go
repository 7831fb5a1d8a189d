// Package privatedir makes temporary directories for the command's processes. Their names are
// in the environment of these processes, and Python loads code from one of them, so
//
//   - their paths can never be taken by another user. They are in a directory of this user
//     that is never removed, below directories that only this user and root can change;
//   - they are removed only when no process uses them any more. What a run has to leave
//     behind, because processes outlived it or because vobs was killed, is removed by a later
//     run: see [Sweep].
package privatedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	// readme is a file in the user's directory. Its sticky bit makes systemd-tmpfiles(8) keep
	// it, and so the directory, however old it is: the XDG Base Directory Specification
	// gives the bit this meaning for files.
	readme     = "README"
	readmeText = "vobs makes temporary directories here, and removes them when no process uses them any more.\nThis directory stays, so that no other user can take its name.\n"
	// otherUsers are the permissions of group and others.
	otherUsers = 0o077
	// writable are the permissions of group and others to add, remove and rename entries.
	writable = 0o022
)

// Make makes a directory that only this user can enter; prefix begins its name. If keep is
// set, it is never removed by [Sweep].
func Make(prefix string, keep bool) (path string, err error) {
	var problems []string
	for _, p := range places() {
		home, err := p.home(true)
		if err == nil {
			path, err = os.MkdirTemp(home, prefix) // 0700
		}
		if err != nil {
			problems = append(problems, err.Error())
			continue
		}
		if !keep {
			// Without a lease the directory is removed at the end of this run or never.
			_ = writeLease(path, newLease())
		}
		return path, nil
	}
	return "", errors.New(strings.Join(problems, "; "))
}

// Remove removes a directory and its contents. No process may use it any more. The lease goes
// last: if vobs is ended meanwhile, a later run removes the rest.
func Remove(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if e.Name() == leaseFile {
			continue
		}
		if err := os.RemoveAll(filepath.Join(path, e.Name())); err != nil {
			return err
		}
	}
	return os.RemoveAll(path)
}

// place is a directory for this user's directory.
type place struct {
	parent string
	name   string // of the user's directory
	err    error  // why there is no parent
}

// places returns where directories are made, the preferred place first: the directory for
// temporary files, and the user's cache, in which no other user can write.
func places() []place {
	all := []place{{parent: os.TempDir(), name: fmt.Sprintf("vobs-%d", os.Geteuid())}}
	cache, err := os.UserCacheDir()
	return append(all, place{parent: cache, name: "vobs", err: err})
}

// home returns the user's directory in a place, and makes it if create is set. It fails if
// another user could put something else in its place.
func (p place) home(create bool) (string, error) {
	if p.err != nil {
		return "", p.err
	}
	parent, err := filepath.Abs(p.parent) // the command's processes may have other working directories
	if err != nil {
		return "", err
	}
	if create && filepath.Base(parent) == ".cache" {
		_ = os.Mkdir(parent, 0o700) // a new user has none; if this fails, the next step does
	}
	if parent, err = filepath.EvalSymlinks(parent); err != nil {
		return "", err
	}
	if strings.ContainsRune(parent, os.PathListSeparator) {
		return "", fmt.Errorf("%s: PYTHONPATH cannot hold a path with %q", parent, string(os.PathListSeparator))
	}
	if err := checkAncestors(parent); err != nil {
		return "", err
	}
	home := filepath.Join(parent, p.name)
	if create {
		if err := os.Mkdir(home, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
	info, err := os.Lstat(home)
	switch {
	case err != nil:
		return "", err
	case !info.IsDir():
		return "", fmt.Errorf("%s is not a directory", home)
	case ownerOf(info) != os.Geteuid():
		return "", fmt.Errorf("%s belongs to user %d, not to user %d", home, ownerOf(info), os.Geteuid())
	case info.Mode()&otherUsers != 0:
		return "", fmt.Errorf("%s is open to other users: remove it or chmod it to 0700", home)
	}
	if create {
		writeSticky(filepath.Join(home, readme), readmeText)
	}
	return home, nil
}

// writeSticky writes a file that systemd-tmpfiles does not remove, unless it exists. If this
// fails, the directory is only protected for the ten days after which files are removed.
func writeSticky(path, text string) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = f.WriteString(text)
	_ = f.Chmod(0o600 | fs.ModeSticky)
}

// checkAncestors returns an error if a user other than this one and root can rename or
// replace the directory, which has no symbolic links in its path. In a directory with the
// sticky bit only the owners of an entry and of the directory can.
func checkAncestors(dir string) error {
	for {
		info, err := os.Lstat(dir)
		if err != nil {
			return err
		}
		if owner := ownerOf(info); owner != 0 && owner != os.Geteuid() && !isUnmapped(owner) {
			return fmt.Errorf("%s belongs to user %d, who could replace what is in it", dir, owner)
		}
		if mode := info.Mode(); mode&fs.ModeSticky == 0 && mode&writable != 0 && !(mode&0o002 == 0 && isOwnGroup(info)) {
			return fmt.Errorf("other users can replace what is in %s: it is writable for them, without a sticky bit", dir)
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return nil
		}
		dir = parent
	}
}

func ownerOf(info fs.FileInfo) int {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid)
	}
	return -1
}

// isOwnGroup reports whether a file's group has no other members: root's, and the user's own
// where each user has a group, which has the same number and lets files be group-writable.
func isOwnGroup(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && (s.Gid == 0 || int(s.Gid) == os.Geteuid() && os.Getegid() == os.Geteuid())
}

// isUnmapped reports whether a user id stands for the users that this user namespace does
// not have, such as the host's root in a container without privileges (user_namespaces(7)).
func isUnmapped(uid int) bool {
	users, err := os.ReadFile("/proc/self/uid_map")
	if err != nil || strings.Join(strings.Fields(string(users)), " ") == "0 0 4294967295" {
		return false
	}
	overflow, err := os.ReadFile("/proc/sys/kernel/overflowuid")
	return err == nil && strings.TrimSpace(string(overflow)) == strconv.Itoa(uid)
}
