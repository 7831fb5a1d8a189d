package cli

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
)

// TestHelp compares the --help of vobs and of every subcommand, hidden ones
// included, with testdata/help, so that the command line cannot change by
// accident. go test -update rewrites the files.
func TestHelp(t *testing.T) {
	names := []string{""}
	for _, c := range newApp(io.Discard, io.Discard).Commands {
		names = append(names, c.Name)
	}
	used := map[string]bool{}
	for _, name := range names {
		args, file := []string{"vobs", name, "--help"}, name+".txt"
		if name == "" {
			args, file = []string{"vobs", "--help"}, "vobs.txt"
		}
		used[file] = true
		t.Run(file, func(t *testing.T) {
			var help bytes.Buffer
			if err := newApp(&help, io.Discard).Run(args); err != nil {
				t.Fatal(err)
			}
			goldenHelp(t, file, help.Bytes())
		})
	}
	files, err := os.ReadDir(filepath.Join("testdata", "help"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !used[f.Name()] {
			t.Errorf("testdata/help/%s belongs to no subcommand", f.Name())
		}
	}
}

// versionSection is the part of vobs --help that differs from build to build.
var versionSection = regexp.MustCompile(`(?m)^VERSION:\n.*$`)

func goldenHelp(t *testing.T, file string, help []byte) {
	t.Helper()
	help = versionSection.ReplaceAll(help, []byte("VERSION:\n   <version>"))
	testkit.Golden(t, filepath.Join("testdata", "help", file), help)
}
