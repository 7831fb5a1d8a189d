package github

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func environment(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestDetect(t *testing.T) {
	job := []string{"GITHUB_ACTIONS", "true", "GITHUB_STEP_SUMMARY", "/summary"}
	for _, c := range []struct {
		mode Mode
		env  []string
		want bool
	}{
		{Auto, job, true}, {Auto, nil, false}, {Auto, job[:2], false}, {Auto, job[2:], false},
		{Auto, []string{"GITHUB_ACTIONS", "false", "GITHUB_STEP_SUMMARY", "/summary"}, false},
		{On, job, true}, {On, nil, true}, {Off, job, false},
	} {
		if got := Detect(c.mode, environment(c.env...), io.Discard); (got != nil) != c.want {
			t.Errorf("%s in %q: %v, want %v", c.mode, c.env, got, c.want)
		}
	}
}

// stepAt returns a step that writes to a file, and what it annotates.
func stepAt(file string) (*Step, *strings.Builder) {
	var stderr strings.Builder
	return Detect(On, environment("GITHUB_STEP_SUMMARY", file), &stderr), &stderr
}

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSummarize(t *testing.T) {
	file := filepath.Join(t.TempDir(), "summary")
	s, _ := stepAt(file)
	for _, heading := range []string{"one", "two:\n_2_ <b>"} {
		if err := s.Summarize(heading, text("text\n")); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := read(t, file), "### one\n\ntext\n\n### two: \\_2\\_ \\<b>\n\ntext\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Nothing but a regular file is opened for long, and no error is more than an error.
func TestSummarizeCannotWrite(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	read := filepath.Join(dir, "read")
	for _, name := range []string{fifo, read} {
		if err := syscall.Mkfifo(name, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	reader, err := os.OpenFile(read, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for file, want := range map[string]string{
		fifo:                             "is not a regular file",
		read:                             "is not a regular file",
		"/dev/null":                      "is not a regular file",
		dir:                              "is a directory",
		filepath.Join(dir, "no", "file"): "no such file or directory",
		"":                               "GITHUB_STEP_SUMMARY is not set",
	} {
		s, _ := stepAt(file)
		if err := s.Summarize("heading", text("text\n")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
	s, _ := stepAt(filepath.Join(dir, "file"))
	broken := errors.New("broken")
	if err := s.Summarize("heading", func(io.Writer) error { return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// GitHub drops the summary of a step that is larger than 1 MiB, and a step may write several.
func TestSummarizeTooLong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "summary")
	s, _ := stepAt(file)
	long := strings.Repeat(strings.Repeat("x", 99)+"\n", 10_000)
	if err := s.Summarize("heading", text(long)); err != nil {
		t.Fatal(err)
	}
	got := read(t, file)
	if len(got) > maxText || len(got) < maxText-200 || !strings.HasSuffix(got, "x\n"+leftOut) {
		t.Errorf("%d bytes, the last of which are %q", len(got), got[max(0, len(got)-200):])
	}
	var err error
	for n := 0; err == nil && n < 20; n++ {
		err = s.Summarize("heading", text(long))
	}
	if size := len(read(t, file)); err == nil || !strings.Contains(err.Error(), "has no room") || size > maxSummary || size < maxSummary-200 {
		t.Errorf("%d bytes: %v", size, err)
	}
}

// A code block that is cut is closed.
func TestShorten(t *testing.T) {
	block := "one\n\n```\n" + strings.Repeat("code\n", 100)
	got := shorten(block+"```\n", 200)
	if !strings.HasSuffix(got, "code\n"+fence+leftOut) || len(got) > 200 || len(got) < 190 {
		t.Errorf("%d bytes: %q", len(got), got)
	}
	for _, size := range []int{-1, 0, len(leftOut), len(leftOut) + len(fence) + 2} {
		if got := shorten(block, size); got != "" {
			t.Errorf("%d bytes: %q", size, got)
		}
	}
}

func TestAnnotate(t *testing.T) {
	s, stderr := stepAt("")
	s.Annotate(Annotation{Warning, "50%, a: b", "100 %\r\nnext: a, b"}, Annotation{Error, "empty", ""})
	if got, want := stderr.String(), "::warning title=50%25%2C a%3A b::100 %25%0D%0Anext: a, b\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if s.HasError() {
		t.Error("there is a warning only")
	}
	stderr.Reset()
	for i := range 3 * maxAnnotations {
		s.Annotate(Annotation{Error, "t", fmt.Sprint(i)})
	}
	if got := strings.Count(stderr.String(), "::error "); got != maxAnnotations || !s.HasError() {
		t.Errorf("%d annotations, want %d", got, maxAnnotations)
	}
	s, stderr = stepAt("")
	s.Annotate(Annotation{Error, "t", strings.Repeat("ä", 3000)})
	if got := stderr.String(); !strings.HasSuffix(got, "ä…\n") || len(got) > 4096 {
		t.Errorf("%d bytes", len(got))
	}
}

// A nil Step does nothing.
func TestNoStep(t *testing.T) {
	var s *Step
	s.Annotate(Annotation{Error, "t", "m"})
	if err := errors.Join(s.Summarize("x", nil), s.ReportRun(nil, true)); err != nil || s.HasError() {
		t.Error(err)
	}
}
