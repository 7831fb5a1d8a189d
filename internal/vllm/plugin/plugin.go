// Package plugin holds the part of vobs that runs inside vLLM (--instrument): a Python
// module that reports what the metrics do not contain. The package writes the module into a
// private folder, makes the environment through which vLLM finds it, and reads the reports
// that the module writes. It starts no process.
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

// plugin is the module, and the metadata through which importlib.metadata finds its entry
// point (group vllm.general_plugins, vllm/plugins/__init__.py) without an installation.
//
//go:embed plugin/vobs_instrument.py plugin/vobs_instrument-1.dist-info
var plugin embed.FS

// pluginName is the entry point's name, the one that VLLM_PLUGINS lists.
const pluginName = "vobs"

// Variables in the command's environment.
const (
	// pathVariable is where Python looks for modules.
	pathVariable = "PYTHONPATH"
	// dirVariable is the folder that the plugin writes its reports to.
	dirVariable = "VOBS_INSTRUMENT_DIR"
	// statsVariable, if 1, makes the plugin switch on the statistics that LLM() leaves off.
	statsVariable = "VOBS_INSTRUMENT_STATS"
)

// Folder is a private folder with the plugin and its reports.
type Folder struct {
	// Dir is the folder's path. The plugin is in Dir/plugin, the reports are in Dir/reports.
	Dir string
}

// Write writes the plugin into a directory, which has to be empty and private.
func Write(dir string) (Folder, error) {
	f := Folder{Dir: dir}
	if err := f.fill(); err != nil {
		return Folder{}, fmt.Errorf("writing the plugin: %w", err)
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

// Environ returns env with the variables through which vLLM finds the plugin: the plugin's
// folder at the front of PYTHONPATH, and its name in VLLM_PLUGINS if that was set. If stats
// is set, the plugin switches on the statistics that LLM() leaves off.
func (f Folder) Environ(env []string, stats bool) []string {
	paths := f.plugin()
	// An empty PYTHONPATH counts as unset; an empty element is the working directory.
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

// addName adds the plugin to a list of names, which vLLM splits at commas only.
func addName(list string) string {
	switch {
	case list == "":
		return pluginName
	case slices.Contains(strings.Split(list, ","), pluginName):
		return list
	}
	return list + "," + pluginName
}
