package multiproc

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/threads"
	"github.com/vobs/vobs/probe/exposition"
)

// Wanted is in which readings a name is wanted.
type Wanted uint8

// The values of Wanted.
const (
	// Never: in no reading.
	Never Wanted = iota
	// InFull: in full readings only.
	InFull
	// InPolls: in all readings.
	InPolls
)

const (
	// maxFiles is the limit of files in a directory, and maxNames that of all its entries:
	// a server whose workers come and go leaves files of each.
	maxFiles = 1 << 13
	maxNames = 1 << 16
	// maxSeries is the limit of wanted samples: those of about 300 engines.
	maxSeries = 1 << 17
	// maxProblems is the limit of problems that a [PartialError] lists.
	maxProblems = 8
)

var (
	// ErrCleared is returned while some of the files read before are gone and others
	// remain: a sum over the remaining ones would be too low.
	ErrCleared = errors.New("files that were read before are gone or have been replaced: the directory is being cleared")
	// ErrTooMany is returned for a directory with too many files.
	ErrTooMany = fmt.Errorf("the directory has more than %d files", maxFiles)

	errTooManySeries = fmt.Errorf("more than %d wanted samples", maxSeries)
	errTotalSize     = fmt.Errorf("all files together use more than the limit of %d MiB", maxAll>>20)
)

// Problem is a part of the directory that a page lacks.
type Problem struct {
	// Name is that of a file or of a family of metrics.
	Name string
	// LeftOut is what the page lacks, with its verb: "all counters are", "it is".
	LeftOut string
	Err     error
}

func (p Problem) Error() string {
	return fmt.Sprintf("%.100q: %v: %s left out", p.Name, p.Err, p.LeftOut)
}

// Unwrap returns p.Err.
func (p Problem) Unwrap() error { return p.Err }

