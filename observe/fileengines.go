package observe

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vobs/vobs/internal/vllm"
	"github.com/vobs/vobs/internal/vllm/args"
	"github.com/vobs/vobs/sampler/proc"
)

// fileEngines distinguishes the engines whose processes share a directory of multiprocess
// files; it implements [multiproc.Engines]. Each process is an engine of its own, but the API
// servers that one `vllm serve` started serve the same engines. An engine is named by its pid,
// or by that of the server.
type fileEngines struct{ procRoot, dir string }

// Of returns the engine of a process that has the file open. Any other process with that pid
// is not the one that wrote it: the pid was reused, or is from another pid namespace.
func (e fileEngines) Of(process, file string) string {
	pid, err := strconv.Atoi(process)
	if err != nil || !e.hasOpen(pid, file) {
		return ""
	}
	p, err := proc.Read(e.procRoot, pid)
	if err != nil {
		return ""
	}
	return strconv.Itoa(serverOf(e.procRoot, p))
}

// serverOf returns the `vllm serve` that started an API server; any other process is the
// server itself.
func serverOf(procRoot string, p proc.Process) (pid int) {
	if strings.HasPrefix(p.Comm, vllm.TitlePrefix) {
		if argv, err := proc.CommandLine(procRoot, p.PPID); err == nil && args.Parse(argv, "").Role == args.Server {
			return p.PPID
		}
	}
	return p.PID
}

// hasOpen reports whether a process has a file of the directory open.
func (e fileEngines) hasOpen(pid int, file string) bool {
	want, err := os.Stat(filepath.Join(e.dir, file))
	if err != nil {
		return false
	}
	dir := filepath.Join(e.procRoot, strconv.Itoa(pid), "fd")
	fds, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, fd := range fds {
		path := filepath.Join(dir, fd.Name())
		if link, err := os.Readlink(path); err != nil || filepath.Base(link) != file {
			continue
		}
		if got, err := os.Stat(path); err == nil && os.SameFile(want, got) {
			return true
		}
	}
	return false
}

// Ended reports whether an engine's process has ended.
func (e fileEngines) Ended(engine string) bool {
	pid, err := strconv.Atoi(engine)
	if err != nil {
		return false
	}
	_, err = proc.Read(e.procRoot, pid)
	return err != nil
}
