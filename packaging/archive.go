package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"
)

// documents are the texts of the repository that every package has.
var documents = []string{"README.md", "LICENSE", "CHANGELOG.md"}

// makeArchive returns the archive of a target: a folder with the binary, the texts, the licenses of
// what is linked, and, if they were generated, the man page and completions.
func makeArchive(root string, rel release, t target, p payload) ([]byte, error) {
	files := []file{{name: "vobs", executable: true, data: p.binary}}
	for _, name := range documents {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return nil, err
		}
		files = append(files, file{name: name, data: data})
	}
	files = slices.Concat(files, p.licenses, p.share)
	return tarball(rel.archive(t), rel.Date, files)
}

// tarball returns a compressed archive of files in one folder. It depends on its arguments only.
func tarball(folder string, date time.Time, files []file) ([]byte, error) {
	var out bytes.Buffer
	// Without a name and a date, as gzip -n.
	compressed, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	archive := tar.NewWriter(compressed)
	for _, f := range inOrder(files) {
		h := &tar.Header{
			Typeflag: tar.TypeReg, Name: path.Join(folder, f.name), Size: int64(len(f.data)), Mode: 0o644,
			ModTime: date.Truncate(time.Second), Uname: "root", Gname: "root", Format: tar.FormatPAX,
		}
		if f.executable {
			h.Mode = 0o755
		}
		if err := archive.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := archive.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	if err := compressed.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// inOrder returns the files sorted by name.
func inOrder(files []file) []file {
	return slices.SortedFunc(slices.Values(files), func(a, b file) int { return cmp.Compare(a.name, b.name) })
}

// readTree returns the files below a folder, named as if it were called name.
func readTree(dir, name string) (files []file, err error) {
	err = fs.WalkDir(os.DirFS(dir), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, p))
		files = append(files, file{name: path.Join(name, p), data: data})
		return err
	})
	return files, err
}
