package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// check checks the packages of an earlier build: their checksums, that the binaries start with
// glibc 2.28, that no license is missing, that a wheel and an archive hold the same binary. Then it
// builds them again, in another folder and with an empty Go cache, and compares.
func check(ctx context.Context, o options) error {
	targets, err := o.targets()
	if err != nil {
		return err
	}
	rel, err := findRelease(ctx, o)
	if err != nil {
		return err
	}
	if err := checkSums(o.out); err != nil {
		return err
	}
	for _, t := range targets {
		if err := checkPackages(o, rel, t); err != nil {
			return fmt.Errorf("%s: %w", t.arch, err)
		}
		fmt.Fprintf(os.Stderr, "%s: needs glibc %d.%d at most; no license is missing\n", t.arch, newestGlibc[0], newestGlibc[1])
	}
	return checkReproducible(ctx, o, rel)
}

func checkSums(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, sums))
	if err != nil {
		return fmt.Errorf("%w: make dist first", err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		want, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(data)); got != want {
			return fmt.Errorf("%s has the checksum %s, and %s says %s", name, got, sums, want)
		}
		n++
	}
	if all, err := packages(dir); err != nil || n != len(all)-1 {
		return fmt.Errorf("%s has %d lines for %d files (%v)", sums, n, len(all)-1, err)
	}
	return nil
}

// checkPackages checks the archive and the wheel of a target.
func checkPackages(o options, rel release, t target) error {
	archive, err := readArchive(filepath.Join(o.out, rel.archive(t)+".tar.gz"))
	if err != nil {
		return fmt.Errorf("%w: make dist first", err)
	}
	wheel, err := readWheel(filepath.Join(o.out, rel.wheel(t)))
	if err != nil {
		return err
	}
	folder, info := rel.archive(t), "vobs-"+rel.python()+".dist-info/licenses"
	program := archive[folder+"/vobs"]
	if !bytes.Equal(program, wheel["vobs-"+rel.python()+".data/scripts/vobs"]) {
		return errors.New("the archive and the wheel hold different binaries")
	}
	if err := checkBinary(t, program); err != nil {
		return err
	}
	modules, err := modulesOf(program)
	if err != nil {
		return err
	}
	return errors.Join(missingLicenses(archive, folder, modules), missingLicenses(wheel, info, modules))
}

// modulesOf returns the paths of the modules that a binary was linked from.
func modulesOf(program []byte) (out []string, err error) {
	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		return nil, err
	}
	for _, m := range info.Deps {
		out = append(out, m.Path)
	}
	if len(out) == 0 {
		return nil, errors.New("the binary names no modules")
	}
	return out, nil
}

// missingLicenses returns an error that names what a package holds no license of: vobs itself, Go,
// zig and each module must have one below folder.
func missingLicenses(files map[string][]byte, folder string, modules []string) error {
	var problems []error
	has := func(dir string) bool {
		for name, data := range files {
			if path.Dir(name) == dir && licenseName.MatchString(path.Base(name)) && licenseOf(string(data)) != "" {
				return true
			}
		}
		return false
	}
	if !has(folder) {
		problems = append(problems, errors.New("the license of vobs is missing"))
	}
	want := []string{goFolder, zigFolder}
	for _, m := range modules {
		want = append(want, "licenses/"+m)
	}
	for _, dir := range want {
		if !has(path.Join(folder, dir)) {
			problems = append(problems, fmt.Errorf("a license is missing: %s", path.Join(folder, dir)))
		}
	}
	return errors.Join(problems...)
}

func readArchive(path string) (map[string][]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	in, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for archive := tar.NewReader(in); ; {
		h, err := archive.Next()
		if err == io.EOF {
			return files, nil
		} else if err != nil {
			return nil, err
		}
		if files[h.Name], err = io.ReadAll(archive); err != nil {
			return nil, err
		}
	}
}

func readWheel(path string) (map[string][]byte, error) {
	archive, err := zip.OpenReader(path)
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	files := map[string][]byte{}
	for _, f := range archive.File {
		in, err := f.Open()
		if err != nil {
			return nil, err
		}
		files[f.Name], err = io.ReadAll(in)
		in.Close()
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// checkReproducible builds a copy of the source tree in another folder and compares the packages.
func checkReproducible(ctx context.Context, o options, rel release) error {
	tree, err := os.MkdirTemp("", "vobs-another-place-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tree)
	if err := copyTree(ctx, o, tree); err != nil {
		return err
	}
	second := o
	second.root, second.out = tree, filepath.Join(tree, "dist")
	if second.gocache == "" {
		second.gocache = filepath.Join(tree, ".gocache")
	}
	second.version, second.commit, second.date = rel.Version, rel.Commit, rel.Date.Format(time.RFC3339)
	if share, err := readTree(filepath.Join(o.out, "share"), "share"); err == nil {
		for _, f := range share {
			to := filepath.Join(second.out, filepath.FromSlash(f.name))
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(to, f.data, 0o644); err != nil {
				return err
			}
		}
	}
	if err := build(ctx, second); err != nil {
		return err
	}
	return compare(o.out, second.out)
}

// compare returns an error that names the packages of two builds that differ.
func compare(a, b string) error {
	var names [2][]string
	for i, dir := range []string{a, b} {
		paths, err := packages(dir)
		if err != nil {
			return err
		}
		for _, p := range paths {
			names[i] = append(names[i], filepath.Base(p))
		}
	}
	if !slices.Equal(names[0], names[1]) {
		return fmt.Errorf("%s has %q, and %s %q", a, names[0], b, names[1])
	}
	var problems []error
	for _, name := range names[0] {
		x, err := os.ReadFile(filepath.Join(a, name))
		if err != nil {
			return err
		}
		y, err := os.ReadFile(filepath.Join(b, name))
		if err != nil {
			return err
		}
		if !bytes.Equal(x, y) {
			problems = append(problems, fmt.Errorf("the two builds of %s differ", name))
		}
	}
	if problems == nil {
		fmt.Fprintf(os.Stderr, "the two builds are equal: %d files\n", len(names[0]))
	}
	return errors.Join(problems...)
}

// copyTree copies the source tree as it is, without what git ignores.
func copyTree(ctx context.Context, o options, to string) error {
	list, err := output(exec.CommandContext(ctx, "git", "-C", o.root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"))
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		from := filepath.Join(o.root, name)
		info, err := os.Stat(from)
		if errors.Is(err, os.ErrNotExist) {
			continue // removed, and not yet committed
		} else if err != nil {
			return err
		}
		data, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, data, info.Mode().Perm()); err != nil {
			return err
		}
	}
	return nil
}
