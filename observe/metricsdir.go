package observe

import (
	"fmt"
	"path/filepath"

	"github.com/vobs/vobs/internal/environ"
	"github.com/vobs/vobs/internal/privatedir"
	"github.com/vobs/vobs/internal/vllm"
	"github.com/vobs/vobs/schema"
)

// metricsDir is the directory in which the command's processes share their metrics. The
// zero value is none.
type metricsDir struct {
	path  string
	made  bool // by vobs; otherwise it is the user's, from the environment
	keep  bool // --keep
	inUse bool // processes of the command may still write there
	// withheld is why the command got none although the mode demands one; "" if it does not.
	withheld string
}

// newMetricsDir returns the user's own directory, or makes one for the command if mode
// demands it; offline reports whether the command is a benchmark without a port. elsewhere
// is why the command may not find a directory; "" if it will.
func newMetricsDir(mode Multiproc, keep bool, env []string, offline bool, elsewhere string) (metricsDir, error) {
	if mode == MultiprocOff {
		return metricsDir{}, nil
	}
	if own, _ := environ.Lookup(env, vllm.MultiprocDirVariable); own != "" {
		path, err := filepath.Abs(own)
		if err != nil {
			path = own
		}
		return metricsDir{path: path}, nil
	}
	if mode != MultiprocOn && !offline {
		return metricsDir{}, nil
	}
	if elsewhere != "" {
		return metricsDir{withheld: "the command gets no directory for its engine's metrics: " + elsewhere}, nil
	}
	path, err := privatedir.Make("vobs-metrics-", keep)
	if err != nil {
		return metricsDir{}, fmt.Errorf("making a directory for the engine's metrics: %w: set TMPDIR to a directory that only you can write to", err)
	}
	return metricsDir{path: path, made: true, keep: keep}, nil
}

// describe returns a line for -v.
func (d metricsDir) describe() string {
	if d.made {
		return "the command's processes share their metrics in " + d.path + ", which vobs has made"
	}
	return "the command's processes share their metrics in " + d.path + ", from " + vllm.MultiprocDirVariable
}

// environ adds the directory to the command's environment, if vobs made it.
func (d metricsDir) environ(env []string) []string {
	if !d.made {
		return env
	}
	return environ.With(env, vllm.MultiprocDirVariable, d.path)
}

// explain adds to the reason for a missing engine why its metrics were not recorded.
func (d metricsDir) explain(notes *schema.Notes) {
	if d.withheld == "" {
		return
	}
	for i, u := range notes.Unavailable {
		if u.Field == "engine" {
			notes.Unavailable[i].Reason += "; --multiproc: " + d.withheld
		}
	}
}

// remove removes the directory if vobs made it, unless it is to be kept or in use.
func (d metricsDir) remove(warn func(string)) {
	switch {
	case !d.made:
	case d.keep:
		warn("the engine's metrics files are kept in " + d.path)
	case d.inUse:
		warn("the engine's metrics files stay in " + d.path + ": processes of the command are still running; a later run of vobs removes them")
	default:
		if err := privatedir.Remove(d.path); err != nil {
			warn(fmt.Sprintf("removing the engine's metrics files: %v", err))
		}
	}
}
