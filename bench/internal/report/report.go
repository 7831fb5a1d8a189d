// Package report prints the results of a benchmark: Markdown tables, and whether the
// targets are met.
package report

import (
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
)

// Table prints a Markdown table. Its first row is the header.
func Table(title string, rows [][]string) {
	fmt.Printf("\n### %s\n\n", title)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	for i, row := range rows {
		fmt.Fprintf(w, "| %s\t|\n", strings.Join(row, "\t| "))
		if i == 0 {
			fmt.Fprintln(w, "|"+strings.Repeat(" ---\t|", len(row)))
		}
	}
	_ = w.Flush() // to stdout: if it is closed, nobody reads it
	fmt.Println()
}

// Target prints a target and whether it is met.
func Target(met bool, format string, args ...any) {
	verdict := "met"
	if !met {
		verdict = "MISSED"
	}
	fmt.Printf("- %s: %s\n", verdict, fmt.Sprintf(format, args...))
}

// Load returns the host's load average over one minute; "?" if it cannot be read.
func Load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	return strings.Fields(string(text))[0]
}

// Pick returns whole if long is set, and short otherwise.
func Pick[T any](long bool, whole, short T) T {
	if long {
		return whole
	}
	return short
}
