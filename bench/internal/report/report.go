// Package report prints what a benchmark found: a Markdown table per question, and
// whether a target is met.
package report

import (
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
)

// Table prints a table, its first row the head.
func Table(title string, rows [][]string) {
	fmt.Printf("\n### %s\n\n", title)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	for i, row := range rows {
		fmt.Fprintf(w, "| %s\t|\n", strings.Join(row, "\t| "))
		if i == 0 {
			fmt.Fprintln(w, "|"+strings.Repeat(" ---\t|", len(row)))
		}
	}
	_ = w.Flush() // to stdout: whoever closed it does not read
	fmt.Println()
}

// Target tells whether one is met.
func Target(met bool, format string, args ...any) {
	verdict := "met"
	if !met {
		verdict = "MISSED"
	}
	fmt.Printf("- %s: %s\n", verdict, fmt.Sprintf(format, args...))
}

// Load is the host's load average over one minute.
func Load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	return strings.Fields(string(text))[0]
}

// Pick gives the whole number of rounds, or that of a quick look.
func Pick[T any](quick bool, short, whole T) T {
	if quick {
		return short
	}
	return whole
}
