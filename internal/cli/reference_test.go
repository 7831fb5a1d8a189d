package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
	"github.com/vobs/vobs/internal/testkit"
)

// TestCommandLineReference holds docs/cli.md against the flags of the program. go
// test -update writes the file. The writer is here and not in the program: what
// urfave/cli has for this is left out by a build tag, because its packages make
// every start slower.
func TestCommandLineReference(t *testing.T) {
	testkit.Golden(t, "../../docs/cli.md", []byte(commandLineReference(newApp(io.Discard, io.Discard))))
}

const referenceHead = `# Command line

<!-- Made from the flags in internal/cli: go test ./internal/cli -run CommandLineReference -update -->

vobs reads flags and environment variables, and no configuration file. A flag takes precedence over its variable; a
variable that is set to the empty string counts as unset. Boolean variables take ` + "`true`, `1`, `false` or `0`" + `.

Results go to stdout. Messages go to stderr, one line each, prefixed with ` + "`vobs:`" + `; so does the summary of a run,
which has several lines.

| command | exit code |
|---|---|
| ` + "`vobs run`" + ` | that of COMMAND; if a signal killed COMMAND, vobs dies of the same signal. 125: vobs failed before it started COMMAND; 126: COMMAND cannot be executed; 127: COMMAND was not found |
| all others | 0: done; 1: the answer is no (a limit is missed, a metric got worse, a finding is critical, an event is not valid, a page cannot be parsed, an event was not sent, no request was completed, doctor found a problem); 2: wrong usage, or a file or server cannot be read; 3: the runs do not decide it; 4: a command of ab failed; 130: Ctrl-C ended ab, load or diagnose |

` + "```console" + `
$ vobs version
vobs … …/… go1…
…
$ vobs schema | head -n 2
{
  "$defs": {
$ vobs scrape testdata/expositions/serve_default_post.prom | grep -o '{"name":"vllm:kv_cache_usage_perc"[^]]*]}'
{"name":"vllm:kv_cache_usage_perc","help":"KV-cache usage. 1 means 100 percent usage.","type":"GAUGE","metrics":[{"labels":{"engine":"0","model_name":"tiny"},"value":"0"}]}
$ vobs validate testdata/events/example.json
testdata/events/example.json: 1 valid
$ vobs run
vobs: error: …
vobs: hint: vobs run [flags] -- COMMAND [ARGUMENT...]
$ echo $?
125
` + "```" + `
`

// commandLineReference is the text of docs/cli.md.
func commandLineReference(app *cli.App) string {
	var b strings.Builder
	b.WriteString(referenceHead)
	for _, c := range visible(app) {
		fmt.Fprintf(&b, "\n## vobs %s\n\n", c.Name)
		fmt.Fprintf(&b, "%s.\n\n", sentence(markdown(c.Usage)))
		usage := "vobs " + c.Name
		if len(c.Flags) > 0 {
			usage += " [flags]"
		}
		fmt.Fprintf(&b, "```\n%s\n```\n", strings.TrimSpace(usage+" "+c.ArgsUsage))
		for paragraph := range strings.SplitSeq(c.Description, "\n\n") {
			switch {
			case paragraph == "":
			case isVerbatim(paragraph): // lines for a shell
				fmt.Fprintf(&b, "\n```\n%s\n```\n", paragraph)
			default:
				fmt.Fprintf(&b, "\n%s\n", markdown(paragraph))
			}
		}
		if len(c.Flags) > 0 {
			b.WriteString("\n| flag | meaning | variable | default |\n|---|---|---|---|\n")
		}
		for _, f := range c.Flags {
			b.WriteString(flagRow(f))
		}
	}
	return b.String()
}

// flagRow is a flag's row of the table.
func flagRow(f cli.Flag) string {
	d := documented(f)
	names := make([]string, len(d.Names))
	for i, name := range d.Names {
		if d.Value != "" && len(name) > 2 {
			name += " " + d.Value
		}
		names[i] = "`" + name + "`"
	}
	cell := func(s string) string {
		if s == "" {
			return ""
		}
		return "`" + s + "`"
	}
	return fmt.Sprintf("| %s | %s | %s | %s |\n", strings.Join(names, ", "), markdown(d.Meaning), cell(strings.Join(d.Variables, " ")), cell(d.Default))
}

// markdown escapes a text for a table or a paragraph.
func markdown(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`).Replace(s)
}

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// Every flag has a meaning, and every variable is one that the flag's name makes.
func TestFlagsAreDocumented(t *testing.T) {
	for _, c := range visible(newApp(io.Discard, io.Discard)) {
		for _, f := range c.Flags {
			doc := f.(cli.DocGenerationFlag)
			if doc.GetUsage() == "" {
				t.Errorf("vobs %s --%s has no usage text", c.Name, f.Names()[0])
			}
			twin := "VOBS_" + strings.ToUpper(strings.ReplaceAll(f.Names()[0], "-", "_"))
			for _, name := range doc.GetEnvVars() {
				if name != twin {
					t.Errorf("vobs %s --%s reads %s, want %s", c.Name, f.Names()[0], name, twin)
				}
			}
			suffixes := []string{"(repeatable)", "(repeatable) [$" + twin + "]"}
			switch c.Name { // of those that have variables
			case "run", "scrape":
				suffixes = suffixes[1:]
			case "ab", "diagnose", "doctor": // for the runs that they start, and for some flags only
			default:
				suffixes = suffixes[:1]
			}
			_, isSlice := f.(*cli.StringSliceFlag)
			if isSlice && !slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(doc.GetUsage(), s) }) {
				t.Errorf("vobs %s --%s: its usage text does not end with any of %q", c.Name, f.Names()[0], suffixes)
			}
		}
	}
}
