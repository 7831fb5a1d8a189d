package dataset

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"
)

// Options are what is read.
type Options struct {
	// Turns makes conversations of messages: see [Record].
	Turns bool
	// AnyOrder accepts times that go back.
	AnyOrder bool
	// Records and Until bound what [Open] checks: the first so many records, and those up to
	// this time; 0 for all.
	Records int
	Until   time.Duration
}

// Dataset is a file of requests.
type Dataset struct {
	Format Format
	// Count is the number of records, Skipped that of records that no request can be made of,
	// and Span the time of the last record, as far as Options bound the check. All are 0 if the
	// file cannot be read twice.
	Count, Skipped int
	Span           time.Duration
	// TokenIDs reports whether a prompt is a list of token ids.
	TokenIDs bool
	// Ended reports whether Next has returned io.EOF.
	Ended bool

	name    string
	options Options
	file    io.ReadSeekCloser
	records records
	first   *Record // read by Open already
	begin   float64 // seconds of the first record
	begun   bool
	last    time.Duration
	skipped int
}

// records returns records, one after another, with the lines on which they begin.
type records interface {
	next() (o object, line int, err error)
}

// Open opens a file and checks its records: all of them, or those that options ask for. Of a
// pipe it checks the first record only.
func Open(name string, options Options) (*Dataset, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a directory", name)
	}
	d := &Dataset{name: name, options: options, file: f}
	if err == nil {
		err = d.check(info.Mode().IsRegular())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return d, nil
}

// Close closes the file.
func (d *Dataset) Close() error { return d.file.Close() }

// check checks the records. Unless the file can be read again, that is the first one only.
func (d *Dataset) check(again bool) error {
	if err := d.start(); err != nil {
		return err
	}
	for d.options.Records == 0 || d.Count < d.options.Records {
		r, err := d.read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if d.options.Until > 0 && r.At >= d.options.Until {
			break
		}
		d.Count, d.Span, d.TokenIDs = d.Count+1, r.At, d.TokenIDs || r.IDs != nil
		if !again {
			d.Count, d.Span, d.first = 0, 0, r
			return nil
		}
	}
	if d.Count == 0 {
		if d.skipped > 0 {
			return fmt.Errorf("%s: none of the %d records can be sent", d.name, d.skipped)
		}
		return fmt.Errorf("%s: there is no record", d.name)
	}
	d.Skipped = d.skipped
	if _, err := d.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading %s again: %w", d.name, err)
	}
	return d.start()
}

// start begins to read the file.
func (d *Dataset) start() error {
	in := bufio.NewReaderSize(d.file, 64<<10)
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unpacked, err := gzip.NewReader(in)
		if err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		in = bufio.NewReaderSize(unpacked, 64<<10)
	}
	if mark, _ := in.Peek(3); string(mark) == "\ufeff" {
		_, _ = in.Discard(3)
	}
	lines := &lines{in: in}
	d.begun, d.last, d.Ended = false, 0, false
	d.records = texts{lines}
	first, err := lines.blank()
	if err != nil && err != io.EOF {
		return d.wrong(lines.line, err)
	}
	switch first {
	case '[':
		d.records = texts{&array{in: in, line: lines.line}}
	case '{', 0:
	default:
		header, line, err := lines.next()
		if err == nil {
			d.records, err = newTable(header, lines)
		}
		if err != nil {
			return d.wrong(max(line, 1), err)
		}
	}
	return nil
}

// wrong returns an error that names the line.
func (d *Dataset) wrong(line int, err error) error {
	if errors.As(err, new(*os.PathError)) {
		return err
	}
	return fmt.Errorf("%s, line %d: %w", d.name, line, err)
}

// Next returns the next record, or io.EOF.
func (d *Dataset) Next() (*Record, error) {
	if r := d.first; r != nil {
		d.first = nil
		return r, nil
	}
	r, err := d.read()
	if err == io.EOF {
		d.Ended = true
	}
	return r, err
}

// errSkip is returned for a record that no request can be made of, but that its format has.
var errSkip = errors.New("no request")

func (d *Dataset) read() (*Record, error) {
	for {
		o, line, err := d.records.next()
		if err == io.EOF {
			return nil, err
		}
		if err != nil {
			return nil, d.wrong(line, err)
		}
		r, seconds, err := d.parse(o)
		switch {
		case errors.Is(err, errSkip):
			d.skipped++
			continue
		case err != nil:
			return nil, d.wrong(line, err)
		}
		r.Line = line
		if d.Format.Timed() {
			if !d.begun {
				d.begin, d.begun = seconds, true
			}
			r.At = time.Duration(math.Round((seconds - d.begin) * float64(time.Second)))
			if r.At < d.last && !d.options.AnyOrder {
				return nil, d.wrong(line, errors.New("its time is before that of the record before it: sort the file by time"))
			}
			d.last = r.At
		}
		return r, nil
	}
}
