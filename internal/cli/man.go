package cli

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/urfave/cli/v2"
)

// manCommand prints the manual page, made from the app's own flags. urfave/cli's generator is left
// out by a build tag: its packages make every start slower.
func manCommand(app *cli.App) *cli.Command {
	return &cli.Command{
		Name:  "man",
		Usage: "print the manual page, in roff",
		Description: `To read it:    vobs man | man -l -
To install it: vobs man >/usr/local/share/man/man1/vobs.1

Its date is that of SOURCE_DATE_EPOCH, in seconds of Unix time, if the variable is set, else
that of the commit that vobs was built from.`,
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			date, _, _ := strings.Cut(readBuild().Date, "T")
			if text := os.Getenv("SOURCE_DATE_EPOCH"); text != "" {
				seconds, err := strconv.ParseInt(text, 10, 64)
				if err != nil {
					return fmt.Errorf("SOURCE_DATE_EPOCH %q: not a number of seconds", text)
				}
				date = time.Unix(seconds, 0).UTC().Format(time.DateOnly)
			}
			_, err := fmt.Fprint(c.App.Writer, manPage(app, date))
			return err
		},
	}
}

// manText is a text that people read, by its name: for EXIT STATUS, ENVIRONMENT and FILES.
type manText struct{ name, text string }

var exitStatuses = []manText{
	{"0", "Done; what was asked is so. vobs run: the exit code of COMMAND, whatever it is."},
	{"1", "The answer is no: a limit is missed, a metric got worse, a finding is critical, an event is not valid, a page cannot be parsed, an event was not sent, no request was completed, doctor found a problem."},
	{"2", "Wrong usage, or a file or server cannot be read."},
	{"3", "The runs do not decide it."},
	{"4", "vobs ab: a command failed."},
	{"125", "vobs run: vobs failed before it started COMMAND."},
	{"126", "vobs run: COMMAND cannot be executed."},
	{"127", "vobs run: COMMAND was not found."},
	{"130", "Ctrl-C ended ab, load or diagnose."},
}

// otherVariables are variables that belong to no flag.
var otherVariables = []manText{
	{"CUDA_VISIBLE_DEVICES, CUDA_DEVICE_ORDER", "The GPUs that COMMAND can see, which are sampled unless --device names others."},
	{"PROMETHEUS_MULTIPROC_DIR", "If set, the directory in which COMMAND's engine shares its metrics: it is read, unless --multiproc is off. See --multiproc."},
	{"SLURM_PROCID, RANK", "The rank that stands for %r in names of files."},
	{"WANDB_MODE, WANDB_API_KEY, WANDB_PROJECT and others", "Settings of Weights & Biases, with the meaning that its SDK gives them."},
	{"GITHUB_ACTIONS, GITHUB_STEP_SUMMARY", "In a job of GitHub Actions, results go to the job summary too. See --github-summary."},
	{"TMPDIR", "Where directories for COMMAND's processes are made (--multiproc, --instrument); /tmp if it is not set."},
	{"NO_COLOR", "If set, vobs doctor uses no color."},
	{"SOURCE_DATE_EPOCH", "The date of this page. See vobs man."},
}

var manFiles = []manText{
	{"FILE.partial", "The event so far, beside FILE of --output: written every minute and from the first shutdown signal on, removed when the whole event is there."},
	{"~/.netrc, ~/.config/wandb/settings, wandb/settings", "The key for Weights & Biases, and its settings."},
	{"wandb/", "Offline runs of Weights & Biases, in the working directory or in WANDB_DIR."},
}

var manExamples = []manText{
	{"vobs doctor", "What can be observed on this machine, and what to do about the rest."},
	{"vobs run -- vllm bench throughput --model facebook/opt-125m", "Measure a run; the event goes to stdout."},
	{"vobs run -o event.json --metrics-url http://127.0.0.1:8000 -- python client.py", "Measure a client and the server that it uses; the client keeps stdout."},
	{"vobs run --append events.jsonl --label case=chat -- ./bench.sh", "Collect the events of a series in one file."},
	{"vobs check --max peak_vram=70GiB --slo chat event.json", "Fail if a limit is missed."},
}

