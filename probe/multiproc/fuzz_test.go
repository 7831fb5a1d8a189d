package multiproc

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vobs/vobs/probe/exposition"
)

// FuzzFile reads any bytes as a file, next to a valid one and after other bytes in the same
// file. It checks that there is no crash, that there are not more samples than the bytes can
// hold, and that the valid file's value stays correct or is left out.
func FuzzFile(f *testing.F) {
	for _, dir := range directories {
		paths, err := filepath.Glob(filepath.Join(dbOf(dir), "*.db"))
		if err != nil || len(paths) == 0 {
			f.Fatal(paths, err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			used := int(binary.NativeEndian.Uint32(data))
			name := filepath.Base(path)
			f.Add(name, data[:used], data[:min(used, 600)])
			if bytes.HasPrefix([]byte(name), []byte("histogram")) {
				break // they are long and similar
			}
		}
	}
	f.Add("counter_1.db", newDB().entry("fuzz", "fuzz_total", "", -1).bytes(), []byte{})
	f.Fuzz(func(t *testing.T, name string, first, second []byte) {
		kind, _, _, ok := fileKind(name)
		if !ok || len(name) > 200 || strings.ContainsAny(name, "/\x00") {
			return
		}
		dir := t.TempDir()
		path := filepath.Join(dir, name)
		other := dir + "/counter_other.db"
		if path == other {
			return
		}
		newDB().entry("reserved", "reserved_total", `"only": "here"`, 3).write(t, other)
		r := New(dir, nil)
		var page exposition.Page
		for _, data := range [][]byte{first, second, first} {
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Skip(err)
			}
			for _, full := range []bool{true, false} {
				err := r.Read(&page, full)
				if len(page.Samples) > 2+len(data)/20 {
					t.Fatalf("%d samples of %d bytes", len(page.Samples), len(data))
				}
				if kind == counterKind && (err != nil || bytes.Contains(data, []byte("reserved"))) {
					continue // it may be left out, or the other file may add to it
				}
				found := false
				for _, s := range page.Samples {
					if s.Name == "reserved_total" && s.Labels.Get("only") == "here" {
						found = s.Value == 3
					}
				}
				if !found && err == nil {
					t.Fatalf("the page lacks the other file's value")
				}
			}
		}
	})
}
