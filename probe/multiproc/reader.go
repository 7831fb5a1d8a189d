package multiproc

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/probe/exposition"
)

// Wanted says in which readings a name is wanted.
type Wanted uint8

// From those that are never wanted to those that polls are for.
const (
	Never Wanted = iota
	InFull
	InPolls
)

const (
	// maxFiles is the most files of a directory that are read, and maxNames the most names
	// that it may have: a server whose workers come and go leaves files of each.
	maxFiles = 1 << 13
	maxNames = 1 << 16
	// maxSeries is the most wanted samples, of some 300 engines.
	maxSeries = 1 << 17
	// maxProblems is how many problems of a reading are told, and maxForeign how many
	// foreign files.
	maxProblems = 8
	maxForeign  = 8
)

var (
	// ErrCleared is returned while files that have been read are gone and others of then
	// are still there: a sum over those that are left would be too low.
	ErrCleared = errors.New("files that had been read are gone, or were begun anew: the directory is being cleared")
	// ErrTooMany is returned for a directory with more names than are read.
	ErrTooMany = fmt.Errorf("the directory has more than %d files", maxFiles)

	errTooMany = fmt.Errorf("there are more than %d samples that are wanted", maxSeries)
	errAll     = fmt.Errorf("all files together use more than the %d MiB that are read", maxAll>>20)
)

// Problem is a part of the directory that a page lacks.
type Problem struct {
	// Name is of a file, or of a family of metrics.
	Name string
	// LeftOut is what is not on the page for it, as `counters`.
	LeftOut string
	Err     error
}

func (p Problem) Error() string {
	return fmt.Sprintf("%.100q: %v: %s left out", p.Name, p.Err, p.LeftOut)
}

func (p Problem) Unwrap() error { return p.Err }

// PartialError is returned for a reading whose page lacks something. What is on it is
// whole: of a kind with a file that cannot be understood, nothing is there.
type PartialError struct {
	Dir      string
	Problems []Problem
	// More is how many problems there are beyond these.
	More int
}

func (e *PartialError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "reading %s: ", e.Dir)
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(p.Error())
	}
	if e.More > 0 {
		fmt.Fprintf(&b, "; and %d more", e.More)
	}
	return b.String()
}

// Unwrap gives the problems.
func (e *PartialError) Unwrap() []error {
	out := make([]error, len(e.Problems))
	for i, p := range e.Problems {
		out[i] = p
	}
	return out
}

// Reader reads a directory, again and again. What never changes, the keys and where their
// values are, it keeps: a reading of the same files allocates next to nothing. It holds no
// file open between two readings, unless they are recorded. It is not safe for concurrent use.
type Reader struct {
	dir  string
	want func(name string) Wanted

	files  map[string]*file
	limits limits
	listed []*file // those that are there, by name
	names  []byte  // room for the directory's entries
	buf    []byte  // room for a file
	// foreign are names of other people's files.
	foreign map[string]int // with the number of the last reading that found it

	order    []*family // as they were found
	families map[familyKey]*family
	series   map[seriesKey]*series
	labels   map[string]*exposition.Labels
	verdicts map[string]Wanted

	reading  int // number of the present one, from 1
	used     int // bytes of all files of the present one
	problems []Problem
	more     int
	spoiled  [kinds]bool // kinds with a file that cannot be understood
	vanished string      // a file that was there a moment before
	unsorted bool        // listed has new ones
	// brokenAt is the number of the reading in which a file was first found to be gone, or
	// begun anew, 0 where none was; brokenBy is its name.
	brokenAt int
	brokenBy string

	// recorder, where one is under way, copies the files in recorded.
	recorder *recorder
	recorded []*file
	readAt   time.Time // when the directory was read last
}

// limits are maxFiles, maxAll and maxSeries, but in tests.
type limits struct{ files, bytes, series int }

// New makes a reader of a directory, which need not exist yet. want is asked once or more
// often for each name that the files have: for those of samples, as a page has them
// (`x_total`, `x_bucket`), and for those of TYPE lines (`x_total`, `x`). A nil want has
// all in every reading.
func New(dir string, want func(name string) Wanted) *Reader {
	if want == nil {
		want = func(string) Wanted { return InPolls }
	}
	r := &Reader{dir: dir, want: want, files: map[string]*file{}, limits: limits{maxFiles, maxAll, maxSeries}, foreign: map[string]int{}}
	r.forget()
	return r
}

// forget drops all that is known of the files' contents.
func (r *Reader) forget() {
	r.order = nil
	r.families, r.series = map[familyKey]*family{}, map[seriesKey]*series{}
	r.labels, r.verdicts = map[string]*exposition.Labels{}, map[string]Wanted{}
	for _, f := range r.files {
		f.image, f.entries = nil, nil
	}
}

