package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"github.com/vobs/vobs/internal/render"
)

// What the linker sets, by -X github.com/vobs/vobs/internal/cli.version=v1.2.3 and so on. The date
// is that of the commit (RFC 3339, UTC), so that two builds of a commit are equal.
var version, commit, date string

// Version returns the version of vobs: what the linker set, else the module version
// that `go install` recorded, else the commit.
func Version() string { return readBuild().Version }

// A build identifies the program. What is unknown is "".
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Date    string `json:"date,omitempty"` // of the commit
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	Go      string `json:"go"`
}

func readBuild() build {
	b := build{Version: version, Commit: commit, Date: date, OS: runtime.GOOS, Arch: runtime.GOARCH, Go: runtime.Version()}
	if b.Version != "" && b.Commit != "" {
		return b // without reading the module's information at every start
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		if b.Version == "" {
			b.Version = "unknown"
		}
		return b
	}
	revision, at, dirty := "", "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.time":
			at = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if b.Commit == "" && revision != "" {
		b.Commit, b.Date = revision, at
	}
	switch {
	case b.Version != "":
	case info.Main.Version != "" && info.Main.Version != "(devel)":
		b.Version = info.Main.Version
	case len(revision) >= 12:
		b.Version = "devel-" + revision[:12] + dirty
	default:
		b.Version = "devel"
	}
	return b
}

// text writes what identifies the program, and in a second line the commit, if it is known.
func (b build) text(w io.Writer) error {
	lines := fmt.Sprintf("vobs %s %s/%s %s\n", b.Version, b.OS, b.Arch, b.Go)
	switch {
	case b.Commit != "" && b.Date != "":
		lines += fmt.Sprintf("commit %s of %s\n", b.Commit, b.Date)
	case b.Commit != "":
		lines += fmt.Sprintf("commit %s\n", b.Commit)
	}
	_, err := io.WriteString(w, lines)
	return err
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print vobs's version, and the commit that it was built from",
		Flags: []cli.Flag{&cli.StringFlag{Name: "format", Value: string(render.Text), Usage: "`FORMAT` of the result: text or json"}},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			format, err := parseVersionFormat(cmp.Or(c.String("format"), string(render.Text)))
			switch b := readBuild(); {
			case err != nil:
				return fmt.Errorf("--%w", err)
			case format == render.JSON:
				enc := json.NewEncoder(c.App.Writer)
				enc.SetEscapeHTML(false)
				return enc.Encode(b)
			default:
				return b.text(c.App.Writer)
			}
		},
	}
}

func parseVersionFormat(format string) (render.Format, error) {
	return render.FormatNamed(format, render.Text, render.JSON)
}