// PartialError is returned for a reading whose page lacks something. What the page has is
// complete: it has nothing of a kind with an invalid file.
type PartialError struct {
	Dir      string
	Problems []Problem
	// More is the number of further problems.
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

// Unwrap returns the problems.
func (e *PartialError) Unwrap() []error {
	out := make([]error, len(e.Problems))
	for i, p := range e.Problems {
		out[i] = p
	}
	return out
}

// Reader reads a directory repeatedly. It keeps what never changes, the keys and the
// positions of their values, so that reading the same files again allocates next to
// nothing. It keeps no file open between two readings, except while recording. It is not
// safe for concurrent use.
type Reader struct {
	dir  string
	want func(name string) Wanted

	files  map[string]*file
	limits limits
	listed []*file // those in the directory, by name
	names  []byte  // buffer for directory entries
	buf    []byte  // buffer for a file

	order    []*family // in the order in which they were found
	families map[familyKey]*family
	series   map[seriesKey]*series
	labels   map[string]*exposition.Labels
	wanted   map[string]Wanted // results of want

	reading  int // number of the current one, from 1
	used     int // bytes of all files of the current one
	problems []Problem
	more     int
	unusable [numKinds]bool // kinds with an invalid file
	vanished string         // a file that vanished between listing and opening it
	unsorted bool           // listed has new files
	// lostAt is the number of the reading that first found a file gone or replaced, 0 if
	// none was; lostFile is its name.
	lostAt   int
	lostFile string

	// engines distinguishes engines; nil if it does not matter. severalEngines is set once
	// there were several, of which ended has those that have ended.
	engines        Engines
	severalEngines bool
	ended          map[string]bool

	// writes restricts the reader to some files; nil if it reads all. See OnlyGaugesOf.
	writes func(process, file string) bool

	// recorder copies the files in recorded; nil if nothing is being recorded.
	recorder *recorder
	recorded []*file
	readAt   time.Time // when the directory was read last
	// modified is when the directory had last been modified when it was listed, in ns of Unix
	// time. listIsCurrent reports whether any later change shows in that time.
	modified      int64
	listIsCurrent bool
}

// limits are maxFiles, maxAll and maxSeries, or smaller ones in tests.
type limits struct{ files, bytes, series int }

// New returns a reader of a directory, which need not exist yet. It calls want at least
// once for each name in the files: for those of samples, as a page has them (`x_total`,
// `x_bucket`), and for those of TYPE lines (`x_total`, `x`). A nil want means all names in
// every reading.
func New(dir string, want func(name string) Wanted) *Reader {
	if want == nil {
		want = func(string) Wanted { return InPolls }
	}
	r := &Reader{dir: dir, want: want, files: map[string]*file{}, limits: limits{maxFiles, maxAll, maxSeries}}
	r.reset()
	return r
}

// reset drops everything known of the files' contents.
func (r *Reader) reset() {
	r.order = nil
	r.families, r.series = map[familyKey]*family{}, map[seriesKey]*series{}
	r.labels, r.wanted = map[string]*exposition.Labels{}, map[string]Wanted{}
	for _, f := range r.files {
		f.image, f.entries = nil, nil
	}
}

// Read reads the current content of the directory into page, reusing its slices and maps:
// all that is wanted, or if full is false only the gauges and counters that polls want,
// from their files only. A directory without files is an empty page.
//
// It returns a *PartialError if the page lacks something because of an invalid file;
// ErrCleared with an empty page if what was read before is being removed; another error
// with an empty page if the directory cannot be read, wrapping fs.ErrNotExist if it does
// not exist. What a page has is never partial.
func (r *Reader) Read(page *exposition.Page, full bool) error {
	threads.Enter()
	defer threads.Leave()
	r.begin(page)
	r.readAt = time.Now()
	dir, err := openDir(r.dir)
	if err != nil {
		r.StopRecord()
		r.listIsCurrent = false
		if errors.Is(err, fs.ErrNotExist) {
			r.removeUnlisted()
		}
		return fmt.Errorf("reading the directory %s: %w", r.dir, err)
	}
	defer unix.Close(dir)
	r.checkList(dir)
	if err := r.list(dir); err != nil {
		return fmt.Errorf("reading the directory %s: %w", r.dir, err)
	}
	r.checkEngines()
	r.limitMemory()
	least := InPolls
	if full {
		least = InFull
	}
	for _, f := range r.listed {
		if f.skipped = !r.reads(f); !f.skipped && (full || f.kind.polled()) {
			r.readFile(dir, f, least)
		}
	}
	return r.emit(page, least)
}

// begin starts a reading.
func (r *Reader) begin(page *exposition.Page) {
	page.Reset()
	r.reading++
	r.used, r.problems, r.more, r.unusable, r.vanished = 0, nil, 0, [numKinds]bool{}, ""
}

// emit writes the samples that the reading has found to page.
func (r *Reader) emit(page *exposition.Page, least Wanted) error {
	if err := r.checkCleared(); err != nil {
		return fmt.Errorf("reading the directory %s: %w", r.dir, err)
	}
	for _, fam := range r.order {
		if fam.seen != r.reading || r.unusable[fam.kind] {
			continue
		}
		if err := fam.whyUnusable(); err != nil {
			reported := fam.conflict != nil && fam.conflict.seen == r.reading && fam.conflict.kind < fam.kind
			if fam.needed >= least && !reported {
				r.problem(fam.name, "it is", err)
			}
			continue
		}
		if r.severalEngines {
			fam.emit(page, least, r.ended, r.reading)
		} else {
			fam.emit(page, least, nil, r.reading)
		}
	}
	if len(r.problems) > 0 {
		return &PartialError{Dir: r.dir, Problems: r.problems, More: r.more}
	}
	return nil
}

// readFile reads a file and accumulates its values.
func (r *Reader) readFile(dir int, f *file, least Wanted) {
	if r.unusable[f.kind] {
		return // nothing of this kind is returned anyway
	}
	var err error
	for attempt := range attempts {
		var data []byte
		if data, r.buf, err = load(dir, f, r.buf); err == nil {
			if r.used+len(data) > r.limits.bytes {
				err = errTotalSize
				break
			}
			if err = r.parse(f, data, attempt > 0); err == nil {
				r.used += len(data)
				r.accumulate(f, data, least)
				return
			}
		}
		if err == unix.ENOENT {
			break
		}
	}
	if err == unix.ENOENT {
		if !f.live { // otherwise mark_process_dead has removed it
			r.vanished = f.name
		}
		return
	}
	r.unusable[f.kind] = true
	r.problem(f.name, "all "+kindTable[f.kind].metrics+" are", err)
}

// accumulate adds the values of a file to those of the other files.
func (r *Reader) accumulate(f *file, data []byte, least Wanted) {
	cumulative := f.kind.cumulative()
	for i := range f.entries {
		e := &f.entries[i]
		e.family.seen = r.reading
		s := e.series
		if s == nil || s.needed < least {
			continue
		}
		value := floatAt(data, e.value)
		s.accumulate(value, floatAt(data, e.value+8), r.reading)
		if f.engine != "" {
			s.accumulateOf(f.engine, value, floatAt(data, e.value+8), r.reading)
		}
		if !cumulative {
			continue
		}
		if value < e.last && !s.mayFall {
			r.noteLost(f)
			f.countsSince = 0 // another process writes it now
		}
		if value != 0 && f.countsSince == 0 {
			f.countsSince = r.reading
		}
		e.last = value
	}
}

// noteLost notes that what a file had counted is gone. Files that were read before the
// first one was lost belong to the same clearing.
func (r *Reader) noteLost(f *file) {
	if f.countsSince > 0 && f.countsSince >= r.lostAt {
		r.lostAt, r.lostFile = r.reading, f.name
	}
}

// checkCleared returns ErrCleared if a file that had counted something is gone while others
// from before remain, or before new ones exist.
func (r *Reader) checkCleared() error {
	if r.vanished != "" {
		return fmt.Errorf("%.100q vanished: %w", r.vanished, ErrCleared)
	}
	if r.lostAt == 0 {
		return nil
	}
	fresh := false
	for _, f := range r.listed {
		if f.countsSince > 0 && f.countsSince < r.lostAt {
			return fmt.Errorf("%.100q is gone or has been replaced, %.100q has not: %w", r.lostFile, f.name, ErrCleared)
		}
		fresh = fresh || f.kind.cumulative()
	}
	if !fresh {
		return fmt.Errorf("%.100q is gone: %w", r.lostFile, ErrCleared)
	}
	return nil
}

// problem adds a problem to the reading's error.
func (r *Reader) problem(name, what string, err error) {
	if len(r.problems) == maxProblems {
		r.more++
		return
	}
	r.problems = append(r.problems, Problem{name, what, err})
}

// limitMemory drops what is known if it has become too large, because labels may change all
// the time and files come and go.
func (r *Reader) limitMemory() {
	entries := 0
	for _, f := range r.listed {
		entries += len(f.entries)
	}
	if max(len(r.series), len(r.families), len(r.labels), len(r.wanted)) > 4*entries+4096 {
		r.reset()
	}
}
