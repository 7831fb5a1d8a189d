package run

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/events"
	"github.com/vobs/vobs/schema"
)

const (
	// DefaultPrefix is NeMo Safe Synthesizer's prefix of the keys in its payload
	// (log_generation_observability of nemo_safe_synthesizer's cli/wandb_setup.py).
	DefaultPrefix = "vllm_gen"
	// EventFile is the name of the run's file with the whole event.
	EventFile = "vobs-event.json"
	// configKey is vobs's only key in the run's configuration, so that nothing of a job's
	// own is hidden. W&B shows the keys below it with dots.
	configKey = "vobs"
)

// Options describe how an event becomes a run.
type Options struct {
	// Prefix is put before the payload's keys, with a slash; if empty, DefaultPrefix.
	Prefix string
	// Writer names this program and its version.
	Writer string
	// Now is the time of an event without times: of the core alone.
	Now time.Time
}

// FromEvent makes a run from an event of this process. line is the event as it was
// delivered, or nil.
func FromEvent(e *schema.GenerationObservability, line []byte, o Options) (*Run, error) {
	// Encode turns numbers that JSON cannot express into null, in e too.
	encoded, err := e.Encode(schema.Full)
	if err != nil {
		return nil, err
	}
	if line == nil {
		line = encoded
	}
	return FromFile(&events.Event{GenerationObservability: e, Line: line}, o)
}

// FromFile makes a run from an event read from a file: the core's keys as the summary and
// as the last row of history, at the command's end; the series as the rows before it; what the
// figures depend on as the configuration; and the whole event as a file.
func FromFile(e *events.Event, o Options) (*Run, error) {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	settings, err := itemsOf(e.Settings)
	if err != nil {
		return nil, fmt.Errorf("engine_runtime_config: %w", err)
	}
	return (&source{e, settings}).render(o)
}

// source is the event that the run is made from.
type source struct {
	*events.Event
	// settings are the items of Event.Settings, nil if that is nil.
	settings []Item
}

// itemsOf returns an object's items in their order, without nulls.
func itemsOf(object json.RawMessage) ([]Item, error) {
	if object == nil {
		return nil, nil
	}
	items, err := Members(object)
	if err != nil {
		return nil, err
	}
	return append([]Item{}, slices.DeleteFunc(Merge(items), func(i Item) bool { return string(i.JSON) == "null" })...), nil
}

func (e *source) render(o Options) (*Run, error) {
	started, ended, err := e.times(o.Now)
	if err != nil {
		return nil, err
	}
	payload, err := e.payload(o.Prefix)
	if err != nil {
		return nil, err
	}
	config, err := encode(e.config())
	if err != nil {
		return nil, fmt.Errorf("the configuration: %w", err)
	}
	return &Run{
		ID:        e.id(),
		Host:      e.GenerationObservability.Run.Hostname,
		Config:    []Item{{configKey, config}},
		Rows:      append(seriesRows(e.Series, started, ended), Row{Time: ended, Items: payload}),
		Summary:   payload,
		Files:     []File{{EventFile, e.Line}},
		StartTime: started,
		Duration:  ended.Sub(started),
		ExitCode:  e.exitCode(),
		Writer:    o.Writer,
	}, nil
}

// id is the same whenever the same event is sent, so that it becomes one run and not two.
func (e *source) id() string {
	if id := e.GenerationObservability.Run.ID; CheckID(id) == nil {
		return id
	}
	sum := sha256.Sum256(e.Line)
	return "vobs-" + hex.EncodeToString(sum[:8])
}

// CheckID returns why W&B would not accept a run id (validate_run_id of
// wandb/sdk/wandb_settings.py; the length is limited by the server).
func CheckID(id string) error {
	switch {
	case id == "":
		return errors.New("a run id cannot be empty")
	case utf8.RuneCountInString(id) > 64:
		return fmt.Errorf("the run id %.20q… has %d characters: W&B takes 64 at most", id, utf8.RuneCountInString(id))
	case strings.ContainsAny(id, ":;,#?/'"):
		return fmt.Errorf("the run id %q has one of the characters : ; , # ? / ' that W&B does not take", id)
	case strings.TrimSpace(id) != id:
		return fmt.Errorf("the run id %q begins or ends with a space", id)
	case strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' || r == '\ufffd' }):
		return fmt.Errorf("the run id %q has a character that no file's name should have", id)
	}
	return nil
}

func (e *source) times(now time.Time) (started, ended time.Time, err error) {
	r := &e.GenerationObservability.Run
	if r.StartedAt == "" {
		return now, now, nil
	}
	if started, err = time.Parse(time.RFC3339Nano, r.StartedAt); err != nil {
		return started, ended, fmt.Errorf("run.started_at: %w", err)
	}
	duration := time.Duration(float64(r.DurationSeconds) * float64(time.Second))
	if duration < 0 {
		return started, ended, fmt.Errorf("run.duration_seconds is negative: %v", r.DurationSeconds)
	}
	// W&B counts in microseconds, and both wire formats must agree.
	started = started.Truncate(time.Microsecond)
	return started, started.Add(duration.Truncate(time.Microsecond)), nil
}

