package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var commitDate = time.Date(2026, 11, 30, 14, 9, 17, 0, time.UTC)

func TestVersionOf(t *testing.T) {
	const log = "# Changelog\n\n## [0.2.0] - Unreleased\n\n## [0.1.0] - 2026-12-01\n"
	for _, c := range []struct {
		tags    []string
		changed bool
		want    string
		python  string
	}{
		{[]string{"v0.2.0"}, false, "0.2.0", "0.2.0"},
		{[]string{"v0.2.0"}, true, "0.2.0-dev+83db4cf99e51.dirty", "0.2.0.dev0+83db4cf99e51.dirty"},
		{nil, false, "0.2.0-dev+83db4cf99e51", "0.2.0.dev0+83db4cf99e51"},
		{[]string{"v0.1.0", "other"}, false, "0.2.0-dev+83db4cf99e51", "0.2.0.dev0+83db4cf99e51"},
	} {
		got, err := versionOf(log, c.tags, "83db4cf99e51b07be8ece472a6bea39d3e76825b", c.changed)
		if err != nil || got != c.want || (release{Version: got}).python() != c.python {
			t.Errorf("%v: %s, %v, in Python %s", c, got, err, release{Version: got}.python())
		}
	}
	if _, err := versionOf("# Changelog\n\n## Unreleased\n", nil, "83db4cf", false); err == nil {
		t.Error("no error without a heading")
	}
}

// The change log of the repository has a version.
func TestChangelog(t *testing.T) {
	text, err := os.ReadFile("../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := versionOf(string(text), nil, "83db4cf", false); err != nil {
		t.Error(err)
	}
}

func TestGlibcAllows(t *testing.T) {
	for version, want := range map[string]bool{
		"GLIBC_2.2.5": true, "GLIBC_2.17": true, "GLIBC_2.28": true, "GLIBC_2.29": false, "GLIBC_2.34": false, "GLIBC_3.0": false, "GLIBC_PRIVATE": false, "GCC_3.0": false,
	} {
		if got := glibcAllows(version); got != want {
			t.Errorf("%s: %v", version, got)
		}
	}
}

// A binary that this machine's compiler made for itself is refused, because it needs NVML's
// functions or a newer glibc, or is no program at all.
func TestCheckBinaryRefuses(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	for name, program := range map[string][]byte{"a test": program, "a text": []byte("#!/bin/sh\n")} {
		if checkBinary(targets["amd64"], program) == nil {
			t.Errorf("%s passes", name)
		}
	}
}

func TestWeakPragmas(t *testing.T) {
	var header strings.Builder
	for i := range 100 {
		fmt.Fprintf(&header, "nvmlReturn_t DECLDIR nvmlFunction%d(int a);\n", i)
	}
	header.WriteString("const DECLDIR char* nvmlErrorString(nvmlReturn_t result);\n#define DECLDIR\n#define nvmlInit nvmlInit_v2\n")
	got, err := weakPragmas([]byte(header.String()))
	if err != nil || strings.Count(got, "\n") != 101 || !strings.Contains(got, "#pragma weak nvmlErrorString\n") || strings.Contains(got, "nvmlInit") {
		t.Errorf("%v\n%s", err, got)
	}
	if _, err := weakPragmas([]byte("int main(void);")); err == nil {
		t.Error("no error for a header without functions")
	}
}

// Every module that is linked into vobs, and Go itself, has a license that allows distribution.
func TestLicenses(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		o := options{root: ".."}
		files, err := collectLicenses(t.Context(), o, targets[arch])
		if err != nil {
			t.Fatal(err)
		}
		modules, err := linkedModules(t.Context(), o, targets[arch])
		if err != nil {
			t.Fatal(err)
		}
		if len(modules) < 10 {
			t.Errorf("%s: only %d modules", arch, len(modules))
		}
		ids := modulesLicenses(files)
		for module := range modules {
			if ids[module] == "" {
				t.Errorf("%s: no license of %s", arch, module)
			}
		}
		if ids["std"] != "BSD-3-Clause" {
			t.Errorf("%s: Go has the license %q", arch, ids["std"])
		}
	}
}

// A missing license, and one that is not known, are found.
func TestMissingLicenses(t *testing.T) {
	const mit = "Permission is hereby granted, free of charge, to any person … without restriction"
	files := map[string][]byte{"d/LICENSE": []byte(mit), "d/licenses/go/LICENSE": []byte(mit), "d/licenses/zig/LICENSE": []byte(mit), "d/licenses/example.com/a/LICENSE.md": []byte(mit), "d/licenses/example.com/b/NOTICE": []byte("b")}
	if err := missingLicenses(files, "d", []string{"example.com/a"}); err != nil {
		t.Error(err)
	}
	err := missingLicenses(files, "d", []string{"example.com/a", "example.com/b", "example.com/c"})
	if err == nil || strings.Count(err.Error(), "\n") != 1 || !strings.Contains(err.Error(), "example.com/b") || !strings.Contains(err.Error(), "example.com/c") {
		t.Error(err)
	}
	if err := checkLicenses([]file{{name: "licenses/x/LICENSE", data: []byte("All rights reserved.")}}); err == nil {
		t.Error("an unknown license passes")
	}
}

