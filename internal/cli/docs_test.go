package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
)

// root leads from this package to the repository's documents.
const root = "../.."

// documents lists the Markdown files of the repository, as paths below root.
func documents(t *testing.T) []string {
	t.Helper()
	files := []string{"README.md", "CONTRIBUTING.md", "CHANGELOG.md"}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".md") {
			path, err = filepath.Rel(root, path)
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestDocumentExamples runs the examples in the documents and compares what they print.
//
// An example is a block that is fenced as ```console and begins with `$ vobs` or `$ make
// demo`. Its lines that begin with `$ ` are run by sh, one after the other, in an empty
// directory of the block's own in which testdata is the repository's; $? is the status
// of the one before. NVML is not found there, and no variable of vobs or W&B is set.
//
// The lines in between are what the command prints on stdout and stderr together. In
// them … stands for any text within a line; a line of … alone for any lines. What make
// demo prints depends on the machine's speed too: see demoLines.
//
// go test -update writes the output of a command that printed something else; put the …
// back where they belong.
func TestDocumentExamples(t *testing.T) {
	t.Parallel()
	for _, file := range documents(t) {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(root, file)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			doc := readDocument(string(text))
			changed := false
			for _, b := range doc.blocks {
				t.Run(fmt.Sprintf("line %d", b.line), func(t *testing.T) {
					changed = b.check(t) || changed
				})
			}
			if changed && testkit.Update() {
				if err := os.WriteFile(path, []byte(doc.text()), 0o666); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// document is a document cut at its examples.
type document struct {
	before []string // the text before each block; the last is the rest
	blocks []*block
}

// block is one fenced block of examples.
type block struct {
	line     int // of its fence in the file, from 1
	examples []*example
}

// example is a command and what it prints.
type example struct {
	command string // several lines where it goes on behind a \
	output  string
}

func readDocument(text string) document {
	var doc document
	var b *block
	var before strings.Builder
	number := 0
	for line := range strings.Lines(text) {
		number++
		switch command, isCommand := strings.CutPrefix(line, "$ "); {
		case b == nil && strings.TrimRight(line, "\n") == "```console":
			b = &block{line: number}
			fallthrough
		case b == nil:
			before.WriteString(line)
		case strings.HasPrefix(line, "```"):
			doc.before = append(doc.before, before.String())
			doc.blocks = append(doc.blocks, b)
			b = nil
			before.Reset()
			before.WriteString(line)
		case isCommand:
			b.examples = append(b.examples, &example{command: command})
		case len(b.examples) == 0: // a block without a command
			before.WriteString(line)
		default:
			last := b.examples[len(b.examples)-1]
			if last.output == "" && strings.HasSuffix(last.command, "\\\n") {
				last.command += line
			} else {
				last.output += line
			}
		}
	}
	doc.before = append(doc.before, before.String())
	return doc
}

func (d document) text() string {
	var out strings.Builder
	for i, before := range d.before {
		out.WriteString(before)
		if i == len(d.blocks) {
			break
		}
		for _, e := range d.blocks[i].examples {
			out.WriteString("$ " + e.command + e.output)
		}
	}
	return out.String()
}

func (b *block) isDemo() bool {
	return len(b.examples) > 0 && strings.HasPrefix(b.examples[0].command, "make demo")
}

// check runs the block's commands, and puts what they print in the place of output that
// differs: it reports whether any did.
func (b *block) check(t *testing.T) (changed bool) {
	if !b.isDemo() && (len(b.examples) == 0 || !strings.HasPrefix(b.examples[0].command, "vobs ")) {
		return false
	}
	dir := t.TempDir()
	testdata, err := filepath.Abs(filepath.Join(root, "testdata"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(testdata, filepath.Join(dir, "testdata")); err != nil {
		t.Fatal(err)
	}
	status := 0
	for _, e := range b.examples {
		command := e.command
		if b.isDemo() {
			command = strings.Replace(command, "make demo", demoScript(t), 1)
		}
		got, ended := runExample(t, dir, fmt.Sprintf("(exit %d); %s", status, command))
		status = ended
		if matches(e.output, got, b.isDemo()) {
			continue
		}
		if !testkit.Update() {
			t.Errorf("$ %s--- prints\n%s--- and the document says\n%s", e.command, got, e.output)
		}
		e.output, changed = got, true
	}
	return changed
}

// runExample runs a command in a shell and returns what it printed and its $?.
func runExample(t *testing.T, dir, command string) (output string, status int) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Dir = dir
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); !strings.HasPrefix(name, "VOBS_") && !strings.HasPrefix(name, "WANDB_") {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	cmd.Env = append(cmd.Env, "HOME="+dir, "PWD="+dir, "LD_LIBRARY_PATH="+brokenNVML(t))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		ws := exit.Sys().(syscall.WaitStatus)
		if status = ws.ExitStatus(); ws.Signaled() {
			status = 128 + int(ws.Signal())
		}
	case err != nil:
		t.Fatalf("sh -c %q: %v\n%s", command, err, out.String())
	}
	return out.String(), status
}

// matches reports whether a command printed what a document says.
func matches(want, got string, demo bool) bool {
	if demo {
		want, got = demoLines(want, got)
	}
	var pattern strings.Builder
	for line := range strings.Lines(want) {
		pattern.WriteString(linePattern(line))
	}
	return regexp.MustCompile("^" + pattern.String() + "$").MatchString(got)
}

// linePattern is a regular expression for a line of a document.
func linePattern(line string) string {
	if line == "…\n" {
		return `(?:.*\n)*?`
	}
	return strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*")
}

var (
	quantity  = regexp.MustCompile(`[0-9]+(\.[0-9]+)?( ([GMK]iB|ms|s)\b)?`)
	curve     = regexp.MustCompile(`^ {15}[▁▂▃▄▅▆▇█ ]*[▁▂▃▄▅▆▇█] +`)
	doubtLine = regexp.MustCompile(`^  (info|warning|error|missing) `)
)

// demoLines leaves of the demo's output what does not depend on the machine's speed: of
// each line what stands before its first comma, with every number and its unit as N, and of a
// curve that there is one. A slow machine may also give rise to more doubts than the document
// shows.
func demoLines(want, got string) (string, string) {
	cut := func(line string) string {
		line, _, _ = strings.Cut(strings.TrimSuffix(line, "\n"), ",")
		line = curve.ReplaceAllString(line, "               ▁…█ ")
		return quantity.ReplaceAllString(line, "N") + "\n"
	}
	var wanted, printed, doubts strings.Builder
	for line := range strings.Lines(want) {
		line = cut(line)
		wanted.WriteString(line)
		if doubtLine.MatchString(line) {
			doubts.WriteString("|" + linePattern(line))
		}
	}
	shown := regexp.MustCompile("^(?:" + strings.TrimPrefix(doubts.String(), "|") + ")$")
	for line := range strings.Lines(got) {
		if line = cut(line); !doubtLine.MatchString(line) || shown.MatchString(line) {
			printed.WriteString(line)
		}
	}
	return wanted.String(), printed.String()
}

// demoScript returns a copy of what `make demo` runs, in a tree in which bin/vobs is this
// test's and the fake NVML library is built.
func demoScript(t *testing.T) string {
	t.Helper()
	library := fakeNVML(t)
	vobs, err := exec.LookPath("vobs")
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("../demo/demo.sh")
	if err != nil {
		t.Fatal(err)
	}
	tree := t.TempDir()
	for _, dir := range []string{"bin", "internal/demo", "testdata/fakenvml"} {
		if err := os.MkdirAll(filepath.Join(tree, dir), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"bin/vobs": vobs, "testdata/fakenvml/build": library} {
		if err := os.Symlink(to, filepath.Join(tree, link)); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(tree, "internal/demo/demo.sh")
	if err := os.WriteFile(path, script, 0o777); err != nil {
		t.Fatal(err)
	}
	return path
}

// The README is a page to read, not a reference.
func TestReadmeIsShort(t *testing.T) {
	const most = 12_000
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > most {
		t.Errorf("README.md has %d bytes, at most %d are wanted: move the rest into docs/", len(text), most)
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)#\s]*)(#[^)\s]*)?\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	inCode  = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
)

// Links between the documents lead to files and headings that exist.
func TestDocumentLinks(t *testing.T) {
	headings := func(path string) map[string]bool {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		out := map[string]bool{}
		for _, m := range heading.FindAllStringSubmatch(string(text), -1) {
			out["#"+anchor(m[1])] = true
		}
		return out
	}
	for _, file := range documents(t) {
		path := filepath.Join(root, file)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(inCode.ReplaceAllString(string(text), ""), -1) {
			target, fragment := m[1], m[2]
			if strings.Contains(target, "://") {
				continue
			}
			to := path
			if target != "" {
				to = filepath.Join(filepath.Dir(path), target)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s, which does not exist", file, target)
			} else if fragment != "" && !headings(to)[fragment] {
				t.Errorf("%s links to %s%s: no such heading", file, target, fragment)
			}
		}
	}
}

// anchor is the fragment by which GitHub links to a heading.
func anchor(heading string) string {
	var out strings.Builder
	for _, c := range strings.ToLower(heading) {
		switch {
		case c == ' ' || c == '-':
			out.WriteByte('-')
		case c == '_' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
			out.WriteRune(c)
		}
	}
	return out.String()
}

// The tests that documents name exist.
func TestDocumentTests(t *testing.T) {
	exists := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, match := range declared.FindAllStringSubmatch(string(text), -1) {
			exists[match[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(Test\\w+)`")
	for _, file := range documents(t) {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range named.FindAllStringSubmatch(string(text), -1) {
			if !exists[match[1]] {
				t.Errorf("%s: there is no test %s", file, match[1])
			}
		}
	}
}
