package transactionlog

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/vobs/vobs/internal/wandb/run"
)

// Log is the content of a run's file.
type Log struct {
	// Producer is the version of the program that wrote the file.
	Producer string
	// HasRun reports whether the file names its run; if not, the fields up to Config are
	// empty.
	HasRun                                                        bool
	ID, Entity, Project, Group, JobType, Name, Notes, Host, Sweep string
	Tags                                                          []string
	// Resumed reports whether the run had begun before, so that the file has only a part
	// of it. MayResume reports whether it would continue an existing run (resume="allow"
	// or "must"). The SDK 0.31.0 sets only the latter, also for a new run.
	Resumed, MayResume bool
	// Started is when the run began, in UTC; zero if the file does not have it.
	Started time.Time
	// Config is the run's configuration after all changes, sorted by key.
	Config []run.Item
	// Rows is the number of history rows.
	Rows int64
	// FirstStep and LastStep are the lowest and the highest step of the history, -1 if it
	// has none. A run that was resumed online begins with a step other than 0.
	FirstStep, LastStep int64
	// LastRuntime is the highest _runtime in the history or the summary, in seconds.
	LastRuntime float64
	// Summary is the run's summary after all changes, sorted by key. Values may contain
	// Python's NaN, Infinity and -Infinity.
	Summary []run.Item
	// Files are the names of the run's files.
	Files []string
	// Telemetry and Environment are wandb_internal's TelemetryRecord and
	// EnvironmentRecord as in the file: the run's config._wandb is made from them.
	Telemetry, Environment []byte
	// Exited reports whether the run was finished, with ExitCode.
	Exited   bool
	ExitCode int
}

// Decode reads a file. If it cannot be read to its end, Decode returns the complete part
// together with the error: an [*Error], or the reader's own.
func Decode(r io.Reader) (*Log, error) {
	d := decoder{log: &Log{FirstStep: -1, LastStep: -1}, config: object{}, summary: object{}}
	log := NewReader(bufio.NewReaderSize(r, 2*blockSize))
	var err error
	for err == nil {
		var b []byte
		if b, err = log.Next(); err != nil {
			break
		}
		if err = d.record(b); err != nil {
			err = &Error{log.recordStart, fmt.Errorf("%w: %w", ErrCorrupt, err)}
		}
	}
	d.log.Config, d.log.Summary = d.config.items(), d.summary.items()
	if x, ok := d.summary.float("_runtime"); ok {
		d.log.LastRuntime = max(d.log.LastRuntime, x)
	}
	if err == io.EOF {
		err = nil
	}
	return d.log, err
}

// maxEnvironment bounds the environment records that are kept, in bytes.
const maxEnvironment = 1 << 20

type decoder struct {
	log             *Log
	config, summary object
}

// value is one field of a message: its bytes, or its number.
type value struct {
	b []byte
	n uint64
}

