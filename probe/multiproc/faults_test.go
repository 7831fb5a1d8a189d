package multiproc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/probe/exposition"
)

// good returns a directory with a counter, a gauge and a histogram of process 1.
func good(tb testing.TB) (dir string) {
	tb.Helper()
	dir = tb.TempDir()
	newDB().entry("c", "c_total", "", 5).write(tb, dir+"/counter_1.db")
	newDB().raw(`["g", "g", {}, ""]`, 7, 1000).write(tb, dir+"/gauge_mostrecent_1.db")
	newDB().entry("h", "h_bucket", `"le": "+Inf"`, 3).write(tb, dir+"/histogram_1.db")
	return dir
}

// goodPage has all values of good.
var goodPage = map[string]string{
	"c_total{}": "5 0x1.4p+02", "g{}": "7 0x1.cp+02",
	`h_bucket{"le"="+Inf",}`: "3 0x1.8p+01", "h_count{}": "3 0x1.8p+01",
}

// with returns a page with changed values, given in pairs of id and value; "" removes one.
func with(page map[string]string, changes ...string) map[string]string {
	out := map[string]string{}
	for id, v := range page {
		out[id] = v
	}
	for i := 0; i < len(changes); i += 2 {
		if out[changes[i]] = changes[i+1]; changes[i+1] == "" {
			delete(out, changes[i])
		}
	}
	return out
}

// wantPage compares the values of a page.
func wantPage(tb testing.TB, want map[string]string, page *exposition.Page) {
	tb.Helper()
	if diff := cmp.Diff(want, flat(tb, page)); diff != "" {
		tb.Errorf("(-want +got):\n%s", diff)
	}
}

