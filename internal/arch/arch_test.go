package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
)

const module = "github.com/vobs/vobs"

// The tables name a package by its path in the repository; "." is main, and "a/..." is a
// with everything below it. Some packages do not exist yet: their rules hold from the
// first day.

// layers lists all packages of the program from the ground up. A package may import
// packages of lower layers only.
var layers = [][]string{
	{"internal/threads"}, // which everything that may hang counts in
	{ // data types and helpers
		"schema", "probe/exposition", "internal/vllm", "sampler/internal/open",
		"internal/bounded", "internal/budget", "internal/curve", "internal/deliver", "internal/environ", "internal/load/dataset", "internal/load/sse", "internal/pyvalue", "internal/spelling", "internal/stats",
		"bench/internal/...",
	},
	{ // what vobs knows of vLLM; readers of one source; reading and printing events
		"internal/vllm/args", "internal/vllm/config", "internal/vllm/metrics", "internal/vllm/plugin",
		"sampler", "sampler/proc", "probe/multiproc",
		"internal/child", "internal/demo", "internal/events", "internal/ingest", "internal/quantity", "internal/render", "internal/seriesfile",
		"schema/internal/...",
	},
	{ // samplers, scraping, counters over a window
		"sampler/gpu", "sampler/host", "probe/dcgm", "probe/scrape", "probe/window",
		"internal/bracket", "internal/github", "internal/intent", "internal/privatedir", "internal/redact", "internal/slo", "internal/trace", "internal/wandb/run",
	},
	{"probe/aggregate", "internal/trace/chrome", "internal/trace/nsys", "internal/wandb/api", "internal/wandb/transactionlog"},
	{"probe", "internal/wandb/rundir", "observe/validity"},
	{ // analysis of events, destinations of events
		"internal/check", "internal/compare", "internal/diagnose", "internal/load/findmax", "internal/sink/...", "internal/wandb",
	},
	{ // a run, and the subcommands that read or start live engines
		"observe",
		"internal/ab", "internal/doctor", "internal/export", "internal/load", "internal/merge", "internal/report", "internal/tune", "internal/watch",
	},
	{"internal/source"}, // events of engines that no command was run for
	{"internal/cli", "bench/load", "bench/minimal", "bench/overhead", "bench/reader", "bench/trace", "packaging"},
	{"."},
}

// testOnly lists packages for tests. They may import anything; only tests may import them.
var testOnly = []string{"internal/arch", "internal/github/gfm", "internal/load/loadtest", "internal/testkit", "internal/wandb/wandbtest", "probe/internal/truth", "sampler/internal/proctest", "e2e/..."}

// only lists packages whose imports of ours are restricted to those in to.
var only = []struct{ from, to []string }{
	// The event stands alone.
	{[]string{"schema"}, nil},
	{[]string{"schema/internal/..."}, []string{"schema"}},
	// What is true of vLLM does not depend on what vobs does with it.
	{[]string{"internal/vllm"}, nil},
	{[]string{"internal/vllm/args", "internal/vllm/config", "internal/vllm/metrics"}, []string{"internal/pyvalue", "internal/vllm/..."}},
	{[]string{"internal/vllm/plugin"}, []string{"internal/pyvalue", "internal/vllm/...", "internal/environ"}}, // the command's
	// Readings of the machine and of the engine are independent of each other.
	{[]string{"sampler/..."}, []string{"sampler/...", "internal/bounded", "internal/budget", "internal/curve", "internal/threads", "schema"}},
	{[]string{"probe/..."}, []string{"probe/...", "internal/budget", "internal/curve", "internal/pyvalue", "internal/threads", "internal/vllm/...", "schema"}},
	{[]string{"probe/exposition"}, nil},
	{[]string{"probe/dcgm"}, []string{"probe/exposition"}},
	// The simulated engine knows nothing of what reads it.
	{[]string{"internal/demo"}, []string{"schema"}},
	{[]string{"probe/multiproc"}, []string{"probe/exposition", "internal/pyvalue", "internal/threads"}},
	// What is noted depends on the event, and on readings that the run passes on.
	{[]string{"observe/validity"}, []string{"schema"}},
	// Analysis needs events only: no engine, no machine.
	{[]string{"internal/events", "internal/ingest", "internal/quantity", "internal/render"}, []string{"schema"}},
	{[]string{"internal/github"}, []string{"internal/bounded", "internal/render", "schema"}},
	{[]string{"internal/slo"}, []string{"internal/quantity", "internal/spelling", "schema"}},
	{[]string{"internal/check"}, []string{"internal/events", "internal/quantity", "internal/render", "internal/slo", "internal/spelling", "internal/vllm/metrics", "schema"}},
	{[]string{"internal/compare", "internal/diagnose"}, []string{"internal/events", "internal/intent", "internal/quantity", "internal/render", "internal/slo", "internal/stats", "schema"}},
	// What is checked is read by the code of a run.
	{[]string{"internal/doctor"}, []string{"internal/bounded", "internal/deliver", "internal/environ", "internal/render", "internal/vllm", "internal/vllm/args", "internal/vllm/config", "internal/wandb", "probe", "probe/scrape", "sampler/gpu", "sampler/host", "sampler/proc"}},
	{[]string{"internal/load"}, []string{"internal/load/dataset", "internal/load/findmax", "internal/load/sse", "internal/render", "internal/slo", "schema"}},
	{[]string{"internal/load/findmax"}, []string{"internal/render", "internal/stats", "schema"}},
	// Traces are analysed without knowing who wrote them.
	{[]string{"internal/trace"}, []string{"internal/render"}},
	{[]string{"internal/trace/..."}, []string{"internal/render", "internal/trace"}},
	// The format of a stream does not depend on what it carries.
	{[]string{"internal/load/dataset", "internal/load/sse"}, nil},
	{[]string{"internal/intent"}, []string{"internal/pyvalue", "internal/vllm/args", "schema"}},
	{[]string{"internal/wandb/..."}, []string{"internal/wandb/...", "internal/events", "internal/pyvalue", "schema"}},
}