// manPage returns the manual page: one for all subcommands, so that it can be searched. date is
// that of the page, "" for none.
func manPage(app *cli.App, date string) string {
	m := &man{}
	m.line(fmt.Sprintf(`.TH VOBS 1 "%s" %s %s`, date, roffArgument("vobs "+Version()), roffArgument("User Commands")))
	m.section("NAME")
	m.line("vobs \\- " + roff(app.Usage))
	m.section("SYNOPSIS")
	m.verbatim(app.UsageText)
	m.section("DESCRIPTION")
	m.paragraphs(app.Description)
	m.paragraphs("vobs reads flags and environment variables, and no configuration file. A flag takes precedence over its variable; a variable that is set to the empty string counts as unset.\n\n" +
		"Results go to stdout. Messages go to stderr, one line each, prefixed with vobs:.")
	m.section("COMMANDS")
	for _, c := range visible(app) {
		m.command(c)
	}
	m.list("EXIT STATUS", exitStatuses)
	m.section("ENVIRONMENT")
	m.paragraphs("The variables of flags, which hold the flag's value unless it is given:")
	for _, v := range flagVariables(app) {
		m.item(v.name, v.text)
	}
	m.paragraphs("Others:")
	for _, v := range otherVariables {
		m.item(v.name, v.text)
	}
	m.list("FILES", manFiles)
	m.section("EXAMPLES")
	for _, e := range manExamples {
		m.paragraphs(e.text)
		m.verbatim("    " + e.name)
	}
	m.section("SEE ALSO")
	m.line(`.BR time (1),`)
	m.line(`.BR nvidia\-smi (1)`)
	return m.b.String()
}

// flagVariables returns the variables of all flags, with the flags that each belongs to.
func flagVariables(app *cli.App) (out []manText) {
	at := map[string]int{}
	for _, c := range visible(app) {
		for _, f := range c.Flags {
			d := documented(f)
			for _, name := range d.Variables {
				i, known := at[name]
				if !known {
					i = len(out)
					at[name] = i
					out = append(out, manText{name: name, text: d.Names[len(d.Names)-1] + " of "})
				} else {
					out[i].text += ", "
				}
				out[i].text += c.Name
			}
		}
	}
	return out
}

// man writes a page with the macros of man(7).
type man struct {
	b strings.Builder
	// begun is set at the beginning of a section, where no paragraph is to be ended.
	begun bool
}

// line writes a line of roff.
func (m *man) line(text string) { m.b.WriteString(text + "\n") }

// textWidth is the longest line of running text: mandoc -Tlint notes longer ones than 80 bytes.
const textWidth = 78

// prose writes running text of roff, which is filled anew: broken into lines of at most textWidth
// bytes where words allow that.
func (m *man) prose(text string) {
	width := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case width == 0:
		case width+1+len(word) > textWidth:
			m.b.WriteByte('\n')
			width = 0
		default:
			m.b.WriteByte(' ')
			width++
		}
		if width == 0 && strings.HasPrefix(word, ".") {
			word = `\&` + word // no request
		}
		m.b.WriteString(word)
		width += len(word)
	}
	m.b.WriteByte('\n')
}

func (m *man) section(title string) {
	m.line(".SH " + title)
	m.begun = true
}

// paragraph begins a paragraph.
func (m *man) paragraph() {
	if !m.begun {
		m.line(".PP")
	}
	m.begun = false
}

// list writes a section of items.
func (m *man) list(title string, items []manText) {
	m.section(title)
	for _, item := range items {
		m.item(item.name, item.text)
	}
}

// item writes a term and its explanation.
func (m *man) item(term, text string) {
	m.line(".TP")
	m.line(`\fB` + roff(term) + `\fR`)
	m.prose(roff(text))
}

