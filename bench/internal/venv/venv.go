// Package venv provides the Python interpreter for the benchmarks' Python contenders.
package venv

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// With returns the interpreter of the virtual environment dir/venv, in which a module can
// be imported. It creates the environment and installs pkg, which has the module, if they
// are missing. If that fails, it prints to stderr what is skipped and returns "".
func With(dir, module, pkg, what string) (python string) {
	python = dir + "/venv/bin/python"
	if run(python, "-c", "import "+module) == nil {
		return python
	}
	var err error
	if _, missing := os.Stat(python); missing != nil {
		err = run("python3", "-m", "venv", dir+"/venv")
	}
	if err == nil {
		err = run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", pkg)
	}
	if err == nil {
		err = run(python, "-c", "import "+module)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: SKIPPED: %s: %v\n", what, err)
		return ""
	}
	return python
}

func run(argv ...string) error {
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, out)
	}
	return nil
}