// pure lists packages whose output depends on their input only: they import none of the
// packages in without, and they do not read the clock.
var pure = []struct{ packages, without []string }{
	{[]string{"internal/check", "internal/compare", "internal/curve", "internal/ingest", "internal/load/findmax", "internal/quantity", "internal/render", "internal/slo", "internal/spelling", "internal/stats", "internal/trace/...", "observe/validity", "probe/aggregate", "probe/dcgm", "probe/window"}, []string{"math/rand/...", "net/...", "os/..."}},
	{[]string{"internal/check", "internal/curve", "internal/ingest", "internal/load/findmax", "internal/stats", "observe/validity", "probe/aggregate", "probe/dcgm", "probe/window"}, []string{"syscall", "golang.org/x/sys/..."}}, // render knows terminals
	{[]string{"internal/curve", "observe/validity", "probe/aggregate", "probe/dcgm", "probe/window"}, []string{"sync/..."}},
}

// clock lists what in package time reads the clock or waits.
var clock = []string{"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until"}

// A goPackage is a package of ours: its source files without the tests, but with those for
// other operating systems.
type goPackage struct {
	ImportPath, Dir                   string
	GoFiles, CgoFiles, IgnoredGoFiles []string

	name    string            // path in the repository
	imports map[string]string // import path -> the first file that imports it
	clock   []string          // uses of the clock
}

func TestImports(t *testing.T) {
	packages := ours(t)
	arrows := 0
	for _, p := range packages {
		from := layerOf(p.name)
		if from < 0 && !matches(testOnly, p.name) {
			t.Errorf("%s is in no layer: add it to the table in internal/arch/arch_test.go", p.name)
		}
		for path, file := range p.imports {
			to, own := ourName(path)
			if !own || matches(testOnly, p.name) {
				continue
			}
			arrows++
			switch {
			case matches(testOnly, to):
				t.Errorf("%s imports %s, which is for tests only", file, to)
			case from >= 0 && layerOf(to) >= from:
				t.Errorf("%s (layer %d) imports %s (layer %d): imports must point down", file, from, to, layerOf(to))
			}
			for _, rule := range only {
				if matches(rule.from, p.name) && !matches(rule.to, to) {
					t.Errorf("%s imports %s: of our packages %s may import only %q", file, to, p.name, rule.to)
				}
			}
		}
	}
	t.Logf("%d packages, %d imports between them", len(packages), arrows)
	if len(packages) < 20 || arrows < 40 {
		t.Error("some packages are missing")
	}
}

func TestPurePackages(t *testing.T) {
	for _, p := range ours(t) {
		for _, rule := range pure {
			if !matches(rule.packages, p.name) {
				continue
			}
			for path, file := range p.imports {
				if matches(rule.without, path) {
					t.Errorf("%s imports %s, though %s is pure", file, path, p.name)
				}
			}
			for _, place := range p.clock {
				t.Errorf("%s, though %s is pure", place, p.name)
			}
		}
	}
}