// Because of an invalid file its kind is left out, but not the rest, and the error names
// it. An empty file changes nothing. Once the file is valid, the page is complete.
func TestInvalidFiles(t *testing.T) {
	long := strings.Repeat("x", 5000)
	tests := []struct {
		name string
		file *dbFile
		want string // in the error; "" if there is none
	}{
		{"empty", &dbFile{}, ""},
		{"only zeros", &dbFile{size: 1 << 16}, ""},
		{"no entry", newDB(), ""},
		{"three bytes", &dbFile{data: []byte("abc")}, "its header says that 8 bytes are used, but it has 3"},
		{"negative used bytes", newDB().use(-5), "says that -5 bytes"},
		{"used bytes within the header", newDB().use(4), "says that 4 bytes"},
		{"used bytes beyond the file", newDB().entry("c", "c_total", "", 1).use(1 << 30), "1073741824 bytes are used, but it has 65536"},
		{"used bytes beyond the last entry", newDB().entry("c", "c_total", "", 1).use(200), "claims a key of 0 bytes"},
		{"used bytes within an entry", newDB().entry("c", "c_total", "", 1).use(30), "claims a key of"},
		{"used bytes within a value", newDB().entry("c", "c_total", "", 1).use(48), "has no end"},
		{"used bytes within a length", newDB().entry("c", "c_total", "", 1).raw(`["c", "c_total", {"a": "b"}, ""]`, 1, 0).use(59), "has no end"},
		{"negative length", newDB().entry("c", "c_total", "", 1).length(-1), "claims a key of -1 bytes"},
		{"huge length", newDB().entry("c", "c_total", "", 1).length(1<<31 - 1), "claims a key of 2147483647 bytes"},
		{"short length", newDB().entry("c", "c_total", "", 1).length(20), "the key at byte 8"},
		{"a file without timestamps", oldDB(), "claims a key of"},
		{"SQLite", &dbFile{data: []byte("SQLite format 3\x00"), size: 8192}, "bytes are used, but it has"},
		{"HTML", &dbFile{data: []byte("<html><body>"), size: 8192}, "bytes are used, but it has"},
		{"not JSON", newDB().raw(`not JSON`, 1, 0), "missing ["},
		{"an object", newDB().raw(`{"c": 1}`, 1, 0), "missing ["},
		{"too short a list", newDB().raw(`["c", "c_total", {}]`, 1, 0), "missing ,"},
		{"too long a list", newDB().raw(`["c", "c_total", {}, "", 1]`, 1, 0), "missing ]"},
		{"text after the list", newDB().raw(`["c", "c_total", {}, ""] x`, 1, 0), "unexpected text"},
		{"deep JSON", newDB().raw(strings.Repeat("[", 60000), 1, 0), "missing string"},
		{"deep labels", newDB().raw(`["c", "c_total", `+strings.Repeat(`{"a":`, 9000), 1, 0), "missing string"},
		{"labels of numbers", newDB().raw(`["c", "c_total", {"a": 1}, ""]`, 1, 0), "missing string"},
		{"labels of null", newDB().raw(`["c", "c_total", null, ""]`, 1, 0), "missing {"},
		{"duplicate label", newDB().raw(`["c", "c_total", {"a": "1", "a": "2"}, ""]`, 1, 0), "duplicate label a"},
		{"empty name", newDB().raw(`["", "c_total", {}, ""]`, 1, 0), "empty name"},
		{"no help", newDB().raw(`["c", "c_total", {}, null]`, 1, 0), "missing string"},
		{"invalid UTF-8", newDB().raw("[\"c\xff\", \"c_total\", {}, \"\"]", 1, 0), "not valid UTF-8"},
		{"a control character", newDB().raw("[\"c\n\", \"c_total\", {}, \"\"]", 1, 0), "control character"},
		{"an unknown escape", newDB().raw(`["c\x", "c_total", {}, ""]`, 1, 0), "unknown escape"},
		{"unterminated string", newDB().raw(`["c`, 1, 0), "unterminated string"},
		{"an escape at the end", newDB().raw(`["c\`, 1, 0), "unterminated string"},
		{"a long key", newDB().raw(`["`+long+`", "`+long+`_total", {}, ""`, 1, 0), "missing ]"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := good(t)
			r, page := New(dir, nil), exposition.Page{}
			read(t, r, true)
			path := dir + "/counter_2.db"
			test.file.write(t, path)
			for range 2 {
				err := r.Read(&page, true)
				if test.want == "" {
					if err != nil {
						t.Fatal(err)
					}
					wantPage(t, goodPage, &page)
					continue
				}
				var partial *PartialError
				if !errors.As(err, &partial) || len(partial.Problems) != 1 || partial.Problems[0].Name != "counter_2.db" {
					t.Fatalf("error %v", err)
				}
				if text := err.Error(); !strings.Contains(text, test.want) || !strings.Contains(text, "all counters are left out") || len(text) > 400 {
					t.Errorf("error %q", text)
				}
				wantPage(t, with(goodPage, "c_total{}", ""), &page)
				if _, there := page.Types["c_total"]; there {
					t.Error("a family that is left out has a TYPE")
				}
			}
			newDB().entry("c", "c_total", "", 2).write(t, path)
			wantPage(t, with(goodPage, "c_total{}", "7 0x1.cp+02"), read(t, r, true))
		})
	}
}

// length sets the length of the first entry's key.
func (f *dbFile) length(n int) *dbFile {
	head := newDB().data
	rest := f.data[12:]
	f.data = append(f.data[:8:8], head[:4]...)
	f.data[8], f.data[9], f.data[10], f.data[11] = byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
	f.data = append(f.data, rest...)
	return f
}

// oldDB is a file of prometheus_client before 0.18: values have no timestamp.
func oldDB() *dbFile {
	f := newDB()
	for _, name := range []string{"a", "b", "c"} {
		f.raw(fmt.Sprintf(`["%s", "%s_total", {}, ""]`, name, name), 1, 0)
		f.data = f.data[:len(f.data)-8]
		f.use(len(f.data))
	}
	return f
}

// Files that are not prometheus_client's are ignored, and reading never waits for them.
func TestForeignFiles(t *testing.T) {
	dir := good(t)
	r := New(dir, nil)
	for _, name := range []string{".hidden.db", ".counter_5.db", "counter_1.db.bak", "notes.txt", "counter_9"} {
		newDB().entry("c", "c_total", "", 100).write(t, filepath.Join(dir, name))
	}
	for _, name := range []string{"cache.db", "counter.db", "gauge_3.db", "gauge_median_3.db", "info_3.db", "_.db"} {
		newDB().entry("c", "c_total", "", 100).write(t, filepath.Join(dir, name))
	}
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	must(os.Mkdir(dir+"/counter_4.db", 0o700))
	must(unix.Mkfifo(dir+"/counter_5.db", 0o600))
	must(os.Symlink("nowhere", dir+"/counter_6.db"))
	must(os.Symlink("/dev/zero", dir+"/counter_7.db"))
	for i := range 20 {
		must(os.WriteFile(fmt.Sprintf("%s/x%d.db", dir, i), nil, 0o600))
	}
	wantPage(t, goodPage, read(t, r, true))
	var listed []string
	for _, f := range r.listed {
		listed = append(listed, f.name)
	}
	if diff := cmp.Diff([]string{"counter_1.db", "gauge_mostrecent_1.db", "histogram_1.db"}, listed); diff != "" {
		t.Errorf("files that are read (-want +got):\n%s", diff)
	}

	// A link to a file is that file. A known file that becomes a FIFO does not block either.
	must(os.Symlink("counter_1.db", dir+"/counter_8.db"))
	wantPage(t, with(goodPage, "c_total{}", "10 0x1.4p+03"), read(t, r, true))
	must(os.Remove(dir + "/counter_8.db"))
	must(unix.Mkfifo(dir+"/counter_8.db", 0o600))
	var page exposition.Page
	if err := r.Read(&page, true); !errors.Is(err, errNotRegular) {
		t.Errorf("a FIFO: %v", err)
	}
}

// A family in files of two kinds, or with labels that no page can have, is left out alone.
func TestInvalidFamilies(t *testing.T) {
	t.Run("two kinds", func(t *testing.T) {
		dir := good(t)
		newDB().entry("g", "g", "", 1).entry("other", "other", "", 1).write(t, dir+"/gauge_all_1.db")
		var page exposition.Page
		r := New(dir, nil)
		for _, full := range []bool{true, false} {
			err := r.Read(&page, full)
			if err == nil || !strings.Contains(err.Error(), `"g": it is among the gauges of mode`) || strings.Count(err.Error(), "it is among") != 1 {
				t.Errorf("error %v", err)
			}
			got := flat(t, &page)
			if _, there := got["g{}"]; there || got[`other{"pid"="1",}`] == "" || page.Types["g"] != 0 {
				t.Errorf("%v %v", got, page.Types)
			}
		}
	})
	t.Run("live and not", func(t *testing.T) {
		dir := good(t)
		newDB().raw(`["g", "g", {}, ""]`, 8, 1001).write(t, dir+"/gauge_livemostrecent_2.db")
		wantPage(t, with(goodPage, "g{}", "8 0x1p+03"), read(t, New(dir, nil), true))
	})
	for name, labels := range map[string]string{
		"half a surrogate pair": `"x": "\udc80"`,
		"no bound":              `"le": "wide"`,
		"a bound in Go's form":  `"le": "0x1p4"`,
		"a bound of NaN":        `"le": "NaN"`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := good(t)
			newDB().entry("h", "h_sum", "", 3).entry("bad", "bad_sum", "", 1).entry("bad", "bad_bucket", labels, 3).write(t, dir+"/histogram_2.db")
			var page exposition.Page
			err := New(dir, nil).Read(&page, true)
			var partial *PartialError
			if !errors.As(err, &partial) || len(partial.Problems) != 1 || partial.Problems[0].Name != "bad" {
				t.Errorf("error %v", err)
			}
			wantPage(t, with(goodPage, "h_sum{}", "3 0x1.8p+01"), &page)
			// If it is not wanted, nothing is missing.
			r := New(dir, func(name string) Wanted {
				if strings.HasPrefix(name, "bad") {
					return Never
				}
				return InFull
			})
			wantPage(t, with(goodPage, "h_sum{}", "3 0x1.8p+01"), read(t, r, true))
		})
	}
}

// While a directory is being cleared, no sum over the remaining files is returned.
func TestClearing(t *testing.T) {
	two := func(t *testing.T) (string, *Reader) {
		dir := good(t)
		newDB().entry("c", "c_total", "", 20).write(t, dir+"/counter_2.db")
		newDB().entry("l", "l", "", 1).write(t, dir+"/gauge_liveall_2.db")
		r := New(dir, nil)
		read(t, r, true)
		return dir, r
	}
	remove := func(t *testing.T, paths ...string) {
		for _, path := range paths {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	isCleared := func(t *testing.T, r *Reader, full bool) {
		t.Helper()
		var page exposition.Page
		if err := r.Read(&page, full); !errors.Is(err, ErrCleared) || len(page.Samples)+len(page.Types) > 0 {
			t.Errorf("error %v with %d samples", err, len(page.Samples))
		}
	}
	t.Run("file by file", func(t *testing.T) {
		dir, r := two(t)
		remove(t, dir+"/gauge_liveall_2.db") // mark_process_dead
		wantPage(t, with(goodPage, "c_total{}", "25 0x1.9p+04"), read(t, r, true))
		remove(t, dir+"/counter_2.db")
		isCleared(t, r, false)
		isCleared(t, r, true)
		remove(t, dir+"/counter_1.db")
		isCleared(t, r, true)
		remove(t, dir+"/histogram_1.db")
		isCleared(t, r, true)
		remove(t, dir+"/gauge_mostrecent_1.db", dir)
		var page exposition.Page
		if err := r.Read(&page, true); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("and filled again", func(t *testing.T) {
		dir, r := two(t)
		remove(t, dir+"/counter_2.db")
		newDB().entry("c", "c_total", "", 2).write(t, dir+"/counter_3.db")
		isCleared(t, r, true)
		remove(t, dir+"/counter_1.db", dir+"/histogram_1.db")
		got := flat(t, read(t, r, true))
		if got["c_total{}"] != "2 0x1p+01" {
			t.Errorf("%v", got)
		}
		newDB().entry("c", "c_total", "", 3).write(t, dir+"/counter_4.db")
		if got := flat(t, read(t, r, true)); got["c_total{}"] != "5 0x1.4p+02" {
			t.Errorf("%v", got)
		}
	})
	t.Run("one of two replaced", func(t *testing.T) {
		dir, r := two(t)
		newDB().entry("c", "c_total", "", 1).write(t, dir+"/counter_2.db")
		isCleared(t, r, false)
		newDB().entry("c", "c_total", "", 9).write(t, dir+"/counter_2.db")
		isCleared(t, r, true)
	})
	t.Run("both replaced, with other keys", func(t *testing.T) {
		dir, r := two(t)
		for i := 1; i <= 2; i++ {
			newDB().entry("d", "d_total", "", 50).write(t, fmt.Sprintf("%s/counter_%d.db", dir, i))
		}
		newDB().write(t, dir+"/histogram_1.db")
		if got := flat(t, read(t, r, true)); got["d_total{}"] != "100 0x1.9p+06" || got["c_total{}"] != "" {
			t.Errorf("%v", got)
		}
	})
	t.Run("the only one replaced", func(t *testing.T) {
		dir := t.TempDir()
		newDB().entry("c", "c_total", "", 20).write(t, dir+"/counter_1.db")
		r := New(dir, nil)
		read(t, r, true)
		newDB().entry("c", "c_total", "", 1).write(t, dir+"/counter_1.db")
		wantPage(t, map[string]string{"c_total{}": "1 0x1p+00"}, read(t, r, true))
	})
	t.Run("values that may decrease", func(t *testing.T) {
		dir, r := two(t)
		newDB().entry("h", "h_sum", "", 3).write(t, dir+"/histogram_2.db")
		read(t, r, true)
		newDB().entry("h", "h_sum", "", 2).write(t, dir+"/histogram_2.db")
		newDB().raw(`["g", "g", {}, ""]`, 0, 1001).write(t, dir+"/gauge_mostrecent_1.db")
		read(t, r, true)
	})
}

// A directory and its files may appear late, grow, and be truncated.
func TestGrowth(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "late")
	r, page := New(dir, nil), exposition.Page{}
	if err := r.Read(&page, true); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("no directory: %v", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	wantPage(t, map[string]string{}, read(t, r, true))
	f, want := newDB(), map[string]string{}
	for i := range 2000 { // 120 KB: more than any single read
		f.entry("c", "c_total", fmt.Sprintf(`"n": "%d"`, i), float64(i))
		want[fmt.Sprintf(`c_total{"n"="%d",}`, i)] = fmt.Sprintf("%v %x", float64(i), float64(i))
		if f.size < len(f.data) {
			f.size *= 2
		}
		if i%199 == 0 || i == 1999 {
			f.write(t, dir+"/counter_1.db")
			wantPage(t, want, read(t, r, true))
		}
	}
	whole := len(f.data)
	if whole < 1<<16 {
		t.Fatalf("only %d bytes", whole)
	}
	for _, n := range []int{whole - 1, 1 << 16, 20000, 9, 8, 1} {
		if err := os.Truncate(dir+"/counter_1.db", int64(n)); err != nil {
			t.Fatal(err)
		}
		if err := r.Read(&page, true); err == nil || len(page.Samples) > 0 {
			t.Errorf("truncated to %d bytes: %d samples, error %v", n, len(page.Samples), err)
		}
	}
}

// What is read is bounded.
func TestBounds(t *testing.T) {
	t.Run("thousands of files", func(t *testing.T) {
		dir := t.TempDir()
		for i := range 1200 {
			f := newDB().entry("c", "c_total", "", 1)
			f.size = 0
			f.write(t, fmt.Sprintf("%s/counter_%d.db", dir, i))
		}
		wantPage(t, map[string]string{"c_total{}": fmt.Sprintf("%v %x", 1200.0, 1200.0)}, read(t, New(dir, nil), true))
	})
	t.Run("too many files", func(t *testing.T) {
		dir := good(t)
		r := New(dir, nil)
		r.limits.files = 50
		for i := range r.limits.files {
			if err := os.WriteFile(fmt.Sprintf("%s/gauge_all_%d.db", dir, i), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var page exposition.Page
		for range 2 {
			if err := r.Read(&page, true); !errors.Is(err, ErrTooMany) || len(page.Samples) > 0 {
				t.Fatalf("error %v", err)
			}
		}
		for i := range r.limits.files {
			os.Remove(fmt.Sprintf("%s/gauge_all_%d.db", dir, i))
		}
		wantPage(t, goodPage, read(t, r, true))
	})
	t.Run("a huge file", func(t *testing.T) {
		dir := good(t)
		f := newDB().use(maxFile + 8)
		f.write(t, dir+"/counter_2.db")
		if err := os.Truncate(dir+"/counter_2.db", 1<<31); err != nil { // sparse
			t.Skip("SKIPPED: no sparse files here: ", err)
		}
		r, page := New(dir, nil), exposition.Page{}
		if err := r.Read(&page, true); err == nil || !strings.Contains(err.Error(), "more than the limit of 16 MiB") {
			t.Errorf("error %v", err)
		}
		if cap(r.buf) > maxFile {
			t.Errorf("buffer of %d bytes", cap(r.buf))
		}
	})
	t.Run("limits of all files together", func(t *testing.T) {
		var page exposition.Page
		for _, limit := range []limits{{files: 9, bytes: 150, series: 9}, {files: 9, bytes: 1 << 20, series: 2}, {files: 9, bytes: 1 << 20, series: 1}} {
			r := New(good(t), nil)
			r.limits = limit
			err := r.Read(&page, true)
			if !errors.Is(err, errTotalSize) && !errors.Is(err, errTooManySeries) {
				t.Errorf("%v: error %v", limit, err)
			}
			want := with(goodPage, `h_bucket{"le"="+Inf",}`, "", "h_count{}", "")
			if limit.series == 1 {
				want = with(want, "g{}", "")
			}
			wantPage(t, want, &page)
		}
	})
	t.Run("labels that change all the time", func(t *testing.T) {
		dir := t.TempDir()
		r := New(dir, nil)
		for i := range 30 {
			f := newDB()
			for j := range 1000 {
				f.entry("l", "l", fmt.Sprintf(`"n": "%d"`, i*1000+j), 1)
			}
			f.write(t, dir+"/gauge_all_1.db")
			if n := len(read(t, r, true).Samples); n != 1000 {
				t.Fatalf("%d samples", n)
			}
		}
		if len(r.series) > 10000 || len(r.labels) > 10000 {
			t.Errorf("%d series and %d label sets are kept", len(r.series), len(r.labels))
		}
	})
	t.Run("many problems", func(t *testing.T) {
		dir := t.TempDir()
		f := newDB()
		for i := range 1000 {
			f.entry(fmt.Sprint("bad", i), "x_bucket", `"le": ""`, 1)
		}
		f.write(t, dir+"/histogram_1.db")
		var page exposition.Page
		var partial *PartialError
		if err := New(dir, nil).Read(&page, true); !errors.As(err, &partial) || len(partial.Problems)+partial.More != 1000 || len(err.Error()) > 2000 {
			t.Errorf("error %v", err)
		}
	})
}

// Unusually written histograms are merged as the collector does.
func TestHistograms(t *testing.T) {
	dir := t.TempDir()
	newDB().entry("h", "h_count", "", 99).entry("h", "h_bucket", `"le": "2"`, 1).entry("h", "h_bucket", `"le": "+Inf"`, 4).
		entry("h", "h_bucket", `"le": "-0.0"`, 8).entry("k", "k_count", "", 6).write(t, dir+"/histogram_1.db")
	newDB().entry("h", "odd", `"le": "2.00"`, 16).entry("h", "h_bucket", `"le": "0"`, 32).entry("k", "k_count", "", 7).write(t, dir+"/histogram_2.db")
	number := func(v float64) string { return fmt.Sprintf("%v %x", v, v) }
	wantPage(t, map[string]string{
		`h_bucket{"le"="0.0",}`: number(40), `h_bucket{"le"="2.0",}`: number(57), `h_bucket{"le"="+Inf",}`: number(61),
		"h_count{}": number(61), "k_count{}": number(13),
	}, read(t, New(dir, nil), true))
}

// An invalid family is reported only by readings in which it is wanted.
func TestInvalidFamilyInPolls(t *testing.T) {
	dir := good(t)
	newDB().raw(`["bad", "bad", {"x": "\udc80"}, ""]`, 1, 1000).write(t, dir+"/gauge_mostrecent_2.db")
	r := New(dir, func(name string) Wanted {
		if name == "g" {
			return InPolls
		}
		return InFull
	})
	wantPage(t, map[string]string{"g{}": goodPage["g{}"]}, read(t, r, false))
	var page exposition.Page
	if err := r.Read(&page, true); err == nil {
		t.Error("a full reading does not report it")
	}
	wantPage(t, goodPage, &page)
}

// A file misread once does not count as replaced, because that would be permanent.
func TestMisread(t *testing.T) {
	dir := good(t)
	r := New(dir, nil)
	read(t, r, true)
	f := r.files["counter_1.db"]
	born, entries := f.countsSince, len(f.entries)
	if err := r.parse(f, newDB().entry("d", "d_total", "", 1).data, false); !errors.Is(err, errChanged) {
		t.Errorf("error %v", err)
	}
	if born == 0 || f.countsSince != born || len(f.entries) != entries || r.lostAt != 0 {
		t.Errorf("countsSince %d, %d entries, lostAt %d", f.countsSince, len(f.entries), r.lostAt)
	}
	wantPage(t, goodPage, read(t, r, true))
}

// A file may vanish between listing the directory and opening the file.
func TestVanished(t *testing.T) {
	dir := good(t)
	for name, cleared := range map[string]bool{"counter_2.db": true, "gauge_all_2.db": true, "gauge_liveall_2.db": false} {
		r := New(dir, nil)
		read(t, r, true)
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			t.Fatal(err)
		}
		r.readFile(fd, newFile(fd, name, unix.DT_REG, true), InFull)
		unix.Close(fd)
		if err := r.checkCleared(); errors.Is(err, ErrCleared) != cleared || len(r.problems) > 0 {
			t.Errorf("%s: %v, %v", name, err, r.problems)
		}
		read(t, r, true) // it had not counted anything
	}
}
