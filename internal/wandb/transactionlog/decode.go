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

// Log is what a run's file tells of it.
type Log struct {
	// Producer is the version of the program that wrote the file.
	Producer string
	// HasRun says that the file names its run; without, the fields up to Config are empty.
	HasRun                                                        bool
	ID, Entity, Project, Group, JobType, Name, Notes, Host, Sweep string
	Tags                                                          []string
	// Resumed says that the run had begun before, so that the file is not all of it;
	// MayResume that it was to go on where it existed (resume="allow" or "must"). The
	// SDK 0.31.0 sets the latter alone, also for a run that is new.
	Resumed, MayResume bool
	// Started is when the run began, in UTC; zero where the file does not say.
	Started time.Time
	// Config is the run's configuration with all changes to it, sorted by key.
	Config []run.Item
	// Rows counts the lines of the history.
	Rows int64
	// FirstStep and LastStep are the lowest and the highest step of the history, -1
	// without one. A run that was resumed online begins with a step that is not 0.
	FirstStep, LastStep int64
	// LastRuntime is the longest _runtime that the history or the summary names, in seconds.
	LastRuntime float64
	// Summary is the run's summary with all changes to it, sorted by key. Values may
	// hold Python's NaN, Infinity and -Infinity.
	Summary []run.Item
	// Files are the names of the files that the run keeps.
	Files []string
	// Telemetry and Environment are wandb_internal's TelemetryRecord and
	// EnvironmentRecord as they are in the file: what the run's config._wandb is made of.
	Telemetry, Environment []byte
	// Exited says that the run was finished, with ExitCode.
	Exited   bool
	ExitCode int
}

// Decode reads a file. Where it cannot be read to its end, what was whole is given
// beside the error: an [*Error], or what the reader itself failed with.
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
			err = &Error{log.began, fmt.Errorf("%w: %w", ErrCorrupt, err)}
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

// maxEnvironment bounds what is kept of records of the environment, in bytes.
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

// each calls f for every field of a message that is bytes or a varint; others, of
// which none matters here, are passed.
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
			return change(d.config, v.b, true)
		case recordSummary:
			return change(d.summary, v.b, false)
		case recordHistory:
			return d.history(v.b)
		case recordTelemetry:
			d.log.Telemetry = bytes.Clone(v.b) // each holds all that the ones before held
		case recordEnvironment:
			// Several are one: the SDK's own part, and then the machine's. Behind each
			// other they are their merger to protobuf.
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
			return change(d.config, v.b, true)
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
			// Beyond the year 9999 lies no start, and no time that JSON could tell.
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

// change applies a ConfigRecord or a SummaryRecord.
func change(o object, b []byte, merge bool) error {
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

// item reads what config, history and summary are made of: a key, or a path of
// keys, and a value as JSON.
func item(b []byte) (path []string, text string, err error) {
	var key string
	err = each(b, func(field protowire.Number, v value) error {
		switch field {
		case itemKey:
			key = string(v.b)
		case itemNested:
			if len(path) <= maxDepth { // set and remove refuse what is longer
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
			// A step of 0 is left out of its message.
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

// float reads a number of the top level.
func (o object) float(key string) (float64, bool) {
	if n := o[key]; n != nil && n.kids == nil {
		return finite(n.text)
	}
	return 0, false
}

func finite(text string) (float64, bool) {
	text = strings.TrimSpace(text)
	x, err := strconv.ParseFloat(text, 64)
	return x, err == nil && !math.IsNaN(x) && !math.IsInf(x, 0) && json.Valid([]byte(text))
}
