package proc

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/sampler/internal/open"
)

// What Ray's processes show of themselves, seen on Ray 2.60.0:
//
//   - A worker is a child of the raylet, the daemon of its node. The raylet sets RAY_JOB_ID, the
//     job that the worker is for, before exec (src/ray/raylet/worker_pool.cc).
//   - The raylet starts some workers before there is a job for them: these have the nil id in
//     RAY_JOB_ID for good. Such a worker writes the line :job_id:JOB to its output when it is
//     assigned to a job, before its first task (python/ray/_raylet.pyx).
//   - A worker holds its output open: worker-WORKER-JOB-PID.out and .err, with RAY_JOB_ID as JOB.
//   - A driver, a program that called ray.init, holds python-core-driver-WORKER_PID.log open. The
//     id of the worker that a driver counts as is that of its job, filled up with ones
//     (ComputeDriverIdFromJob in src/ray/common/id.cc).
//
// These files are in the logs directory of the cluster's session.
const (
	rayDaemon        = "raylet"
	rayJobVariable   = "RAY_JOB_ID"
	rayJobLine       = ":job_id:"
	rayDriverLog     = "python-core-driver-"
	rayCoreWorkerLog = "python-core-worker-"
	rayWorkerLog     = "worker-"

	rayJobDigits    = 8  // of a job's id: 4 bytes
	rayWorkerDigits = 56 // of a worker's id: 28 bytes
	rayNoJob        = "ffffffff"

	// maxRayJobLine is how much of a worker's output, in bytes, is searched for the line with
	// its job. A worker writes next to nothing before its first task.
	maxRayJobLine = 16 << 10
)

// RayJob identifies a job of a Ray cluster.
type RayJob struct {
	// Logs is the directory of the log files of the cluster's session on this host, as the
	// process names it; "" if it is unknown. Every session has a directory of its own, and
	// numbers its jobs from 1.
	Logs string
	// ID is the job's id as Ray prints it, 8 hexadecimal digits; "" if it is unknown.
	ID string
}

// ErrNoRayJob means that a process can be read, but does not show a job of Ray.
var ErrNoRayJob = errors.New("neither its environment nor its output has a job")

// RayWorkerJob returns the job that a worker of Ray is assigned to. Its ID is known, Logs may not
// be. It needs the right to trace the process, and can hang like [CommandLine].
func RayWorkerJob(procRoot string, pid int) (RayJob, error) {
	env, err := Environ(procRoot, pid)
	if err != nil {
		return RayJob{}, err
	}
	files, err := openFiles(procRoot, pid)
	if err != nil {
		return RayJob{}, err
	}
	job := RayJob{ID: rayJobOfEnviron(env)}
	for _, f := range files {
		logged, owner, ok := parseRayWorkerLog(f.target)
		if !ok || !isInnerPID(procRoot, pid, owner) {
			continue
		}
		job.Logs = logged.Logs
		if job.ID == "" {
			job.ID = logged.ID
		}
		if job.ID == "" {
			job.ID = readRayJobLine(f.path)
		}
	}
	if job.ID == "" {
		return RayJob{}, ErrNoRayJob
	}
	return job, nil
}

// RayDriverJobs returns the jobs of which a process is the driver, by the logs that it holds
// open. It needs the right to trace the process.
func RayDriverJobs(procRoot string, pid int) (jobs []RayJob, err error) {
	files, err := openFiles(procRoot, pid)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		// A child of the driver may have inherited the file, and other programs may read it.
		if job, owner, ok := parseRayDriverLog(f.target); ok && isInnerPID(procRoot, pid, owner) {
			jobs = append(jobs, job)
		}
	}
	return jobs, nil
}

// openFile is a file that a process holds open.
type openFile struct {
	path   string // of the link in /proc, through which it can be opened
	target string // the name of the file
}

// openFiles returns the files that a process holds open, without sockets and pipes.
func openFiles(procRoot string, pid int) (files []openFile, err error) {
	dir := procPath(procRoot, pid, "fd")
	descriptors, err := listPIDs(dir, nil)
	if err != nil {
		return nil, fmt.Errorf("reading the open files of process %d: %w", pid, err)
	}
	dirFD, err := open.Directory(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the open files of process %d: %w", pid, err)
	}
	defer unix.Close(dirFD)
	var buf [unix.PathMax]byte
	for _, fd := range descriptors {
		name := strconv.Itoa(fd)
		n, err := unix.Readlinkat(dirFD, name, buf[:])
		switch {
		case err == unix.ENOENT: // it was closed
		case err != nil:
			return nil, fmt.Errorf("reading the open files of process %d: %w", pid, err)
		case n > 0 && buf[0] == '/':
			files = append(files, openFile{filepath.Join(dir, name), strings.TrimSuffix(string(buf[:n]), " (deleted)")})
		}
	}
	return files, nil
}

