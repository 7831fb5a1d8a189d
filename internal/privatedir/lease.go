package privatedir

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vobs/vobs/sampler/proc"
)

// leaseFile is the file in a directory that names its users.
const leaseFile = ".vobs-lease"

// maxLease bounds a lease file, in bytes.
const maxLease = 1 << 20

// lease is what a later run has to know about a directory. Process ids mean nothing on
// another host, after a reboot or in another pid namespace, so a directory is only removed
// from where it was made.
type lease struct {
	Boot         string `json:"boot"`          // /proc/sys/kernel/random/boot_id
	PIDNamespace string `json:"pid_namespace"` // the link /proc/self/ns/pid
	// Processes use the directory as long as they live. The first is the vobs that made it.
	Processes []process `json:"processes"`
}

// process identifies a process of this boot.
type process struct {
	PID        int    `json:"pid"`
	StartTicks uint64 `json:"start_ticks"` // since boot
}

// newLease returns the lease of a directory that this process makes; nil if /proc does not
// show this process's own pid namespace.
func newLease() *lease {
	l := here("/proc")
	self, err := proc.Read("/proc", os.Getpid())
	if l == nil || err != nil {
		return nil
	}
	l.Processes = []process{{self.PID, self.StartTicks}}
	return l
}

// here returns a lease without processes; nil if process ids are unknown here.
func here(procRoot string) *lease {
	boot, err := os.ReadFile(filepath.Join(procRoot, "sys/kernel/random/boot_id"))
	namespace, err2 := os.Readlink(filepath.Join(procRoot, "self/ns/pid"))
	self, err3 := os.Readlink(filepath.Join(procRoot, "self"))
	if errors.Join(err, err2, err3) != nil || self != strconv.Itoa(os.Getpid()) {
		return nil
	}
	return &lease{Boot: strings.TrimSpace(string(boot)), PIDNamespace: namespace}
}

func (l *lease) samePlace(other *lease) bool {
	return l != nil && other != nil && l.Boot == other.Boot && l.PIDNamespace == other.PIDNamespace
}

// hasUsers reports whether one of the lease's processes lives.
func (l *lease) hasUsers(procRoot string) bool {
	for _, p := range l.Processes {
		if alive, err := proc.Read(procRoot, p.PID); err == nil && alive.StartTicks == p.StartTicks {
			return true
		}
	}
	return false
}

func writeLease(dir string, l *lease) error {
	if l == nil {
		return nil
	}
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	name := filepath.Join(dir, leaseFile)
	if err := os.WriteFile(name, b, 0o600); err != nil {
		return err
	}
	return os.Chmod(name, 0o600|fs.ModeSticky) // as readme
}

// readLease returns the lease of a directory; nil if there is none, or none that can be read.
func readLease(dir string) *lease {
	b, err := proc.ReadFile(filepath.Join(dir, leaseFile), maxLease)
	if err != nil {
		return nil
	}
	var l lease
	if json.Unmarshal(b, &l) != nil || len(l.Processes) == 0 {
		return nil
	}
	return &l
}

// Leave records that processes of the command use a directory, which stays. A later run
// removes it once they have ended.
func Leave(dir string, users []proc.Process) error {
	l := readLease(dir)
	if l == nil {
		return nil // it is kept in any case
	}
	for _, p := range users {
		l.Processes = append(l.Processes, process{p.PID, p.StartTicks})
	}
	return writeLease(dir, l)
}