// Foreign gives the names of some files in the directory that end in .db and are none of
// prometheus_client's, by the last reading. They are left alone.
func (r *Reader) Foreign() []string {
	out := make([]string, 0, len(r.foreign))
	for name, found := range r.foreign {
		if found == r.reading {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// Read reads the directory as it is now into page, whose slices and maps are reused: all
// that is wanted, or where it is not full the gauges and counters that polls want, from
// their files alone. A directory without a file gives an empty page.
//
// It returns a *PartialError where something is missing on the page for a file that could
// not be understood; ErrCleared with an empty page where what was read before is being
// removed; another error with an empty page where the directory cannot be read, of
// fs.ErrNotExist where it is not there. What is on a page is never half of something.
func (r *Reader) Read(page *exposition.Page, full bool) error {
	r.begin(page)
	r.readAt = time.Now()
	dir, err := openDir(r.dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			r.gone()
		}
		return fmt.Errorf("reading the directory %s: %w", r.dir, err)
	}
	defer unix.Close(dir)
	if err := r.list(dir); err != nil {
		return fmt.Errorf("reading the directory %s: %w", r.dir, err)
	}
	r.trim()
	least := InPolls
	if full {
		least = InFull
	}
	for _, f := range r.listed {
		if full || f.kind.polled() {
			r.readFile(dir, f, least)
		}
	}
	return r.emit(page, least)
}

// begin begins a reading.
func (r *Reader) begin(page *exposition.Page) {
	page.Reset()
	r.reading++
	r.used, r.problems, r.more, r.spoiled, r.vanished = 0, nil, 0, [kinds]bool{}, ""
}

// emit writes what a reading has found.
func (r *Reader) emit(page *exposition.Page, least Wanted) error {
	if err := r.cleared(); err != nil {
		return fmt.Errorf("reading the directory %s: %w", r.dir, err)
	}
	for _, fam := range r.order {
		if fam.seen != r.reading || r.spoiled[fam.kind] {
			continue
		}
		if err := fam.lost(); err != nil {
			told := fam.rival != nil && fam.rival.seen == r.reading && fam.rival.kind < fam.kind
			if fam.needed >= least && !told {
				r.problem(fam.name, "it is", err)
			}
			continue
		}
		fam.emit(page, least, r.reading)
	}
	if len(r.problems) > 0 {
		return &PartialError{Dir: r.dir, Problems: r.problems, More: r.more}
	}
	return nil
}

// readFile takes in what a file has now.
func (r *Reader) readFile(dir int, f *file, least Wanted) {
	if r.spoiled[f.kind] {
		return // it stays so
	}
	var err error
	for attempt := range attempts {
		var data []byte
		if data, r.buf, err = load(dir, f, r.buf); err == nil {
			if r.used+len(data) > r.limits.bytes {
				err = errAll
				break
			}
			if err = r.parse(f, data, attempt > 0); err == nil {
				r.used += len(data)
				r.take(f, data, least)
				return
			}
		}
		if err == unix.ENOENT {
			break
		}
	}
	if err == unix.ENOENT {
		if !f.live { // else mark_process_dead was faster
			r.vanished = f.name
		}
		return
	}
	r.spoiled[f.kind] = true
	r.problem(f.name, "all "+kindTable[f.kind].left+" are", err)
}

// take puts the values of a file to those of the others.
func (r *Reader) take(f *file, data []byte, least Wanted) {
	cumulative := f.kind.cumulative()
	for i := range f.entries {
		e := &f.entries[i]
		e.family.seen = r.reading
		s := e.series
		if s == nil || s.needed < least {
			continue
		}
		value := floatAt(data, e.value)
		s.take(value, floatAt(data, e.value+8), r.reading)
		if !cumulative {
			continue
		}
		if value < e.last && !s.falls {
			r.broken(f)
			f.bornAt = 0 // its process is another one
		}
		if value != 0 && f.bornAt == 0 {
			f.bornAt = r.reading
		}
		e.last = value
	}
}

// broken notes that what a file had counted is gone. One that goes while another has is
// part of the same.
func (r *Reader) broken(f *file) {
	if f.bornAt > 0 && f.bornAt >= r.brokenAt {
		r.brokenAt, r.brokenBy = r.reading, f.name
	}
}

// cleared says whether files that have counted something are gone while others of then
// are there, or while no others have come.
func (r *Reader) cleared() error {
	if r.vanished != "" {
		return fmt.Errorf("%.100q vanished: %w", r.vanished, ErrCleared)
	}
	if r.brokenAt == 0 {
		return nil
	}
	fresh := false
	for _, f := range r.listed {
		if f.bornAt > 0 && f.bornAt < r.brokenAt {
			return fmt.Errorf("%.100q is gone or was begun anew, %.100q is not: %w", r.brokenBy, f.name, ErrCleared)
		}
		fresh = fresh || f.kind.cumulative()
	}
	if !fresh {
		return fmt.Errorf("%.100q is gone: %w", r.brokenBy, ErrCleared)
	}
	return nil
}

func (r *Reader) problem(name, what string, err error) {
	if len(r.problems) == maxProblems {
		r.more++
		return
	}
	r.problems = append(r.problems, Problem{name, what, err})
}

// trim keeps what is remembered in bounds: labels may change for ever, files come and go.
func (r *Reader) trim() {
	entries := 0
	for _, f := range r.listed {
		entries += len(f.entries)
	}
	if max(len(r.series), len(r.families), len(r.labels), len(r.verdicts)) > 4*entries+4096 {
		r.forget()
	}
}
