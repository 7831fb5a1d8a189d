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

// good writes a counter, a gauge and a histogram of process 1.
func good(tb testing.TB) (dir string) {
	tb.Helper()
	dir = tb.TempDir()
	newDB().entry("c", "c_total", "", 5).write(tb, dir+"/counter_1.db")
	newDB().raw(`["g", "g", {}, ""]`, 7, 1000).write(tb, dir+"/gauge_mostrecent_1.db")
	newDB().entry("h", "h_bucket", `"le": "+Inf"`, 3).write(tb, dir+"/histogram_1.db")
	return dir
}

// All that good's files have.
var goodPage = map[string]string{
	"c_total{}": "5 0x1.4p+02", "g{}": "7 0x1.cp+02",
	`h_bucket{"le"="+Inf",}`: "3 0x1.8p+01", "h_count{}": "3 0x1.8p+01",
}

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

func wantPage(tb testing.TB, want map[string]string, page *exposition.Page) {
	tb.Helper()
	if diff := cmp.Diff(want, flat(tb, page)); diff != "" {
		tb.Errorf("(-want +got):\n%s", diff)
	}
}

// A file that cannot be understood costs its kind, not the rest, and is named; one that is
// merely new costs nothing. When it is well again so is the page.
func TestBadFiles(t *testing.T) {
	long := strings.Repeat("x", 5000)
	tests := []struct {
		name string
		file *dbFile
		says string // in the error; "" where there is none
	}{
		{"no byte", &dbFile{}, ""},
		{"only zeros", &dbFile{size: 1 << 16}, ""},
		{"no entry", newDB(), ""},
		{"three bytes", &dbFile{data: []byte("abc")}, "8 of its bytes are used, and has 3"},
		{"negative use", newDB().use(-5), "says that -5 of its bytes"},
		{"use within the head", newDB().use(4), "says that 4 of its bytes"},
		{"use beyond the file", newDB().entry("c", "c_total", "", 1).use(1 << 30), "1073741824 of its bytes are used, and has 65536"},
		{"use beyond what is written", newDB().entry("c", "c_total", "", 1).use(200), "its key is 0 bytes long"},
		{"use within an entry", newDB().entry("c", "c_total", "", 1).use(30), "its key is"},
		{"use within a value", newDB().entry("c", "c_total", "", 1).use(48), "has no end"},
		{"use within a length", newDB().entry("c", "c_total", "", 1).raw(`["c", "c_total", {"a": "b"}, ""]`, 1, 0).use(59), "has no end"},
		{"negative length", newDB().entry("c", "c_total", "", 1).length(-1), "its key is -1 bytes long"},
		{"length beyond all", newDB().entry("c", "c_total", "", 1).length(1<<31 - 1), "its key is 2147483647 bytes long"},
		{"length too short", newDB().entry("c", "c_total", "", 1).length(20), "the key at byte 8"},
		{"a file without timestamps", oldDB(), "its key is"},
		{"SQLite", &dbFile{data: []byte("SQLite format 3\x00"), size: 8192}, "of its bytes are used"},
		{"HTML", &dbFile{data: []byte("<html><body>"), size: 8192}, "of its bytes are used"},
		{"no JSON", newDB().raw(`no JSON`, 1, 0), "there is no ["},
		{"an object", newDB().raw(`{"c": 1}`, 1, 0), "there is no ["},
		{"too short a list", newDB().raw(`["c", "c_total", {}]`, 1, 0), "there is no ,"},
		{"too long a list", newDB().raw(`["c", "c_total", {}, "", 1]`, 1, 0), "there is no ]"},
		{"something behind", newDB().raw(`["c", "c_total", {}, ""] x`, 1, 0), "something follows"},
		{"deep JSON", newDB().raw(strings.Repeat("[", 60000), 1, 0), "there is no string"},
		{"deep labels", newDB().raw(`["c", "c_total", `+strings.Repeat(`{"a":`, 9000), 1, 0), "there is no string"},
		{"labels of numbers", newDB().raw(`["c", "c_total", {"a": 1}, ""]`, 1, 0), "there is no string"},
		{"labels of null", newDB().raw(`["c", "c_total", null, ""]`, 1, 0), "there is no {"},
		{"a label twice", newDB().raw(`["c", "c_total", {"a": "1", "a": "2"}, ""]`, 1, 0), "label a stands twice"},
		{"no name", newDB().raw(`["", "c_total", {}, ""]`, 1, 0), "a name is empty"},
		{"no help", newDB().raw(`["c", "c_total", {}, null]`, 1, 0), "there is no string"},
		{"no UTF-8", newDB().raw("[\"c\xff\", \"c_total\", {}, \"\"]", 1, 0), "not UTF-8"},
		{"a control character", newDB().raw("[\"c\n\", \"c_total\", {}, \"\"]", 1, 0), "control character"},
		{"an unknown escape", newDB().raw(`["c\x", "c_total", {}, ""]`, 1, 0), "unknown escape"},
		{"no end of a string", newDB().raw(`["c`, 1, 0), "has no end"},
		{"an escape at the end", newDB().raw(`["c\`, 1, 0), "has no end"},
		{"a long key", newDB().raw(`["`+long+`", "`+long+`_total", {}, ""`, 1, 0), "there is no ]"},
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
				if test.says == "" {
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
				if text := err.Error(); !strings.Contains(text, test.says) || !strings.Contains(text, "all counters are left out") || len(text) > 400 {
					t.Errorf("error %q", text)
				}
				wantPage(t, with(goodPage, "c_total{}", ""), &page)
				if _, there := page.Types["c_total"]; there {
					t.Error("the family that is left out is declared")
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

// oldDB is a file as prometheus_client wrote it before 0.18: values have no time.
func oldDB() *dbFile {
	f := newDB()
	for _, name := range []string{"a", "b", "c"} {
		f.raw(fmt.Sprintf(`["%s", "%s_total", {}, ""]`, name, name), 1, 0)
		f.data = f.data[:len(f.data)-8]
		f.use(len(f.data))
	}
	return f
}

// Other people's files are left alone, named, and never waited for.
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
	names := strings.Join(r.Foreign(), " ")
	if len(r.Foreign()) != maxForeign || strings.Contains(names, "hidden") || strings.Contains(names, "notes") {
		t.Errorf("foreign: %s", names)
	}
	for _, name := range []string{"cache.db", "counter.db", "gauge_3.db", "info_3.db", "_.db"} {
		must(os.Remove(filepath.Join(dir, name)))
	}
	for i := range 20 {
		must(os.Remove(fmt.Sprintf("%s/x%d.db", dir, i)))
	}
	read(t, r, true)
	want := []string{"counter_4.db", "counter_5.db", "counter_6.db", "counter_7.db", "gauge_median_3.db"}
	read(t, r, true)
	if diff := cmp.Diff(want, r.Foreign()); diff != "" {
		t.Errorf("foreign (-want +got):\n%s", diff)
	}

	// A link to a file is that file; what a known name becomes may block nobody either.
	must(os.Symlink("counter_1.db", dir+"/counter_8.db"))
	wantPage(t, with(goodPage, "c_total{}", "10 0x1.4p+03"), read(t, r, true))
	must(os.Remove(dir + "/counter_8.db"))
	must(unix.Mkfifo(dir+"/counter_8.db", 0o600))
	var page exposition.Page
	if err := r.Read(&page, true); !errors.Is(err, errNotRegular) {
		t.Errorf("a FIFO: %v", err)
	}
}

// A family of two kinds, or whose labels no page can have, is left out alone.
func TestBadFamilies(t *testing.T) {
	t.Run("two kinds", func(t *testing.T) {
		dir := good(t)
		newDB().entry("g", "g", "", 1).entry("other", "other", "", 1).write(t, dir+"/gauge_all_1.db")
		var page exposition.Page
		r := New(dir, nil)
		for _, full := range []bool{true, false} {
			err := r.Read(&page, full)
			if err == nil || !strings.Contains(err.Error(), `"g": it stands among the gauges of mode`) || strings.Count(err.Error(), "it stands") != 1 {
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
			// Nobody asked for it: nothing is missing.
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

// While a directory is cleared no sum is told of what is left of it.
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
	t.Run("one of two begun anew", func(t *testing.T) {
		dir, r := two(t)
		newDB().entry("c", "c_total", "", 1).write(t, dir+"/counter_2.db")
		isCleared(t, r, false)
		newDB().entry("c", "c_total", "", 9).write(t, dir+"/counter_2.db")
		isCleared(t, r, true)
	})
	t.Run("both begun anew with other keys", func(t *testing.T) {
		dir, r := two(t)
		for i := 1; i <= 2; i++ {
			newDB().entry("d", "d_total", "", 50).write(t, fmt.Sprintf("%s/counter_%d.db", dir, i))
		}
		newDB().write(t, dir+"/histogram_1.db")
		if got := flat(t, read(t, r, true)); got["d_total{}"] != "100 0x1.9p+06" || got["c_total{}"] != "" {
			t.Errorf("%v", got)
		}
	})
	t.Run("one alone begun anew", func(t *testing.T) {
		dir := t.TempDir()
		newDB().entry("c", "c_total", "", 20).write(t, dir+"/counter_1.db")
		r := New(dir, nil)
		read(t, r, true)
		newDB().entry("c", "c_total", "", 1).write(t, dir+"/counter_1.db")
		wantPage(t, map[string]string{"c_total{}": "1 0x1p+00"}, read(t, r, true))
	})
	t.Run("what may fall", func(t *testing.T) {
		dir, r := two(t)
		newDB().entry("h", "h_sum", "", 3).write(t, dir+"/histogram_2.db")
		read(t, r, true)
		newDB().entry("h", "h_sum", "", 2).write(t, dir+"/histogram_2.db")
		newDB().raw(`["g", "g", {}, ""]`, 0, 1001).write(t, dir+"/gauge_mostrecent_1.db")
		read(t, r, true)
	})
}

// Files and their directory may come late, grow, and be cut while they are read.
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
	for i := range 2000 { // 120 KB: beyond every size that is read at once
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
			t.Errorf("cut at %d: %d samples, error %v", n, len(page.Samples), err)
		}
	}
}

// What is taken in is bounded.
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
		if err := r.Read(&page, true); err == nil || !strings.Contains(err.Error(), "more than the 16 MiB that are read") {
			t.Errorf("error %v", err)
		}
		if cap(r.buf) > maxFile {
			t.Errorf("room for %d bytes", cap(r.buf))
		}
	})
	t.Run("more than all may have", func(t *testing.T) {
		var page exposition.Page
		for _, limit := range []limits{{files: 9, bytes: 150, series: 9}, {files: 9, bytes: 1 << 20, series: 2}, {files: 9, bytes: 1 << 20, series: 1}} {
			r := New(good(t), nil)
			r.limits = limit
			err := r.Read(&page, true)
			if !errors.Is(err, errAll) && !errors.Is(err, errTooMany) {
				t.Errorf("%v: error %v", limit, err)
			}
			want := with(goodPage, `h_bucket{"le"="+Inf",}`, "", "h_count{}", "")
			if limit.series == 1 {
				want = with(want, "g{}", "")
			}
			wantPage(t, want, &page)
		}
	})
	t.Run("ever new labels", func(t *testing.T) {
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
			t.Errorf("%d series and %d label sets are remembered", len(r.series), len(r.labels))
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

// Histograms that are written in odd ways are put together as the collector does.
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

// What is wrong with a family is told where the family is asked for.
func TestBadFamilyInPolls(t *testing.T) {
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
		t.Error("a full reading tells nothing of it")
	}
	wantPage(t, goodPage, &page)
}

// One misread file is not taken for another file: it would be for ever.
func TestMisread(t *testing.T) {
	dir := good(t)
	r := New(dir, nil)
	read(t, r, true)
	f := r.files["counter_1.db"]
	born, entries := f.bornAt, len(f.entries)
	if err := r.parse(f, newDB().entry("d", "d_total", "", 1).data, false); !errors.Is(err, errChanged) {
		t.Errorf("error %v", err)
	}
	if born == 0 || f.bornAt != born || len(f.entries) != entries || r.brokenAt != 0 {
		t.Errorf("bornAt %d, %d entries, brokenAt %d", f.bornAt, len(f.entries), r.brokenAt)
	}
	wantPage(t, goodPage, read(t, r, true))
}

// A file may go between the look at the directory and its own.
func TestVanished(t *testing.T) {
	dir := good(t)
	for name, cleared := range map[string]bool{"counter_2.db": true, "gauge_all_2.db": true, "gauge_liveall_2.db": false} {
		r := New(dir, nil)
		read(t, r, true)
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			t.Fatal(err)
		}
		r.readFile(fd, newFile(fd, name, unix.DT_REG), InFull)
		unix.Close(fd)
		if err := r.cleared(); errors.Is(err, ErrCleared) != cleared || len(r.problems) > 0 {
			t.Errorf("%s: %v, %v", name, err, r.problems)
		}
		read(t, r, true) // it had counted nothing that is known
	}
}
