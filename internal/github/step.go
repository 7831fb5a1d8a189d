package github

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/bounded"
)

// Mode is when results are reported to GitHub.
type Mode string

// The modes.
const (
	Auto Mode = "auto" // in a job of GitHub Actions
	On   Mode = "on"
	Off  Mode = "off"
)

// Modes are all modes, the default first.
func Modes() []Mode { return []Mode{Auto, On, Off} }

// ParseMode reads the name of a mode.
func ParseMode(name string) (Mode, error) {
	for _, m := range Modes() {
		if name == string(m) {
			return m, nil
		}
	}
	return "", fmt.Errorf("mode %q: use auto, on or off", name)
}

const (
	// maxSummary is the size above which GitHub drops the summary of a step, which several
	// programs may write.
	maxSummary = 1 << 20
	// maxText bounds the Markdown of one call.
	maxText = 128 << 10
	// writeTimeout is how long opening and writing the file may take.
	writeTimeout = 2 * time.Second
)

// Step is the step of a job that vobs runs in. A nil Step takes nothing. Its methods must not be
// called from several goroutines at a time.
type Step struct {
	file   string // GITHUB_STEP_SUMMARY; "" if it is not set
	stderr io.Writer
	// annotated counts the annotations by their severity.
	annotated map[Severity]int
}

// Detect returns the step that vobs runs in, or nil if nothing is to be reported. getenv reads
// environment variables; annotations go to stderr.
func Detect(mode Mode, getenv func(string) string, stderr io.Writer) *Step {
	file := getenv("GITHUB_STEP_SUMMARY")
	if mode == Off || mode == Auto && (getenv("GITHUB_ACTIONS") != "true" || file == "") {
		return nil
	}
	return &Step{file: file, stderr: stderr, annotated: map[Severity]int{}}
}

// Summarize appends a section to the summary of the step: a heading of plain text and what write
// writes, which is Markdown. What is too long for a summary is left out, and the summary says so.
func (s *Step) Summarize(heading string, write func(io.Writer) error) error {
	if s == nil {
		return nil
	}
	if s.file == "" {
		return errors.New("no job summary is written: GITHUB_STEP_SUMMARY is not set")
	}
	var text strings.Builder
	fmt.Fprintf(&text, "### %s\n\n", plain(heading))
	if err := write(&text); err != nil {
		return fmt.Errorf("writing the job summary: %w", err)
	}
	_, err := bounded.Call("the file "+s.file, writeTimeout, func() (struct{}, error) {
		return struct{}{}, appendTo(s.file, text.String())
	})
	if err != nil {
		return fmt.Errorf("writing the job summary: %w", err)
	}
	return nil
}

// plain returns a text without line breaks and without what Markdown or HTML would take for markup.
func plain(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	return strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", `\<`, "&", `\&`, "~", `\~`, "#", `\#`).Replace(text)
}

// appendTo appends a section to the file in one write, and an empty line before it if the file is
// not empty. A pipe or a device, which could block, is refused.
func appendTo(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NONBLOCK|unix.O_NOCTTY, 0o666)
	if errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("%s is not a regular file", file)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", file)
	}
	if info.Size() > 0 {
		text = "\n" + text
	}
	room := min(maxText, maxSummary-info.Size())
	if room < int64(len(text)) {
		if text = shorten(text, int(room)); text == "" {
			return fmt.Errorf("%s has no room: it has %d bytes, and GitHub takes %d", file, info.Size(), maxSummary)
		}
	}
	_, err = f.WriteString(text)
	return err
}

const (
	leftOut = "\n(The rest is left out: it is too long for a job summary.)\n"
	fence   = "```\n"
)

// shorten cuts Markdown at the end of a line, so that it has at most size bytes with a remark; ""
// if there is no room for more than the remark.
func shorten(text string, size int) string {
	room := size - len(leftOut) - len(fence)
	if room <= 0 {
		return ""
	}
	text = text[:strings.LastIndexByte(text[:min(room, len(text))], '\n')+1]
	if strings.TrimSpace(text) == "" {
		return ""
	}
	open := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			open = !open
		}
	}
	if open {
		text += fence
	}
	return text + leftOut
}

// Severity is how GitHub shows an annotation.
type Severity string

// The severities, as workflow commands name them.
const (
	Warning Severity = "warning"
	Error   Severity = "error"
)

// Annotation is a message that GitHub shows on the page of the workflow run.
type Annotation struct {
	Severity Severity
	Title    string
	Message  string
}

const (
	// maxAnnotations is how many annotations of one severity GitHub shows for a step
	// (https://github.com/orgs/community/discussions/26680).
	maxAnnotations = 10
	// maxMessage bounds a message in bytes: GitHub cuts longer ones at 4096.
	maxMessage = 4000
)

// Annotate writes annotations, as many as GitHub shows. An annotation that is empty is left out.
func (s *Step) Annotate(annotations ...Annotation) {
	if s == nil {
		return
	}
	var lines strings.Builder
	for _, a := range annotations {
		if a.Message == "" {
			continue
		}
		if s.annotated[a.Severity]++; s.annotated[a.Severity] <= maxAnnotations {
			lines.WriteString(a.command())
		}
	}
	if lines.Len() > 0 {
		_, _ = io.WriteString(s.stderr, lines.String()) // if stderr is gone, there is nowhere left to report it
	}
}

// HasError reports whether an error was annotated.
func (s *Step) HasError() bool { return s != nil && s.annotated[Error] > 0 }

// command returns the workflow command of an annotation, a line.
func (a Annotation) command() string {
	message := a.Message
	if len(message) > maxMessage {
		end := maxMessage
		for !utf8.RuneStart(message[end]) {
			end--
		}
		message = message[:end] + "…"
	}
	return fmt.Sprintf("::%s title=%s::%s\n", a.Severity, property.Replace(a.Title), data.Replace(message))
}

// data and property escape the message of a workflow command and the value of a property.
var (
	data     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)