// paragraphs writes text. A paragraph whose lines are commands, or begin with blanks, is kept
// as it is.
func (m *man) paragraphs(text string) {
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		m.paragraph()
		if isVerbatim(paragraph) {
			m.verbatim(paragraph)
			continue
		}
		m.prose(roff(paragraph))
	}
}

// isVerbatim reports whether a paragraph is lines for a shell: it begins with a blank, or like
// "bash: source <(vobs completion bash)".
func isVerbatim(paragraph string) bool {
	_, command, _ := strings.Cut(paragraph, ":")
	command = strings.TrimLeft(command, " ")
	return strings.HasPrefix(paragraph, " ") || strings.HasPrefix(command, "vobs man") || strings.HasPrefix(command, "source <(")
}

// verbatim writes lines as they are.
func (m *man) verbatim(text string) {
	m.line(".nf")
	for line := range strings.SplitSeq(text, "\n") {
		m.line(roff(line))
	}
	m.line(".fi")
}

// command writes the part about a subcommand.
func (m *man) command(c *cli.Command) {
	m.line(".SS " + roffArgument("vobs "+c.Name))
	m.begun = false
	m.prose(roff(sentenceOf(c.Usage)))
	flags := slices.DeleteFunc(slices.Clone(c.Flags), func(f cli.Flag) bool { return f == cli.HelpFlag }) // which urfave/cli adds to vobs man itself
	usage := `\fBvobs ` + roff(c.Name) + `\fR`
	if len(flags) > 0 {
		usage += " [flags]"
	}
	m.paragraph()
	m.line(strings.TrimSpace(usage + " " + roff(c.ArgsUsage)))
	if c.Description != "" {
		m.paragraphs(c.Description)
	}
	for _, f := range flags {
		d := documented(f)
		names := make([]string, len(d.Names))
		for i, name := range d.Names {
			names[i] = `\fB` + roff(name) + `\fR`
		}
		term := strings.Join(names, ", ")
		if d.Value != "" {
			term += ` \fI` + roff(d.Value) + `\fR`
		}
		m.line(".TP")
		m.line(term)
		m.prose(flagText(d))
	}
}

// flagText returns the meaning of a flag, its default and its variable.
func flagText(d flagDoc) string {
	meaning := d.Meaning
	if before, rest, found := strings.Cut(meaning, "`"); found {
		value, after, _ := strings.Cut(rest, "`")
		meaning = roff(before) + `\fI` + roff(value) + `\fR` + roff(after)
	} else {
		meaning = roff(meaning)
	}
	var more []string
	if d.Default != "" {
		more = append(more, "default: "+d.Default)
	}
	if len(d.Variables) > 0 {
		more = append(more, "variable: "+strings.Join(d.Variables, ", "))
	}
	if len(more) > 0 {
		meaning += " (" + roff(strings.Join(more, "; ")) + ")"
	}
	return meaning
}

// sentenceOf makes a sentence of a usage text.
func sentenceOf(usage string) string { return strings.ToUpper(usage[:1]) + usage[1:] + "." }

// roffArgument returns the argument of a macro.
func roffArgument(text string) string { return `"` + strings.ReplaceAll(roff(text), `"`, `\(dq`) + `"` }

// roffSpecial returns how roff writes a character that would be typeset as another: a minus that
// can be copied, and quotation marks and others as they are typed (groff_char(7)).
func roffSpecial(r rune) string {
	switch r {
	case '\\':
		return `\e`
	case '-':
		return `\-`
	case '\'':
		return `\(aq`
	case '`':
		return `\(ga`
	case '^':
		return `\(ha`
	case '~':
		return `\(ti`
	}
	return ""
}

// roff returns a text as roff reads it. All of it is ASCII.
func roff(text string) string {
	var b strings.Builder
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		b.WriteString(`\&`) // no request
	}
	for _, r := range text {
		switch special := roffSpecial(r); {
		case special != "":
			b.WriteString(special)
		case r > unicode.MaxASCII:
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
