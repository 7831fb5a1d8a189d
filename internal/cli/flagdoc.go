package cli

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// flagDoc is what the manual page and docs/cli.md have of a flag.
type flagDoc struct {
	// Names are its names with their dashes, the short one first.
	Names []string
	// Value is the name of its value; "" if it takes none.
	Value string
	// Meaning is a sentence without a period. The name of the value is in backquotes.
	Meaning string
	// Variables are its environment variables, Default is its default; "" if it has none.
	Variables []string
	Default   string
}

// documented returns the documentation of a flag. A usage text has the name of the value in
// backquotes, and of a flag that can be given several times the variable at its end: the program
// reads that one itself (see list).
func documented(flag cli.Flag) flagDoc {
	f := flag.(cli.DocGenerationFlag)
	d := flagDoc{Meaning: f.GetUsage(), Variables: f.GetEnvVars()}
	if text, name, ok := strings.Cut(d.Meaning, " [$"); ok {
		d.Meaning, d.Variables = text, append(d.Variables, strings.TrimSuffix(name, "]"))
	}
	if parts := strings.Split(d.Meaning, "`"); len(parts) == 3 {
		d.Value = parts[1]
	}
	for _, name := range flag.Names() {
		if len(name) == 1 {
			d.Names = append([]string{"-" + name}, d.Names...)
		} else {
			d.Names = append(d.Names, "--"+name)
		}
	}
	if f.TakesValue() {
		d.Default = strings.Trim(f.GetValue(), `"[]`)
		if text := f.GetDefaultText(); text != "" && (d.Default == "0" || d.Default == "0s") {
			d.Default = strings.Trim(text, `"`)
		}
	}
	return d
}
