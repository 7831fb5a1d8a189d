package transactionlog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/vobs/vobs/internal/wandb/run"
)

// Field numbers of wandb_internal.proto, as of the SDK 0.31.0. They do not change: the SDK
// reads files of all its earlier versions.
const (
	recordNum         = 1
	recordHistory     = 2
	recordSummary     = 3
	recordConfig      = 5
	recordFiles       = 6
	recordTelemetry   = 11
	recordRun         = 17
	recordExit        = 18
	recordFinal       = 20
	recordHeader      = 21
	recordEnvironment = 26

	headerVersion      = 1 // VersionInfo
	versionProducer    = 1
	versionMinConsumer = 2

	runID           = 1
	runEntity       = 2
	runProject      = 3
	runConfig       = 4 // ConfigRecord
	runGroup        = 6
	runJobType      = 7
	runName         = 8
	runNotes        = 9
	runTags         = 10
	runSweep        = 12
	runHost         = 13
	runStartingStep = 14
	runStarted      = 17 // google.protobuf.Timestamp
	runResumed      = 18
	runTelemetry    = 19
	runResume       = 24
	telemetryCLI    = 5

	// ConfigRecord and SummaryRecord have updates and removals; those two and
	// HistoryRecord have items of one form.
	update      = 1
	remove      = 2
	historyItem = 1
	historyStep = 2
	stepNum     = 1
	itemKey     = 1
	itemNested  = 2
	itemJSON    = 16

	filesItem  = 1
	filePath   = 1
	filePolicy = 2
	// policyEnd is the policy to upload a file when its run ends.
	policyEnd = 1

	exitCode    = 1
	exitRuntime = 2

	timestampSeconds = 1
	timestampNanos   = 2
)

// minConsumer is the oldest SDK that may read the file: what the SDK itself writes.
const minConsumer = "0.70.0"

// Previous is the state of a run that the file continues. `wandb sync` replaces a run's
// configuration and summary by those of the file, so that the file must repeat them.
type Previous struct {
	// NextStep is the first free step.
	NextStep int64
	// Started is when the run began, LastStarted when the newest of its files did;
	// Runtime is how long it had lasted, in seconds.
	Started, LastStarted time.Time
	Runtime              float64
	// Config and Summary are the run's complete ones.
	Config, Summary []run.Item
	// SweepID is the sweep that the run belongs to, or "".
	SweepID string
	// Telemetry and Environment are the run's records as [Log] has them; without them
	// the writer only records its version.
	Telemetry, Environment []byte
}

// Write writes the complete file of a run, with the records in the SDK's order. previous
// is nil for a run that begins with this file. Text that is not UTF-8 is repaired, since
// the SDK's reader would refuse the file.
func Write(w io.Writer, r *run.Run, previous *Previous) error {
	if r.ID == "" {
		return errors.New("a run without an id cannot be written")
	}
	if previous == nil {
		previous = &Previous{Started: r.StartTime}
	}
	e := encoder{log: NewWriter(w)}
	ended := r.StartTime.Add(r.Duration)
	runtime := max(previous.Runtime, ended.Sub(previous.Started).Seconds())

	e.record(recordHeader, message(headerVersion, join(
		text(versionProducer, r.Writer), text(versionMinConsumer, minConsumer))))
	e.record(recordRun, runRecord(r, previous))

	if len(previous.Environment) > 0 {
		e.record(recordEnvironment, previous.Environment)
	}

	step, stamp := previous.NextStep-1, ended
	for _, row := range r.Rows {
		step, stamp = step+1, row.Time
		at := max(previous.Runtime, row.Time.Sub(previous.Started).Seconds())
		b := items(historyItem, row.Items)
		b = append(b, items(historyItem, position(step, stamp, at))...)
		e.record(recordHistory, append(b, message(historyStep, number(stepNum, step))...))
	}

	b := items(update, run.Merge(previous.Summary, r.Summary, position(max(step, 0), stamp, runtime)))
	e.record(recordSummary, append(b, message(update, join(
		text(itemNested, "_wandb"), text(itemNested, "runtime"),
		text(itemJSON, strconv.FormatInt(int64(runtime), 10))))...))

	if len(r.Files) > 0 {
		var b []byte
		for _, f := range r.Files {
			b = append(b, message(filesItem, join(text(filePath, f.Name), number(filePolicy, policyEnd)))...)
		}
		e.record(recordFiles, b)
	}
	e.record(recordExit, join(number(exitCode, int64(r.ExitCode)), number(exitRuntime, int64(runtime))))
	// The SDK no longer writes this record; without it, readers before 0.31 assumed an
	// exit code of 0.
	e.record(recordFinal, nil)
	return e.err
}

// encoder numbers the records.
type encoder struct {
	log *Writer
	num int64
	err error
}

func (e *encoder) record(field protowire.Number, b []byte) {
	if e.err != nil {
		return
	}
	e.num++
	if err := e.log.Append(join(number(recordNum, e.num), message(field, b))); err != nil {
		e.err = fmt.Errorf("record %d: %w", e.num, err)
	}
}

func runRecord(r *run.Run, previous *Previous) []byte {
	// Several files of one run are synced in the order of their start times.
	started := r.StartTime
	if last := previous.LastStarted; !last.IsZero() {
		if started = r.StartTime.Add(r.Duration); !started.After(last) {
			started = last.Add(time.Millisecond)
		}
	}
	telemetry := previous.Telemetry
	if len(telemetry) == 0 {
		telemetry = text(telemetryCLI, r.Writer)
	}
	b := join(
		text(runID, r.ID), text(runEntity, r.Entity), text(runProject, r.Project),
		message(runConfig, items(update, run.Merge(previous.Config, r.Config))),
		text(runGroup, r.Group), text(runJobType, r.JobType), text(runName, r.Name), text(runNotes, r.Notes))
	for _, tag := range r.Tags {
		b = append(b, text(runTags, tag)...)
	}
	return append(b, join(
		text(runSweep, previous.SweepID), text(runHost, r.Host),
		message(runStarted, join(number(timestampSeconds, started.Unix()), number(timestampNanos, int64(started.Nanosecond())))),
		message(runTelemetry, telemetry))...)
}

// position returns the items that W&B needs in every history row, and in the summary.
func position(step int64, at time.Time, runtime float64) []run.Item {
	return []run.Item{
		{Key: "_runtime", JSON: decimal(runtime)},
		{Key: "_step", JSON: strconv.AppendInt(nil, step, 10)},
		{Key: "_timestamp", JSON: decimal(float64(at.UnixMicro()) / 1e6)},
	}
}

func decimal(x float64) json.RawMessage {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		x = 0
	}
	return strconv.AppendFloat(nil, x, 'f', -1, 64)
}

func items(field protowire.Number, list []run.Item) (b []byte) {
	for _, item := range list {
		b = append(b, message(field, join(text(itemKey, item.Key), text(itemJSON, string(item.JSON))))...)
	}
	return b
}

// The following functions omit what is empty or 0, as proto3 does.

func message(field protowire.Number, b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), b)
}

func text(field protowire.Number, s string) []byte {
	if s == "" {
		return nil
	}
	return protowire.AppendString(protowire.AppendTag(nil, field, protowire.BytesType), strings.ToValidUTF8(s, "\ufffd"))
}

func number(field protowire.Number, n int64) []byte {
	if n == 0 {
		return nil
	}
	return protowire.AppendVarint(protowire.AppendTag(nil, field, protowire.VarintType), uint64(n))
}

func join(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}
