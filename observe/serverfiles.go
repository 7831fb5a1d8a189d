package observe

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/environ"
	"github.com/vobs/vobs/internal/vllm"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/sampler/proc"
)

const (
	// maxServerProcesses bounds the processes of a server whose environment is read.
	maxServerProcesses = 64
	// maxDirNames bounds the names in a server's directory among which gauges are looked for.
	maxDirNames = 1 << 13
	// writerRetry is the time after which the writer of a file is looked for once more: it
	// may be a process that started after the processes were listed.
	writerRetry = time.Second
)

var (
	errNoServerProcess = errors.New("no process of this host that vobs may inspect listens there")
	errNoLivingWriter  = errors.New("no process of the server that is alive has a file of gauges open there")
)

// findServerFiles returns the files through which the processes of the server at an address
// of this host share their metrics; nil if none of them has PROMETHEUS_MULTIPROC_DIR in its
// environment. With several API servers vLLM sets it in theirs only (setup_multiprocess_prometheus
// in vllm/v1/metrics/prometheus.py). Failures are reported to debug too.
func findServerFiles(procRoot string, sockets *proc.Sockets, t scrape.Target, debug func(string)) (*probe.ServerFiles, error) {
	pid, err := listenerOf(sockets, t)
	if errors.Is(err, proc.ErrSearching) {
		return nil, fmt.Errorf("%w: %w", probe.ErrLookAgain, err)
	}
	if err != nil {
		return nil, err
	}
	s, err := newServerProcesses(procRoot, sockets.Table(), pid)
	if err != nil {
		return nil, err
	}
	var lastErr error
	for _, p := range s.processes[:min(len(s.processes), maxServerProcesses)] {
		env, err := proc.Environ(procRoot, p.PID)
		if err != nil {
			lastErr = err
			continue
		}
		value, _ := environ.Lookup(env, vllm.MultiprocDirVariable)
		if value == "" {
			continue
		}
		s.dir = processPath(procRoot, p.PID, value)
		if err := s.findGauges(); err != nil {
			debug(fmt.Sprintf("process %d of the server at %s shares its metrics in %s, which cannot be used: %v", p.PID, t.Name(), value, err))
			return nil, err
		}
		debug(fmt.Sprintf("process %d of the server at %s shares its metrics in %s: reading the gauges there", p.PID, t.Name(), s.dir))
		return &probe.ServerFiles{Dir: s.dir, Writes: s.writes}, nil
	}
	if lastErr != nil {
		debug(fmt.Sprintf("whether the server at %s shares its metrics in files is unknown: %v", t.Name(), lastErr))
	}
	return nil, lastErr
}

// processPath returns the name under which vobs can open the directory that a process knows
// as dir: a relative one belongs to the working directory of the process, and in a container
// the process has another root.
func processPath(procRoot string, pid int, dir string) string {
	process := filepath.Join(procRoot, strconv.Itoa(pid))
	through, plain := filepath.Join(process, "root", dir), dir
	if !filepath.IsAbs(dir) {
		through = process + "/cwd/" + dir // not cleaned: cwd is a link
		cwd, err := os.Readlink(filepath.Join(process, "cwd"))
		if err != nil {
			return through
		}
		plain = filepath.Join(cwd, dir)
	}
	theirs, err := os.Stat(through)
	if err != nil {
		return through
	}
	if ours, err := os.Stat(plain); err == nil && os.SameFile(theirs, ours) {
		return plain // can be read when the process has ended, too
	}
	return through
}

// serverProcesses are the processes of a server and the files that they write.
type serverProcesses struct {
	procRoot  string
	table     *proc.Table
	root      int // the process that started the others
	dir       string
	processes []proc.Process
	listedAt  time.Time
	writers   map[string]writer // by file
}

// writer is the process that writes a file. Its pid is 0 if there is none.
type writer struct {
	proc.Process
	soughtAt time.Time
	final    bool // it is not sought any more
}

// newServerProcesses returns the processes of the server that the process pid belongs to,
// that one first.
func newServerProcesses(procRoot string, table *proc.Table, pid int) (*serverProcesses, error) {
	p, err := proc.Read(procRoot, pid)
	if err != nil {
		return nil, err
	}
	s := &serverProcesses{procRoot: procRoot, table: table, root: serverOf(procRoot, p), writers: map[string]writer{}}
	s.listProcesses()
	for i := range s.processes {
		if s.processes[i].PID == pid {
			s.processes[0], s.processes[i] = s.processes[i], s.processes[0]
		}
	}
	return s, nil
}

func (s *serverProcesses) listProcesses() {
	// What it finds is right even if it does not find all.
	s.processes, _ = s.table.Descendants(s.root)
	s.listedAt = time.Now()
}

// findGauges checks that a process of the server writes gauges in the directory.
func (s *serverProcesses) findGauges() error {
	// It is another user's: it may be anything by now.
	dir, err := os.OpenFile(s.dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(maxDirNames)
	for _, name := range names {
		id, ok := strings.CutSuffix(name, ".db")
		if !ok || !strings.HasPrefix(name, "gauge_") {
			continue
		}
		if s.writes(id[strings.LastIndexByte(id, '_')+1:], name) {
			return nil
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading %s: %w", s.dir, err)
	}
	return errNoLivingWriter
}

// writes reports whether a process of the server that is alive writes the named file of the
// directory. process is the identifier in its name: the pid in the process's own namespace.
func (s *serverProcesses) writes(process, file string) bool {
	w, known := s.writers[file]
	if !w.final {
		if time.Since(s.listedAt) >= writerRetry {
			s.listProcesses()
		}
		if !known || w.soughtAt.Before(s.listedAt) {
			p := s.findWriter(process, file)
			w = writer{Process: p, soughtAt: time.Now(), final: known || p.PID != 0}
			s.writers[file] = w
		}
	}
	if w.PID == 0 {
		return false
	}
	p, err := proc.Read(s.procRoot, w.PID)
	return err == nil && p.StartTicks == w.StartTicks
}

// findWriter returns the process that has a file open under its own pid.
func (s *serverProcesses) findWriter(process, file string) proc.Process {
	for _, p := range s.processes {
		inner, err := proc.InnerPID(s.procRoot, p.PID)
		if err == nil && strconv.Itoa(inner) == process && (fileEngines{s.procRoot, s.dir}).hasOpen(p.PID, file) {
			return p
		}
	}
	return proc.Process{}
}
