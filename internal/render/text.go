package render

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// TextOptions say how a table is laid out as text.
type TextOptions struct {
	// Indent is the number of spaces in front of each line.
	Indent int
	// NoTitles leaves out the line with the columns' titles.
	NoTitles bool
	// Width is the width of the terminal in characters: the last column is wrapped
	// to fit. 0 means that lines may have any length.
	Width int
	// Multiline makes a newline in a cell begin another line of the row. Otherwise it is
	// escaped, as other control characters are: see [Printable].
	Multiline bool
}

// lines returns the lines of a cell, joined by newlines.
func (o TextOptions) lines(cell string) string {
	if o.Multiline {
		return printableLines(cell)
	}
	return Printable(cell)
}

// minWrapped is the width below which the last column is not wrapped, in characters.
const minWrapped = 20

// WriteText writes the table in aligned columns with a space between them. Control
// characters in cells are escaped: no cell can move the cursor.
func (t *Table) WriteText(w io.Writer, o TextOptions) error {
	if len(t.Columns) == 0 {
		return nil
	}
	var rows [][]string
	if !o.NoTitles {
		titles := make([]string, len(t.Columns))
		for i, c := range t.Columns {
			titles[i] = o.lines(c.title())
		}
		rows = append(rows, titles)
	}
	for _, row := range t.Rows {
		cells := make([]string, len(t.Columns))
		for i := range cells {
			cells[i] = o.lines(row[i].Text)
		}
		rows = append(rows, cells)
	}

	last := len(t.Columns) - 1
	widths := make([]int, len(t.Columns))
	start := o.Indent // of the last column
	for i, c := range t.Columns {
		widths[i] = c.MinWidth
		for _, row := range rows {
			for line := range strings.SplitSeq(row[i], "\n") {
				widths[i] = max(widths[i], utf8.RuneCountInString(line))
			}
		}
		if i < last {
			start += widths[i] + 1
		}
	}
	if room := o.Width - start; o.Width > 0 && room >= minWrapped {
		for _, row := range rows {
			row[last] = wrap(row[last], room)
		}
		widths[last] = min(widths[last], room)
	}

	var b strings.Builder
	for _, row := range rows {
		// A cell of several lines makes a row of several lines.
		lines := make([][]string, len(row))
		height := 0
		for i, cell := range row {
			lines[i] = strings.Split(cell, "\n")
			height = max(height, len(lines[i]))
		}
		for n := range height {
			line := strings.Repeat(" ", o.Indent)
			for i, c := range t.Columns {
				cell := ""
				if n < len(lines[i]) {
					cell = lines[i][n]
				}
				pad := strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(cell)))
				if c.Right {
					line += pad + cell + " "
				} else {
					line += cell + pad + " "
				}
			}
			b.WriteString(strings.TrimRight(line, " ") + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Printable returns s with every character that a terminal may act on instead of showing it, such
// as ESC or a newline, and every byte that is not UTF-8, escaped as in a Go string: "\x1b", "\n".
func Printable(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsGraphic(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// printableLines is [Printable], but keeps newlines.
func printableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = Printable(line)
	}
	return strings.Join(lines, "\n")
}

// wrap breaks a text into lines of at most width characters, at spaces where it can.
func wrap(text string, width int) string {
	var out []string
	for paragraph := range strings.SplitSeq(text, "\n") {
		runes := []rune(paragraph)
		for len(runes) > width {
			end := width
			if i := lastSpace(runes[:width+1]); i > 0 {
				end = i
			}
			out = append(out, strings.TrimRight(string(runes[:end]), " "))
			runes = []rune(strings.TrimLeft(string(runes[end:]), " "))
		}
		out = append(out, string(runes))
	}
	return strings.Join(out, "\n")
}

func lastSpace(runes []rune) int {
	for i, r := range slices.Backward(runes) {
		if r == ' ' {
			return i
		}
	}
	return -1
}

// TerminalWidth returns the width of the terminal that a file descriptor belongs to,
// in characters, which is 0 for a terminal that does not know it. It reports whether
// there is a terminal.
func TerminalWidth(fd uintptr) (width int, ok bool) {
	size, err := unix.IoctlGetWinsize(int(fd), unix.TIOCGWINSZ)
	if err != nil {
		return 0, false
	}
	return int(size.Col), true
}
