package main

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"crypto/sha256"
	_ "embed" // for the wheel's texts
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// maxWheel is the most that a wheel may have, in bytes: it is downloaded into each environment.
const maxWheel = 12_000_000

// metadata is the wheel's METADATA without its version and description.
//
//go:embed wheel_metadata.txt
var metadata string

// makeWheel returns the Python wheel of a target. It has the package vobs, and the binary as a
// script, which pip puts beside python. The format: packaging.python.org, "Binary distribution
// format"; the place of licenses: PEP 639; that of the SBOM: PEP 770.
func makeWheel(root string, rel release, t target, p payload) ([]byte, error) {
	name := "vobs-" + rel.python()
	info, scripts := name+".dist-info", name+".data"
	files, err := pythonPackage(filepath.Join(root, "python", "vobs"))
	if err != nil {
		return nil, err
	}
	description, err := os.ReadFile(filepath.Join(root, "packaging", "wheel_description.md"))
	if err != nil {
		return nil, err
	}
	license, err := os.ReadFile(filepath.Join(root, "LICENSE"))
	if err != nil {
		return nil, err
	}
	licenses := []file{{name: "LICENSE", data: license}}
	licenses = append(licenses, p.licenses...)
	var names strings.Builder
	for _, f := range inOrder(licenses) {
		fmt.Fprintf(&names, "License-File: %s\n", f.name)
		files = append(files, file{name: path.Join(info, "licenses", f.name), data: f.data})
	}
	for _, f := range p.share {
		files = append(files, file{name: path.Join(scripts, "data", f.name), data: f.data})
	}
	if p.sbom != nil {
		files = append(files, file{name: path.Join(info, "sboms", "vobs.cdx.json"), data: p.sbom})
	}
	files = append(files,
		file{name: path.Join(scripts, "scripts", "vobs"), executable: true, data: p.binary},
		file{name: "vobs/_version.py", data: fmt.Appendf(nil, "__version__ = %q\n", rel.python())},
		file{name: path.Join(info, "METADATA"), data: fmt.Appendf(nil, "Metadata-Version: 2.4\nName: vobs\nVersion: %s\n%s%s\n%s", rel.python(), metadata, names.String(), description)},
		file{name: path.Join(info, "WHEEL"), data: fmt.Appendf(nil, "Wheel-Version: 1.0\nGenerator: vobs-packaging\nRoot-Is-Purelib: false\nTag: %s\n", t.wheelTag)},
	)
	wheel, err := zipWheel(path.Join(info, "RECORD"), rel.Date, files)
	if err == nil && len(wheel) > maxWheel {
		err = fmt.Errorf("%s has %d bytes: more than %d", rel.wheel(t), len(wheel), maxWheel)
	}
	return wheel, err
}

// pythonPackage returns the files of the Python package, without what Python leaves behind.
func pythonPackage(dir string) (files []file, err error) {
	err = fs.WalkDir(os.DirFS(dir), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "__pycache__":
			return fs.SkipDir
		case d.IsDir() || path.Ext(p) != ".py" && d.Name() != "py.typed":
			return nil
		}
		data, err := os.ReadFile(filepath.Join(dir, p))
		files = append(files, file{name: path.Join("vobs", p), data: data})
		return err
	})
	return files, err
}

// zipWheel returns a wheel of files, and adds the record of their checksums. It depends on its
// arguments only.
func zipWheel(record string, date time.Time, files []file) ([]byte, error) {
	var out bytes.Buffer
	archive := zip.NewWriter(&out)
	archive.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(w, flate.BestCompression)
	})
	var lines strings.Builder
	add := func(f file) error {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: date.UTC().Truncate(time.Second)}
		h.SetMode(0o644)
		if f.executable {
			h.SetMode(0o755)
		}
		w, err := archive.CreateHeader(h)
		if err != nil {
			return err
		}
		_, err = w.Write(f.data)
		return err
	}
	for _, f := range inOrder(files) {
		sum := sha256.Sum256(f.data)
		fmt.Fprintf(&lines, "%s,sha256=%s,%d\n", f.name, base64.RawURLEncoding.EncodeToString(sum[:]), len(f.data))
		if err := add(f); err != nil {
			return nil, err
		}
	}
	fmt.Fprintf(&lines, "%s,,\n", record)
	if err := add(file{name: record, data: []byte(lines.String())}); err != nil { // last, as the format recommends
		return nil, err
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
