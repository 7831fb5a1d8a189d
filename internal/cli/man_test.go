package cli

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// The page has every subcommand, every flag and every variable, in ASCII alone.
func TestManPage(t *testing.T) {
	app := newApp(io.Discard, io.Discard)
	page := manPage(app, "2026-11-30")
	if i := strings.IndexFunc(page, func(r rune) bool { return r > unicode.MaxASCII }); i >= 0 {
		t.Errorf("not ASCII: %q", page[i:i+20])
	}
	if !strings.HasPrefix(page, `.TH VOBS 1 "2026-11-30" "vobs `) {
		t.Errorf("head: %.60s", page)
	}
	for _, c := range visible(app) {
		_, part, found := strings.Cut(page, `.SS "vobs `+c.Name+`"`)
		part, _, _ = strings.Cut(part, "\n.S")
		if !found {
			t.Errorf("no part about vobs %s", c.Name)
		}
		for _, f := range c.Flags {
			d := documented(f)
			for _, name := range d.Names {
				if !strings.Contains(part, `\fB`+roff(name)+`\fR`) {
					t.Errorf("vobs %s: no %s", c.Name, name)
				}
			}
			for _, name := range d.Variables {
				if !strings.Contains(page, "\n"+`\fB`+name+`\fR`+"\n") {
					t.Errorf("no variable %s", name)
				}
			}
		}
	}
	for _, hidden := range []string{"demo-engine", `\-\-help`} {
		if strings.Contains(page, hidden) {
			t.Errorf("the page has %s", hidden)
		}
	}
	filled := true
	for line := range strings.Lines(page) {
		if line == ".nf\n" || line == ".fi\n" {
			filled = line == ".fi\n"
		}
		if filled && len(line) > 81 {
			t.Errorf("long line: %s", line)
		}
	}
}

func TestRoff(t *testing.T) {
	for text, want := range map[string]string{
		"a-b": `a\-b`, `\n`: `\en`, ".x": `\&.x`, "'x'": `\&\(aqx\(aq`, "…": `\[u2026]`, "~/x": `\(ti/x`, "plain": "plain",
	} {
		if got := roff(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	m := &man{}
	m.prose(strings.Repeat("word ", 15) + "abc .dots follow")
	for line := range strings.Lines(m.b.String()) {
		if strings.HasPrefix(line, ".") {
			t.Errorf("a word became a request: %q", m.b.String())
		}
	}
}

// Formatters accept the page, as far as they are installed.
func TestManPageIsRoff(t *testing.T) {
	page := filepath.Join(t.TempDir(), "vobs.1")
	if err := os.WriteFile(page, []byte(manPage(newApp(io.Discard, io.Discard), "2026-11-30")), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"groff", "-ww", "-man", "-Tascii", page}, {"mandoc", "-Tlint", "-Wwarning", page}} {
		t.Run(args[0], func(t *testing.T) {
			if _, err := exec.LookPath(args[0]); err != nil {
				t.Skipf("SKIPPED: %s is not installed: apt-get install groff-base mandoc; make e2e-shells fetches mandoc", args[0])
			}
			var text, warnings bytes.Buffer
			cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
			cmd.Stdout, cmd.Stderr = &text, &warnings
			if args[0] == "mandoc" {
				cmd.Stderr = cmd.Stdout // -Tlint writes there
			}
			err := cmd.Run()
			if warnings.Len() > 0 || err != nil {
				t.Errorf("%v: %s%.2000s", err, warnings.Bytes(), text.Bytes())
			}
			if args[0] == "groff" {
				plain := regexp.MustCompile(`\x1b\[[0-9;]*m|.\x08`).ReplaceAllString(text.String(), "")
				if !strings.Contains(plain, "--metrics-url URL") {
					t.Errorf("the page has no --metrics-url: %.2000s", plain)
				}
			}
		})
	}
}
