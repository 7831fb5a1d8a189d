package dataset

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxRecord is the size limit of a record, in bytes. Messages may have images in them.
const maxRecord = 64 << 20

var errTooLong = fmt.Errorf("the record is longer than %d MiB", maxRecord>>20)

// lines returns the lines that are not blank.
type lines struct {
	in   *bufio.Reader
	line int // the last one that was read
	long []byte
}

// blank skips blanks and returns the byte behind them, which stays to be read.
func (l *lines) blank() (byte, error) {
	for {
		c, err := l.in.ReadByte()
		switch {
		case err != nil:
			return 0, err
		case c == '\n':
			l.line++
		case c != ' ' && c != '\t' && c != '\r':
			return c, l.in.UnreadByte()
		}
	}
}

func (l *lines) next() ([]byte, int, error) {
	for {
		text, err := l.in.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			l.long = append(l.long[:0], text...)
			for err == bufio.ErrBufferFull {
				if len(l.long) > maxRecord {
					return nil, l.line + 1, errTooLong
				}
				text, err = l.in.ReadSlice('\n')
				l.long = append(l.long, text...)
			}
			text = l.long
		}
		if err != nil && err != io.EOF {
			return nil, l.line + 1, err
		}
		l.line++
		if text = bytes.TrimSpace(text); len(text) > 0 {
			return text, l.line, nil
		}
		if err == io.EOF {
			return nil, l.line, err
		}
	}
}

// array returns the elements of a JSON array.
type array struct {
	in    *bufio.Reader
	line  int // complete lines so far
	begun bool
	text  []byte
}

// next looks for the end of the element only: what is between is for the parser to judge.
func (a *array) next() ([]byte, int, error) {
	a.text = a.text[:0]
	depth, inText, escaped, first := 0, false, false, 0
	for {
		c, err := a.in.ReadByte()
		if err == io.EOF {
			return nil, a.line + 1, errors.New("the file ends within the array")
		}
		if err != nil {
			return nil, a.line + 1, err
		}
		if c == '\n' {
			a.line++
		}
		if len(a.text) == 0 { // between elements
			switch c {
			case ' ', '\t', '\r', '\n', ',':
				continue
			case ']':
				err := a.rest()
				return nil, a.line + 1, err
			case '[':
				if !a.begun {
					a.begun = true
					continue
				}
			}
			if c != '{' {
				return nil, a.line + 1, errors.New("an element of the array is not an object")
			}
			first = a.line + 1
		}
		if a.text = append(a.text, c); len(a.text) > maxRecord {
			return nil, first, errTooLong
		}
		switch {
		case escaped:
			escaped = false
		case inText:
			escaped, inText = c == '\\', c != '"'
		case c == '"':
			inText = true
		case c == '{':
			depth++
		case c == '}':
			if depth--; depth == 0 {
				return a.text, first, nil
			}
		}
	}
}

// rest returns io.EOF if nothing follows the array.
func (a *array) rest() error {
	for {
		switch c, err := a.in.ReadByte(); {
		case err != nil:
			return err
		case c == '\n':
			a.line++
		case c != ' ' && c != '\t' && c != '\r':
			return errors.New("something follows the array")
		}
	}
}

// columns are those of BurstGPT that are read.
var columns = []string{"Timestamp", "Request tokens", "Response tokens"}

// table returns the rows of a CSV, with the columns that are read.
type table struct {
	lines *lines
	at    []int // where the columns are
	width int
}

func newTable(header []byte, l *lines) (*table, error) {
	names, err := fields(header)
	t := &table{lines: l, width: len(names)}
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
	}
	for _, name := range columns {
		at := slices.Index(names, name)
		if err != nil || at < 0 {
			return nil, errors.New("the file is neither JSON nor a CSV with the columns of BurstGPT: " + strings.Join(columns, ", "))
		}
		t.at = append(t.at, at)
	}
	return t, nil
}

func (t *table) next() (object, int, error) {
	text, line, err := t.lines.next()
	if err != nil {
		return nil, line, err
	}
	cells, err := fields(text)
	switch {
	case err != nil:
		return nil, line, err
	case len(cells) != t.width:
		return nil, line, fmt.Errorf("the row has %d fields, and the header has %d", len(cells), t.width)
	}
	row := make(object, len(columns))
	for i, name := range columns {
		cell := strings.TrimSpace(cells[t.at[i]])
		row[name] = json.RawMessage(cell)
	}
	return row, line, nil
}

// fields splits a line of a CSV.
func fields(line []byte) ([]string, error) {
	if bytes.IndexByte(line, '"') < 0 {
		return strings.Split(string(line), ","), nil
	}
	cells, err := csv.NewReader(bytes.NewReader(line)).Read()
	if err != nil {
		return nil, errors.New("the quotes of the row do not match")
	}
	return cells, nil
}