// exitCode is 0 for the core alone, which does not contain how its command ended, and 1 if
// the event is a partial one: nobody saw the command end well.
func (e *source) exitCode() int {
	r := &e.GenerationObservability.Run
	switch {
	case r.ExitCode != nil:
		return *r.ExitCode
	case r.Signal != nil:
		if n := unix.SignalNum(*r.Signal); n > 0 {
			return 128 + int(n)
		}
		var n int // of a real-time signal: SIG34
		if _, err := fmt.Sscanf(*r.Signal, "SIG%d", &n); err == nil && n > 0 && n < 128 {
			return 128 + n
		}
		return 1
	case r.StartError != nil:
		return startErrorCode(*r.StartError)
	case e.CoreOnly:
		return 0
	}
	return 1
}

// startErrorCode returns the exit code of a run whose command could not be started, by the
// text of run.start_error: `cannot run "NAME" (PATH): REASON; HINT`. It is 127 exactly if the
// kernel's error is ENOENT (package child), whose text ends REASON.
func startErrorCode(text string) int {
	if rest, ok := strings.CutPrefix(text, "cannot run "); ok {
		if quoted, err := strconv.QuotedPrefix(rest); err == nil { // a name may contain anything
			text = rest[len(quoted):]
		}
	}
	reason := unix.ENOENT.Error()
	if strings.HasSuffix(text, ": "+reason) || strings.Contains(text, ": "+reason+"; ") {
		return 127
	}
	return 126
}

func (e *source) payload(prefix string) ([]Item, error) {
	core := e.Core
	if e.settings != nil {
		core.EngineRuntimeConfig = schema.EngineRuntimeConfig{}
	}
	var out []Item
	for _, kv := range core.WandbPayload(prefix) {
		text, err := encode(kv.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kv.Key, err)
		}
		out = append(out, Item{kv.Key, text})
	}
	for _, s := range e.settings {
		out = append(out, Item{prefix + "/engine_runtime/" + s.Key, s.JSON})
	}
	return out, nil
}

// config returns what a user would filter runs by.
func (e *source) config() any {
	type host struct {
		Name             string        `json:"name,omitempty"`
		CPUCount         *int          `json:"cpu_count,omitempty"`
		CPULimit         *schema.Float `json:"cpu_limit,omitempty"`
		MemoryTotalBytes *int64        `json:"memory_total_bytes,omitempty"`
		MemoryLimitBytes *int64        `json:"memory_limit_bytes,omitempty"`
	}
	type gpus struct {
		Count            int      `json:"count"`
		Names            []string `json:"names"`
		MemoryTotalBytes []*int64 `json:"memory_total_bytes"`
		DriverVersion    *string  `json:"driver_version,omitempty"`
	}
	type engine struct {
		Models   []string       `json:"models,omitempty"`
		Versions []string       `json:"versions,omitempty"`
		Settings map[string]any `json:"settings,omitempty"`
		Runtime  any            `json:"runtime,omitempty"`
	}
	var c struct {
		Version       string            `json:"version,omitempty"`
		SchemaVersion int               `json:"schema_version,omitempty"`
		RunID         string            `json:"run_id,omitempty"`
		Partial       bool              `json:"partial"`
		CoreOnly      bool              `json:"core_only,omitempty"`
		Command       []string          `json:"command,omitempty"`
		Labels        map[string]string `json:"labels,omitempty"`
		Host          *host             `json:"host,omitempty"`
		GPUs          *gpus             `json:"gpus,omitempty"`
		Engine        *engine           `json:"engine,omitempty"`
	}
	r := &e.GenerationObservability.Run
	c.Version, c.SchemaVersion, c.RunID = r.VobsVersion, e.SchemaVersion, r.ID
	c.Partial, c.CoreOnly = e.Partial, e.CoreOnly
	c.Command, c.Labels = r.Command, r.Labels
	if h := e.Host; h != nil {
		c.Host = &host{r.Hostname, h.CPUCount, h.CPULimit, h.MemoryTotalBytes, h.MemoryLimitBytes}
	} else if r.Hostname != "" {
		c.Host = &host{Name: r.Hostname}
	}
	if e.GPUs != nil {
		g := &gpus{Count: len(e.GPUs), Names: []string{}, MemoryTotalBytes: []*int64{}}
		for _, gpu := range e.GPUs {
			g.Names = append(g.Names, gpu.Name)
			g.MemoryTotalBytes = append(g.MemoryTotalBytes, gpu.MemoryTotalBytes)
			if g.DriverVersion == nil {
				g.DriverVersion = gpu.DriverVersion
			}
		}
		c.GPUs = g
	}
	var g engine
	if e.Engine != nil {
		g.Models = e.Engine.Models
		for _, endpoint := range e.Engine.Endpoints {
			if endpoint.Version != nil {
				g.Versions = append(g.Versions, *endpoint.Version)
			}
		}
		if e.Engine.Config != nil {
			g.Settings = e.Engine.Config.Values
		}
	}
	if e.settings != nil {
		runtime := map[string]json.RawMessage{}
		for _, s := range e.settings {
			runtime[s.Key] = s.JSON
		}
		if len(runtime) > 0 {
			g.Runtime = runtime
		}
	} else if e.EngineRuntimeConfig != (schema.EngineRuntimeConfig{}) {
		g.Runtime = e.EngineRuntimeConfig
	}
	if e.Engine != nil || g.Runtime != nil {
		c.Engine = &g
	}
	return c
}

func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
