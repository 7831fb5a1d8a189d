package observe

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/vobs/vobs/internal/environ"
	"github.com/vobs/vobs/internal/vllm"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/sampler/proc"
	"github.com/vobs/vobs/schema"
)

// Multiproc says when the command's processes are given a directory for their metrics
// ([vllm.MultiprocDirVariable]). Without one, an engine that has no port, of `vllm bench
// throughput` or a script, leaves no trace of its figures.
type Multiproc string

// The modes of --multiproc.
const (
	// MultiprocAuto gives one to `vllm bench throughput` and `latency`, which record
	// their statistics and have no port.
	MultiprocAuto Multiproc = "auto"
	// MultiprocOn gives one to every command.
	MultiprocOn Multiproc = "on"
	// MultiprocOff gives none, and reads none.
	MultiprocOff Multiproc = "off"
)

// ParseMultiproc reads the name of a mode.
func ParseMultiproc(s string) (Multiproc, error) {
	switch m := Multiproc(s); m {
	case MultiprocAuto, MultiprocOn, MultiprocOff:
		return m, nil
	}
	return "", fmt.Errorf("unknown mode %q of --multiproc: use auto, on or off", s)
}

// prepareFiles has the prober read the user's own directory, or makes one for the
// command. offline says that the command is a benchmark without a port.
func (b *bracket) prepareFiles(offline bool) {
	if b.cfg.Multiproc == MultiprocOff {
		return
	}
	if own, _ := environ.Lookup(b.env, vllm.MultiprocDirVariable); own != "" {
		dir, err := filepath.Abs(own)
		if err != nil {
			dir = own
		}
		b.cfg.Debug("the command's processes share their metrics in " + dir + ", which " + vllm.MultiprocDirVariable + " names")
		b.prober.Add(probe.Directory(dir, false))
		return
	}
	if b.cfg.Multiproc != MultiprocOn && !offline {
		return
	}
	dir, err := os.MkdirTemp("", "vobs-metrics-")
	if err != nil {
		message := fmt.Sprintf("no directory for the engine's metrics could be made: %v: set TMPDIR to one that can be written", err)
		b.cfg.Warn(message)
		b.notes.Doubt(schema.CodeNoMetricsDirectory, schema.Warning, message, nil)
		return
	}
	b.filesDir = dir
	b.cfg.Debug("the command's processes are to share their metrics in " + dir)
	b.prober.Add(probe.Directory(dir, true))
}

// removeFiles removes the directory that was made for the command, unless it is to be
// kept, or processes of the command live that may still write there.
func (b *bracket) removeFiles() {
	switch {
	case b.filesDir == "":
	case b.cfg.Keep:
		b.cfg.Warn("the engine's metrics files are kept in " + b.filesDir)
	case b.filesInUse:
		b.cfg.Warn("the engine's metrics files stay in " + b.filesDir + ": processes of the command are still running")
	default:
		if err := os.RemoveAll(b.filesDir); err != nil {
			b.cfg.Warn(fmt.Sprintf("the engine's metrics files could not be removed: %v", err))
		}
	}
}

// addFiles finds the directory that a process of an engine was given by the engine
// itself: vLLM makes one where it starts several API servers
// (vllm/v1/metrics/prometheus.py), and removes it at its end.
func (f *finder) addFiles(p proc.Process) {
	if !f.files || f.looked[p.PID] {
		return
	}
	f.looked[p.PID] = true
	env, err := proc.Environ(f.procRoot, p.PID)
	if err != nil {
		return
	}
	dir, _ := environ.Lookup(env, vllm.MultiprocDirVariable)
	if filepath.IsAbs(dir) && f.prober.Add(probe.Directory(dir, !hasOlder(dir, f.started))) {
		f.debug(fmt.Sprintf("process %d of the command shares its metrics in %s", p.PID, dir))
	}
}

// hasOlder says whether a directory has a file that was written before some time. A
// file's time may be a tick of the kernel's clock old.
func hasOlder(dir string, than time.Time) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && e.Type() == fs.FileMode(0) && info.ModTime().Before(than.Add(-20*time.Millisecond)) {
			return true
		}
	}
	return false
}
