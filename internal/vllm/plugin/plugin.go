// Package plugin is the part of vobs that runs inside vLLM (--instrument): a Python
// module that the command finds through its environment and that reports what no
// metrics page has. The package writes the module to a directory, makes the
// environment, and reads what the module left. It starts no process.
package plugin

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vobs/vobs/internal/environ"
	"github.com/vobs/vobs/internal/vllm"
)

// The plugin: a module, and the metadata by which importlib.metadata finds its entry
// point (group vllm.general_plugins, vllm/plugins/__init__.py) without an installation.
//
//go:embed plugin/vobs_instrument.py plugin/vobs_instrument-1.dist-info
var plugin embed.FS

// pluginName is the entry point's, as VLLM_PLUGINS names it.
const pluginName = "vobs"

// The variables of the command's environment.
const (
	// pathVariable leads Python to the plugin.
	pathVariable = "PYTHONPATH"
	// dirVariable tells the plugin where to write.
	dirVariable = "VOBS_INSTRUMENT_DIR"
	// statsVariable has it switch on the statistics that LLM() leaves off.
	statsVariable = "VOBS_INSTRUMENT_STATS"
)

// Folder is a private folder with the plugin and, beside it, what the plugin writes.
type Folder struct {
	// Dir is the folder; the plugin is in its folder "plugin", the reports in "reports".
	Dir string
}

// Make writes the plugin into a fresh folder that nobody else can enter.
func Make() (Folder, error) {
	// TMPDIR may be relative, and the command's processes work elsewhere.
	parent, err := filepath.Abs(os.TempDir())
	if err != nil {
		return Folder{}, fmt.Errorf("making a folder for --instrument: %w", err)
	}
	dir, err := os.MkdirTemp(parent, "vobs-instrument-") // 0700
	if err != nil {
		return Folder{}, fmt.Errorf("making a folder for --instrument: %w", err)
	}
	f := Folder{Dir: dir}
	if err := f.fill(); err != nil {
		_ = os.RemoveAll(dir)
		return Folder{}, fmt.Errorf("writing the plugin of --instrument: %w", err)
	}
	return f, nil
}

func (f Folder) fill() error {
	if err := os.Mkdir(f.reports(), 0o700); err != nil {
		return err
	}
	return os.CopyFS(f.Dir, plugin)
}

func (f Folder) plugin() string  { return filepath.Join(f.Dir, "plugin") }
func (f Folder) reports() string { return filepath.Join(f.Dir, "reports") }

// Remove removes the folder with all that is in it.
func (f Folder) Remove() error { return os.RemoveAll(f.Dir) }

// Environ is an environment that hands the plugin to vLLM: PYTHONPATH with the plugin
// in front of what it had, VLLM_PLUGINS with its name where that was set. stats says
// that the statistics of LLM() are to be on.
func (f Folder) Environ(env []string, stats bool) []string {
	paths := f.plugin()
	// An empty PYTHONPATH is none; an empty part of it would be the working folder.
	if before, _ := environ.Lookup(env, pathVariable); before != "" {
		paths += string(os.PathListSeparator) + before
	}
	env = environ.With(env, pathVariable, paths)
	if named, ok := environ.Lookup(env, vllm.PluginsVariable); ok {
		env = environ.With(env, vllm.PluginsVariable, addName(named))
	}
	env = environ.With(env, dirVariable, f.reports())
	if stats {
		return environ.With(env, statsVariable, "1")
	}
	return environ.Without(env, statsVariable)
}

// addName adds the plugin to a list of names; vLLM cuts it at its commas alone.
func addName(list string) string {
	switch {
	case list == "":
		return pluginName
	case slices.Contains(strings.Split(list, ","), pluginName):
		return list
	}
	return list + "," + pluginName
}