// The tables do not contradict each other.
func TestTables(t *testing.T) {
	seen := map[string]int{}
	for i, layer := range layers {
		for _, name := range layer {
			if at, twice := seen[name]; twice {
				t.Errorf("%s is in layers %d and %d", name, at, i)
			}
			seen[name] = i
			if matches(testOnly, name) {
				t.Errorf("%s is in layer %d and in testOnly", name, i)
			}
		}
	}
	for _, rule := range only {
		for _, from := range rule.from {
			for _, to := range rule.to {
				if strings.HasSuffix(from, "/...") || strings.HasSuffix(to, "/...") {
					continue
				}
				if low, high := layerOf(to), layerOf(from); low < 0 || low >= high {
					t.Errorf("%s (layer %d) may import %s (layer %d)", from, high, to, low)
				}
			}
		}
	}
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a/b/c", false}, {"a/...", "a", true}, {"a/...", "a/b/c", true}, {"a/...", "ab", false}, {".", ".", true},
	} {
		if got := matches([]string{c.pattern}, c.name); got != c.want {
			t.Errorf("pattern %s, name %s: %v", c.pattern, c.name, got)
		}
	}
}

// The scan for the clock follows a renamed import and ignores methods of other types.
func TestClockScan(t *testing.T) {
	for _, c := range []struct{ source, want string }{
		{`package p; import "time"; var t = time.Now()`, "Now"},
		{`package p; import clock "time"; var f = clock.Since`, "Since"},
		{`package p; import . "time"; var f = Now`, "."},
		{`package p; import "time"; var d = 2 * time.Second; func f(a, b time.Time) time.Duration { return a.Sub(b) }`, ""},
		{`package p; type s struct{}; func (s) Now() {}; func f(time s) { time.Now() }`, ""},
	} {
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, "p.go", c.source, 0)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(clockUses(file), " ")
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.source, got, c.want)
		}
	}
}

// ours returns all packages of the repository, from the go command.
func ours(t *testing.T) []*goPackage {
	t.Helper()
	watchSources(t)
	var out []*goPackage
	list := json.NewDecoder(bytes.NewReader(goTool(t, "list", "-tags", tags, "-json=ImportPath,Dir,GoFiles,CgoFiles,IgnoredGoFiles", "./...")))
	for {
		p := &goPackage{imports: map[string]string{}}
		if err := list.Decode(p); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		p.name, _ = ourName(p.ImportPath)
		for _, name := range slices.Concat(p.GoFiles, p.CgoFiles, p.IgnoredGoFiles) {
			if !strings.HasSuffix(name, "_test.go") {
				p.scan(t, name)
			}
		}
		out = append(out, p)
	}
}

// scan reads one file's imports and its uses of the clock.
func (p *goPackage) scan(t *testing.T, name string) {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	where := path.Join(p.name, name)
	for _, spec := range file.Imports {
		if imported := unquote(spec.Path); p.imports[imported] == "" {
			p.imports[imported] = where
		}
	}
	for _, use := range clockUses(file) {
		p.clock = append(p.clock, fmt.Sprintf("%s uses time.%s", where, use))
	}
}

// clockUses returns the names of package time that a file uses and that look at the
// clock; "." if the file imports all its names.
func clockUses(file *ast.File) (names []string) {
	local := ""
	for _, spec := range file.Imports {
		if unquote(spec.Path) == "time" {
			local = "time"
			if spec.Name != nil {
				local = spec.Name.Name
			}
		}
	}
	if local == "." {
		return []string{"."}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if selector, ok := n.(*ast.SelectorExpr); ok && local != "" {
			if x, ok := selector.X.(*ast.Ident); ok && x.Name == local && slices.Contains(clock, selector.Sel.Name) {
				names = append(names, selector.Sel.Name)
			}
		}
		return true
	})
	return names
}

func unquote(literal *ast.BasicLit) string {
	s, err := strconv.Unquote(literal.Value)
	if err != nil {
		panic(err) // the parser has accepted it
	}
	return s
}

// ourName returns the path in the repository of a package, and whether it is ours.
func ourName(importPath string) (string, bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

func layerOf(name string) int {
	return slices.IndexFunc(layers, func(layer []string) bool { return matches(layer, name) })
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		below, all := strings.CutSuffix(pattern, "/...")
		return name == below || all && strings.HasPrefix(name, below+"/")
	})
}

// tags are those of the Makefile.
const tags = "urfave_cli_no_docs"

// goTool runs the go command in the root of the repository and returns its stdout.
func goTool(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = testkit.Root(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}

// watchSources reads every directory with source code. The go command caches a test's
// result by the files that the test itself opened, and would miss what `go list` reads.
func watchSources(t *testing.T) {
	t.Helper()
	root := testkit.Root(t)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bin" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		if _, err := os.ReadFile(filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
}
