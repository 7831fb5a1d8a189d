package events

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/schema"
)

const exampleFile = "../../testdata/events/example.json"

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// compare checks that a file in parts has the events and problems of the whole file.
func compare(t testing.TB, data []byte, chunk int) {
	t.Helper()
	events, want, err := schema.ValidateStream(bytes.NewReader(data), schema.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []schema.Problem
	v := schema.StreamValidator{}
	c := newChecker(bytes.NewReader(data), &v)
	c.chunk = chunk
	for {
		_, problems, err := c.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, problems...)
	}
	got = append(got, v.End()...)
	// Problems on one line may come in another order.
	order := func(a, b schema.Problem) int { return cmp.Or(a.Line-b.Line, strings.Compare(a.Message, b.Message)) }
	slices.SortStableFunc(want, order)
	slices.SortStableFunc(got, order)
	if diff := gocmp.Diff(want, got); diff != "" || v.Events() != events {
		t.Fatalf("%d bytes at a time: %d events, want %d (-whole +parts)\n%s\n%.2000q", chunk, v.Events(), events, diff, data)
	}
}

// files are files with every kind of fault that a part must not hide or repeat.
func files(t testing.TB) map[string]string {
	document := string(readFile(t, exampleFile))
	line := strings.ReplaceAll(document, "\n", "")
	core := `{"peak_vram_gb": 1.5}`
	return map[string]string{
		"empty":                       "",
		"white space":                 " \n\t\r\n",
		"one document":                document,
		"documents":                   document + "\n\n" + document,
		"lines":                       line + "\n" + line + "\n" + core + "\n",
		"no newline at the end":       core + "\n" + core,
		"blank lines":                 "\n\n" + core + "\n\n \n" + core + " \r\n",
		"foreign log records":         `{"message":"x","ctx":{}}` + "\n" + `{"message":"y","ctx":{}}` + "\n",
		"a cut line":                  line[:2000] + "\n" + core + "\n",
		"a cut line at the end":       core + "\n" + line[:2000],
		"a cut key":                   `{"peak_vram_gb": 1.5, ` + "\n" + core + "\n" + core,
		"a cut value":                 `{"peak_vram_gb":` + "\n" + core + "\n" + core,
		"an open object":              `{"engine_runtime_config":{"a":1` + "\n" + core + "\n" + core,
		"an open array":               `{"loadavg_pre":[` + "\n" + strings.Repeat(core+",\n", 20) + core,
		"an array of lines":           "[\n" + strings.Repeat(core+",\n", 20) + core + "\n]\n" + core,
		"a key line at the margin":    "{\n\"engine_runtime_config\":\n{\"a\":\n{\"b\":1}}}\n" + core,
		"a broken margin":             "{\n\"engine_runtime_config\":\n{\"a\":\n{\"b\":1}}\n" + core + "\n" + core,
		"two on a line":               core + core + "\n" + core,
		"two on a line, broken":       core + `{"peak` + "\n" + core,
		"text behind":                 core + " x\n" + core,
		"a brace behind":              core + "}\n" + core,
		"scalars":                     "1 2\nnull\n\"x\"\n[1]\n" + core,
		"a scalar at the end":         core + "\n12",
		"words":                       `{"peak_vram_gb":NaN}` + "\n" + `{"peak_vram_gb":nullx}` + "\n" + "nullx\n" + core,
		"a string with a newline":     "{\"peak\n_vram_gb\":1}\n" + core,
		"duplicate keys":              core + "\n" + `{"peak_vram_gb":1,` + "\n" + `"peak_vram_gb":2}`,
		"not UTF-8":                   "{\"\xff\":1}\n" + core + "\n\xff\n" + core,
		"a byte order mark":           "\xef\xbb\xbf" + core + "\n" + core,
		"long rubbish":                "<html>" + strings.Repeat("rubbish\n", 100) + core + "\n" + core,
		"long rubbish on a line":      core + strings.Repeat(" rubbish", 100) + "\n" + core,
		"long rubbish and no more":    core + "\n" + strings.Repeat("rubbish\n", 100),
		"rubbish without braces":      "A" + strings.Repeat("0", beyondFault-2) + "\n00{",
		"a fault not in UTF-8":        "{\n{\"\xff\"",
		"rubbish with braces":         strings.Repeat("x {\n", 100) + core,
		"a long word":                 "{\"a\":" + strings.Repeat("N", 200) + "}\n" + core,
		"an open string":              core + "\n{\"" + strings.Repeat("x", 200),
		"nested too deeply":           strings.Repeat("[", 10001) + "\n" + core,
		"carriage returns":            core + "\r\n" + core + "\r" + core + "\n",
		"an open array and a newline": "[\n{",
	}
}

func TestPartsEqualTheWhole(t *testing.T) {
	for name, file := range files(t) {
		t.Run(name, func(t *testing.T) {
			for _, chunk := range []int{1, 7, 100, defaultChunk} {
				compare(t, []byte(file), chunk)
			}
		})
	}
}

func FuzzParts(f *testing.F) {
	for _, file := range files(f) {
		if len(file) < 2000 {
			f.Add([]byte(file), byte(3))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, chunk byte) {
		compare(t, data, int(chunk)+1)
	})
}

func TestReadErrors(t *testing.T) {
	broken := errors.New("broken")
	for _, text := range []string{"", " ", `{"peak_vram_gb":1}`, `{"peak_vram_gb":1}` + "\n", `{"peak`, "rubbish"} {
		r := io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken))
		if _, err := Validate(r, schema.Options{}, func(schema.Problem) {}); !errors.Is(err, broken) {
			t.Errorf("%q: %v", text, err)
		}
		var last error
		for _, err := range Read(io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken))) {
			last = err
		}
		if text != "rubbish" && !errors.Is(last, broken) {
			t.Errorf("Read %q: %v", text, last)
		}
	}
}

// repeated is a stream of a text, n times.
type repeated struct {
	text string
	n    int
	rest string
	each func()
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.rest == "" {
		if r.n == 0 {
			return 0, io.EOF
		}
		if r.n--; r.each != nil {
			r.each()
		}
		r.rest = r.text
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// A stream of 64 MiB is read in the memory of a few documents, whether it holds
// events, garbage, or nothing but white space.
func TestMemoryIsFlat(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: reads 64 MiB several times; run without -short")
	}
	const size, limit = 64 << 20, 8 << 20
	line := `{"peak_vram_gb":1.5,"engine_runtime_config":{"x":"` + strings.Repeat("x", 64<<10) + `"}}` + "\n"
	for name, text := range map[string]string{
		"events":      line,
		"broken":      line[:len(line)-3] + "\n",
		"rubbish":     strings.Repeat("rubbish ", 8<<10),
		"white space": strings.Repeat(" \n", 32<<10),
	} {
		var before, now runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		most, reads := uint64(0), 0
		r := &repeated{text: text, n: size / len(text), each: func() {
			if reads++; reads%100 == 0 {
				runtime.GC()
				runtime.ReadMemStats(&now)
				most = max(most, now.HeapAlloc-min(now.HeapAlloc, before.HeapAlloc))
			}
		}}
		events, err := Validate(io.MultiReader(strings.NewReader(line), r), schema.Options{}, func(schema.Problem) {})
		if err != nil || events == 0 {
			t.Errorf("%s: %d events, %v", name, events, err)
		}
		if most > limit || reads < size/len(text) {
			t.Errorf("%s: %.1f MiB in use at most, want at most %d, in %d reads", name, float64(most)/(1<<20), limit>>20, reads)
		}
		t.Log(name, events, fmt.Sprintf("%.1f MiB", float64(most)/(1<<20)))
	}
}
