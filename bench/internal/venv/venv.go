// Package venv finds or makes the Python that the benchmarks set vobs beside.
package venv

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// With gives the interpreter of the virtual environment dir/venv, which is made where it is
// missing, with a module, which pip installs as package where it cannot be imported. "",
// after a line on stderr that names what is skipped, where that fails.
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