// An archive depends on its files only, and not on their order.
func TestTarball(t *testing.T) {
	files := []file{{name: "vobs", executable: true, data: []byte("program")}, {name: "LICENSE", data: []byte("license")}}
	a, err := tarball("vobs_1", commitDate, files)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(files)
	b, err := tarball("vobs_1", commitDate.In(time.FixedZone("", 3600)), files)
	if err != nil || !bytes.Equal(a, b) {
		t.Fatalf("an archive depends on the order of its files, error %v", err)
	}
	in, err := gzip.NewReader(bytes.NewReader(a))
	if err != nil {
		t.Fatal(err)
	}
	if !in.ModTime.IsZero() || in.Name != "" {
		t.Errorf("gzip holds the date %v and the name %q", in.ModTime, in.Name)
	}
	archive := tar.NewReader(in)
	for _, want := range []struct {
		name string
		mode int64
	}{{"vobs_1/LICENSE", 0o644}, {"vobs_1/vobs", 0o755}} {
		h, err := archive.Next()
		if err != nil {
			t.Fatal(err)
		}
		if h.Name != want.name || h.Mode != want.mode || !h.ModTime.Equal(commitDate) || h.Uid != 0 || h.Gid != 0 {
			t.Errorf("%+v", h)
		}
	}
}

// A wheel has the binary as a script, and a record of all files.
func TestWheel(t *testing.T) {
	rel := release{Version: "0.1.0", Commit: "83db4cf", Date: commitDate}
	p := payload{
		binary:   []byte("program"),
		licenses: []file{{name: "licenses/go/LICENSE", data: []byte("license")}},
		share:    []file{{name: "share/man/man1/vobs.1", data: []byte("page")}},
		sbom:     []byte("{}"),
	}
	wheel, err := makeWheel("..", rel, targets["amd64"], p)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := makeWheel("..", rel, targets["amd64"], p); err != nil || !bytes.Equal(wheel, again) {
		t.Errorf("two builds of a wheel differ, error %v", err)
	}
	archive, err := zip.NewReader(bytes.NewReader(wheel), int64(len(wheel)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range archive.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name] = string(data)
		want := os.FileMode(0o644)
		if f.Name == "vobs-0.1.0.data/scripts/vobs" {
			want = 0o755
		}
		if f.Mode() != want || f.Modified.Sub(commitDate).Abs() > time.Second {
			t.Errorf("%s: mode %v, date %v", f.Name, f.Mode(), f.Modified)
		}
	}
	for name, part := range map[string]string{
		"vobs-0.1.0.data/scripts/vobs":                      "program",
		"vobs-0.1.0.data/data/share/man/man1/vobs.1":        "page",
		"vobs-0.1.0.dist-info/licenses/licenses/go/LICENSE": "license",
		"vobs-0.1.0.dist-info/licenses/LICENSE":             "Apache License",
		"vobs-0.1.0.dist-info/sboms/vobs.cdx.json":          "{}",
		"vobs-0.1.0.dist-info/METADATA":                     "\nVersion: 0.1.0\n",
		"vobs-0.1.0.dist-info/WHEEL":                        "Tag: py3-none-manylinux_2_28_x86_64\n",
		"vobs/_version.py":                                  `__version__ = "0.1.0"`,
		"vobs/py.typed":                                     "",
		"vobs/models.py":                                    "class GenerationObservability",
	} {
		if text, ok := files[name]; !ok || !strings.Contains(text, part) {
			t.Errorf("%s lacks %q: %.200s", name, part, text)
		}
	}
	last := archive.File[len(archive.File)-1].Name
	if last != "vobs-0.1.0.dist-info/RECORD" {
		t.Errorf("the last file is %s", last)
	}
	record := files[last]
	for name, data := range files {
		sum := sha256.Sum256([]byte(data))
		line := fmt.Sprintf("%s,sha256=%s,%d\n", name, base64.RawURLEncoding.EncodeToString(sum[:]), len(data))
		if name == last {
			line = name + ",,\n"
		}
		if !strings.Contains(record, line) {
			t.Errorf("the record lacks %q", line)
		}
	}
	if strings.Count(record, "\n") != len(files) {
		t.Errorf("the record has other files too:\n%s", record)
	}
}

func TestCompleteSBOM(t *testing.T) {
	rel := release{Version: "0.1.0", Date: commitDate}
	text := `{"metadata":{"tools":[{"name":"cyclonedx-gomod","hashes":[{"alg":"MD5"}]}],"component":{"name":"github.com/vobs/vobs"}},"components":[{"name":"std"},{"name":"example.com/a"}]}`
	out, err := completeSBOM([]byte(text), rel, map[string]string{"std": "BSD-3-Clause", "example.com/a": "MIT", "github.com/vobs/vobs": "Apache-2.0"})
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(out, []byte("hashes")) || !bytes.Contains(out, []byte(`"timestamp": "2026-11-30T14:09:17Z"`)) || bytes.Count(out, []byte(`"id": "`)) != 3 || !json.Valid(out) {
		t.Errorf("%s", out)
	}
	if _, err := completeSBOM([]byte(text), rel, map[string]string{"std": "BSD-3-Clause"}); err == nil {
		t.Error("no error for a module without a license")
	}
}

func TestSums(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"vobs_1_linux_amd64.tar.gz", "other.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeSums(dir); err != nil {
		t.Fatal(err)
	}
	if err := checkSums(dir); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "vobs_1_linux_amd64.tar.gz"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := checkSums(dir); err == nil {
		t.Error("a changed file passes")
	}
	if err := removeOld(dir); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 || left[0].Name() != "other.txt" {
		t.Errorf("left: %v", left)
	}
}