// isInnerPID reports whether a process has this pid in its own pid namespace.
func isInnerPID(procRoot string, pid, inner int) bool {
	own, err := InnerPID(procRoot, pid)
	return err == nil && own == inner
}

// readRayJobLine returns the job that the output of a worker begins with; "" if there is none.
func readRayJobLine(path string) string {
	buf := make([]byte, maxRayJobLine)
	n, err := readOnce(path, buf)
	if err != nil {
		return ""
	}
	return parseRayJobLine(buf[:n])
}

// parseRayJobLine returns the job of the first whole line that has one; "" if there is none.
func parseRayJobLine(output []byte) string {
	for line := range bytes.Lines(output) {
		text, whole := bytes.CutSuffix(line, []byte("\n"))
		if id, ok := bytes.CutPrefix(text, []byte(rayJobLine)); ok && whole && isRayJob(string(id)) {
			return string(id)
		}
	}
	return ""
}

// rayJobOfEnviron returns the job in the environment of a worker; "" if there is none.
func rayJobOfEnviron(env []string) string {
	for _, entry := range env {
		if id, ok := strings.CutPrefix(entry, rayJobVariable+"="); ok && isRayJob(id) {
			return id
		}
	}
	return ""
}

// parseRayDriverLog parses the path of a driver's log, python-core-driver-ID_PID.log.
func parseRayDriverLog(path string) (job RayJob, pid int, ok bool) {
	rest, ok := strings.CutPrefix(filepath.Base(path), rayDriverLog)
	if !ok {
		return RayJob{}, 0, false
	}
	id, rest, _ := strings.Cut(rest, "_")
	pid, ok = pidBefore(rest, ".log")
	if !ok || len(id) != rayWorkerDigits || !isRayJob(id[:rayJobDigits]) || strings.Trim(id[rayJobDigits:], "f") != "" {
		return RayJob{}, 0, false
	}
	return RayJob{filepath.Dir(path), id[:rayJobDigits]}, pid, true
}

// parseRayWorkerLog parses the path of a worker's output, worker-WORKER-JOB-PID.out or .err, or
// of its log, python-core-worker-WORKER_PID.log. The job of the latter has no id, and that of a
// worker which was started without a job neither.
func parseRayWorkerLog(path string) (job RayJob, pid int, ok bool) {
	job.Logs = filepath.Dir(path)
	name := filepath.Base(path)
	if rest, found := strings.CutPrefix(name, rayCoreWorkerLog); found {
		worker, rest, _ := strings.Cut(rest, "_")
		if pid, ok = pidBefore(rest, ".log"); ok && isHex(worker, rayWorkerDigits) {
			return job, pid, true
		}
		return RayJob{}, 0, false
	}
	rest, ok := strings.CutPrefix(name, rayWorkerLog)
	if !ok {
		return RayJob{}, 0, false
	}
	worker, rest, _ := strings.Cut(rest, "-")
	id, rest, _ := strings.Cut(rest, "-")
	if pid, ok = pidBefore(rest, ".out"); !ok {
		pid, ok = pidBefore(rest, ".err")
	}
	if !ok || !isHex(worker, rayWorkerDigits) || !isHex(id, rayJobDigits) {
		return RayJob{}, 0, false
	}
	if isRayJob(id) {
		job.ID = id
	}
	return job, pid, true
}

// pidBefore parses a text that is a pid and a suffix.
func pidBefore(text, suffix string) (pid int, ok bool) {
	digits, ok := strings.CutSuffix(text, suffix)
	if !ok {
		return 0, false
	}
	return parsePID([]byte(digits))
}

// isRayJob reports whether a text is the id of a job, and not the nil id.
func isRayJob(id string) bool { return isHex(id, rayJobDigits) && id != rayNoJob }

// isHex reports whether a text is this many lower-case hexadecimal digits.
func isHex(text string, digits int) bool {
	return len(text) == digits && strings.Trim(text, "0123456789abcdef") == ""
}

// BelowRaylet returns the processes of a lineage (see [Lineage]) below the raylet: a worker of Ray
// and the processes through which the first of the lineage descends from it, nearest first. It is
// nil if there is no raylet.
func BelowRaylet(chain []Process) []Process {
	for i, p := range chain {
		if p.Comm == rayDaemon && i > 0 {
			return chain[:i]
		}
	}
	return nil
}

// Lineage returns a process and its ancestors, nearest first. complete is false if one of them
// could not be read.
func Lineage(procRoot string, pid int) (chain []Process, complete bool) {
	for pid > 0 && len(chain) < maxAncestors {
		p, err := Read(procRoot, pid)
		if err != nil {
			return chain, false
		}
		chain = append(chain, p)
		pid = p.PPID
	}
	return chain, pid == 0
}
