package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A release is what is built: a version of CHANGELOG.md if the commit has its tag, or else a state
// on the way to it.
type release struct {
	Version string // as in 0.1.0 or 0.1.0-dev+83db4cf99e51
	Commit  string
	Date    time.Time // of the commit
}

// heading is that of a version in CHANGELOG.md.
var heading = regexp.MustCompile(`(?m)^## \[(\d+\.\d+\.\d+)\]`)

// findRelease returns what is built: what the flags say, or else what git and CHANGELOG.md do.
func findRelease(ctx context.Context, o options) (release, error) {
	rel := release{Version: o.version, Commit: o.commit}
	var err error
	if rel.Commit == "" {
		if rel.Commit, err = git(ctx, o, "rev-parse", "HEAD"); err != nil {
			return rel, err
		}
	}
	when := o.date
	if when == "" {
		if when, err = git(ctx, o, "log", "-1", "--format=%cI"); err != nil {
			return rel, err
		}
	}
	if rel.Date, err = time.Parse(time.RFC3339, when); err != nil {
		return rel, err
	}
	rel.Date = rel.Date.UTC()
	if rel.Version == "" {
		text, err := os.ReadFile(filepath.Join(o.root, "CHANGELOG.md"))
		if err != nil {
			return rel, err
		}
		changes, err := git(ctx, o, "status", "--porcelain")
		if err != nil {
			return rel, err
		}
		tags, err := git(ctx, o, "tag", "--points-at", "HEAD")
		if err != nil {
			return rel, err
		}
		if rel.Version, err = versionOf(string(text), strings.Fields(tags), rel.Commit, changes != ""); err != nil {
			return rel, err
		}
	}
	return rel, nil
}

// versionOf returns the version that a commit is: that of the newest heading of the change log if
// the commit has its tag and nothing was changed since.
func versionOf(changelog string, tags []string, commit string, changed bool) (string, error) {
	m := heading.FindStringSubmatch(changelog)
	if m == nil {
		return "", errors.New("CHANGELOG.md has no heading like ## [1.2.3]")
	}
	v := m[1]
	if slices.Contains(tags, "v"+v) && !changed {
		return v, nil
	}
	v += "-dev+" + commit[:min(12, len(commit))]
	if changed {
		v += ".dirty"
	}
	return v, nil
}

// archive is the name of an archive without its extension, and of the folder in it.
func (r release) archive(t target) string { return "vobs_" + r.Version + "_linux_" + t.arch }

// python is the version as Python spells it (PEP 440).
func (r release) python() string { return strings.Replace(r.Version, "-dev", ".dev0", 1) }

func (r release) wheel(t target) string {
	return fmt.Sprintf("vobs-%s-%s.whl", r.python(), t.wheelTag)
}

func git(ctx context.Context, o options, args ...string) (string, error) {
	out, err := output(exec.CommandContext(ctx, "git", append([]string{"-C", o.root}, args...)...))
	return strings.TrimSpace(string(out)), err
}

// output runs a command and returns its stdout; the error has its stderr.
func output(cmd *exec.Cmd) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, stderr.Bytes())
	}
	return out, nil
}

// ours are the files that a build writes; whatever else is in the folder stays.
var ours = []string{"vobs_*.tar.gz", "vobs_*.cdx.json", "vobs-*.whl", sums}

const sums = "SHA256SUMS"

// packages returns the paths of the files in a folder that a build has written, sorted.
func packages(dir string) (out []string, err error) {
	for _, pattern := range ours {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	slices.Sort(out)
	return out, nil
}

func removeOld(dir string) error {
	old, err := packages(dir)
	if err != nil {
		return err
	}
	for _, path := range old {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return os.MkdirAll(dir, 0o755)
}

func write(path string, data []byte) error {
	fmt.Fprintf(os.Stderr, "  %s, %.2f MB\n", filepath.Base(path), float64(len(data))/1e6)
	return os.WriteFile(path, data, 0o644)
}

// writeSums writes the checksums of all packages, for sha256sum -c.
func writeSums(dir string) error {
	paths, err := packages(dir)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, path := range paths {
		if filepath.Base(path) == sums {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(data), filepath.Base(path))
	}
	return os.WriteFile(filepath.Join(dir, sums), []byte(b.String()), 0o644)
}