// each calls f for every field of a message that has bytes or a varint; it skips others,
// none of which matters here.
func each(b []byte, f func(field protowire.Number, v value) error) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		var v value
		known := true
		switch kind {
		case protowire.BytesType:
			v.b, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			v.n, n = protowire.ConsumeVarint(b)
		default:
			known = false
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if known {
			if err := f(field, v); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *decoder) record(b []byte) error {
	return each(b, func(field protowire.Number, v value) error {
		switch field {
		case recordHeader:
			return each(v.b, func(field protowire.Number, v value) error {
				if field != headerVersion {
					return nil
				}
				return each(v.b, func(field protowire.Number, v value) error {
					if field == versionProducer {
						d.log.Producer = string(v.b)
					}
					return nil
				})
			})
		case recordRun:
			return d.run(v.b)
		case recordConfig:
			return applyUpdates(d.config, v.b, true)
		case recordSummary:
			return applyUpdates(d.summary, v.b, false)
		case recordHistory:
			return d.history(v.b)
		case recordTelemetry:
			d.log.Telemetry = bytes.Clone(v.b) // each has all that the earlier ones had
		case recordEnvironment:
			// Several of them are one: first the SDK's own part, then the machine's. To
			// protobuf, their concatenation is their merger.
			if len(d.log.Environment)+len(v.b) < maxEnvironment {
				d.log.Environment = append(d.log.Environment, v.b...)
			}
		case recordFiles:
			return d.files(v.b)
		case recordExit:
			d.log.Exited, d.log.ExitCode = true, 0
			return each(v.b, func(field protowire.Number, v value) error {
				if field == exitCode {
					d.log.ExitCode = int(int32(v.n))
				}
				return nil
			})
		}
		return nil
	})
}

func (d *decoder) run(b []byte) error {
	l := d.log
	texts := map[protowire.Number]*string{
		runID: &l.ID, runEntity: &l.Entity, runProject: &l.Project, runGroup: &l.Group, runJobType: &l.JobType,
		runName: &l.Name, runNotes: &l.Notes, runHost: &l.Host, runSweep: &l.Sweep,
	}
	l.Tags = nil
	err := each(b, func(field protowire.Number, v value) error {
		if s := texts[field]; s != nil {
			*s = string(v.b)
			return nil
		}
		switch field {
		case runTags:
			l.Tags = append(l.Tags, string(v.b))
		case runTelemetry:
			d.log.Telemetry = bytes.Clone(v.b)
		case runResumed, runStartingStep:
			l.Resumed = l.Resumed || v.n != 0
		case runResume:
			l.MayResume = v.n != 0
		case runConfig:
			return applyUpdates(d.config, v.b, true)
		case runStarted:
			var seconds, nanos int64
			err := each(v.b, func(field protowire.Number, v value) error {
				switch field {
				case timestampSeconds:
					seconds = int64(v.n)
				case timestampNanos:
					nanos = int64(v.n)
				}
				return nil
			})
			// A run does not start after the year 9999, which JSON could not express.
			if err == nil && seconds >= 0 && seconds < 253402300800 && nanos >= 0 && nanos < 1e9 {
				l.Started = time.Unix(seconds, nanos).UTC()
			}
			return err
		}
		return nil
	})
	l.HasRun = err == nil
	return err
}

// applyUpdates applies a ConfigRecord or a SummaryRecord.
func applyUpdates(o object, b []byte, merge bool) error {
	return each(b, func(field protowire.Number, v value) error {
		if field != update && field != remove {
			return nil
		}
		path, text, err := item(v.b)
		switch {
		case err != nil:
			return err
		case field == remove:
			o.remove(path)
		case text != "":
			o.set(path, text, merge)
		}
		return nil
	})
}

// item reads an element of config, history or summary: a key, or a path of keys, and a
// value as JSON.
func item(b []byte) (path []string, text string, err error) {
	var key string
	err = each(b, func(field protowire.Number, v value) error {
		switch field {
		case itemKey:
			key = string(v.b)
		case itemNested:
			if len(path) <= maxDepth { // set and remove refuse longer paths
				path = append(path, string(v.b))
			}
		case itemJSON:
			text = string(v.b)
		}
		return nil
	})
	if path == nil {
		path = []string{key}
	}
	return path, text, err
}

func (d *decoder) history(b []byte) error {
	step := int64(-1)
	err := each(b, func(field protowire.Number, v value) error {
		switch field {
		case historyItem:
			path, text, err := item(v.b)
			if err != nil || len(path) != 1 {
				return err
			}
			switch path[0] {
			case "_step":
				if n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil {
					step = max(step, n)
				}
			case "_runtime":
				if x, ok := finite(text); ok {
					d.log.LastRuntime = max(d.log.LastRuntime, x)
				}
			}
		case historyStep:
			// A message omits a step of 0.
			step = max(step, 0)
			return each(v.b, func(field protowire.Number, v value) error {
				if field == stepNum {
					step = max(step, int64(v.n))
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.log.Rows++
	d.log.LastStep = max(d.log.LastStep, step)
	if first := d.log.FirstStep; step >= 0 && (first < 0 || step < first) {
		d.log.FirstStep = step
	}
	return nil
}

func (d *decoder) files(b []byte) error {
	return each(b, func(field protowire.Number, v value) error {
		if field != filesItem {
			return nil
		}
		return each(v.b, func(field protowire.Number, v value) error {
			if field == filePath {
				d.log.Files = append(d.log.Files, string(v.b))
			}
			return nil
		})
	})
}

// float returns a number of the top level.
func (o object) float(key string) (float64, bool) {
	if n := o[key]; n != nil && n.children == nil {
		return finite(n.text)
	}
	return 0, false
}

// finite parses a finite number in JSON.
func finite(text string) (float64, bool) {
	text = strings.TrimSpace(text)
	x, err := strconv.ParseFloat(text, 64)
	return x, err == nil && !math.IsNaN(x) && !math.IsInf(x, 0) && json.Valid([]byte(text))
}
