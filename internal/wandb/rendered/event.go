package rendered

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/schema"
)

const (
	// DefaultPrefix is what the seed puts before the keys of its payload
	// (log_generation_observability of nemo_safe_synthesizer's cli/wandb_setup.py).
	DefaultPrefix = "vllm_gen"
	// EventFile is the run's file that holds the whole event.
	EventFile = "vobs-event.json"
	// configKey is the one key of the run's configuration that is ours: in a job's
	// own run nothing of the job's may be hidden. W&B shows what is in it with dots.
	configKey = "vobs"
)

// Options say how an event becomes a run.
type Options struct {
	// Prefix stands before the payload's keys, with a slash; DefaultPrefix where empty.
	Prefix string
	// Writer names this program and its version.
	Writer string
	// Now is the time of an event that tells none: of a core without the rest.
	Now time.Time
}

// Event is an event as it was delivered or read.
type Event struct {
	*schema.GenerationObservability
	// Line is the event as it was delivered: compact JSON and a newline.
	Line []byte
	// CoreOnly says that there is nothing but the eight keys of the core.
	CoreOnly bool
	// settings are engine_runtime_config's, which hold anything where the event is
	// not of vobs.
	settings []Item
}

// FromEvent renders an event of this process. line is the event as it was
// delivered, or nil.
func FromEvent(e *schema.GenerationObservability, line []byte, o Options) (*Run, error) {
	// Numbers that JSON cannot tell become null in this.
	encoded, err := e.Encode(schema.Full)
	if err != nil {
		return nil, err
	}
	if line == nil {
		line = encoded
	}
	return (&Event{GenerationObservability: e, Line: line}).Run(o)
}

// Parse reads a file of events: one JSON document, or JSON lines. Each is the whole
// event, the core alone, or the seed's log record; records of other kinds are
// passed over. Any event with a fault makes the file be refused, with its line.
func Parse(data []byte) ([]*Event, error) {
	// encoding/json alone would take a load average of two numbers, and add a third.
	_, problems, err := schema.ValidateStream(bytes.NewReader(data), schema.Options{})
	if err != nil {
		return nil, err
	}
	for _, p := range problems {
		if !p.Warning {
			return nil, fmt.Errorf("line %v", p)
		}
	}
	var out []*Event
	dec := json.NewDecoder(bytes.NewReader(data))
	for dec.More() {
		var doc json.RawMessage
		if err := dec.Decode(&doc); err != nil {
			return nil, err
		}
		if events, _, _ := schema.ValidateStream(bytes.NewReader(doc), schema.Options{}); events == 0 {
			continue // a log record of another kind
		}
		e, err := parse(doc)
		if err != nil {
			return nil, fmt.Errorf("event %d: %w", len(out)+1, err)
		}
		out = append(out, e)
	}
	return out, nil
}

// parse reads what was found to be an event.
func parse(doc []byte) (*Event, error) {
	var line bytes.Buffer
	if err := json.Compact(&line, doc); err != nil {
		return nil, fmt.Errorf("not an event: %w", err)
	}
	line.WriteByte('\n')
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(doc, &keys); err != nil {
		return nil, fmt.Errorf("not an event: %w", err)
	}
	out := &Event{Line: line.Bytes()}
	switch {
	case keys["schema_version"] != nil || keys["run"] != nil:
	case keys["message"] != nil || keys["ctx"] != nil:
		var record struct {
			Ctx   json.RawMessage
			Extra struct{ Ctx json.RawMessage }
		}
		if err := json.Unmarshal(doc, &record); err != nil {
			return nil, fmt.Errorf("not a log record of an event: %w", err)
		}
		if doc = record.Ctx; doc == nil {
			doc = record.Extra.Ctx
		}
		out.CoreOnly = true
	default:
		out.CoreOnly = true
	}
	// The field here hides the one of the core.
	var event struct {
		schema.GenerationObservability
		EngineRuntimeConfig json.RawMessage `json:"engine_runtime_config"`
	}
	if err := json.Unmarshal(doc, &event); err != nil {
		return nil, fmt.Errorf("not an event: %w", err)
	}
	out.GenerationObservability = &event.GenerationObservability
	if text := event.EngineRuntimeConfig; text != nil {
		strict := json.NewDecoder(bytes.NewReader(text))
		strict.DisallowUnknownFields()
		if err := strict.Decode(&event.Core.EngineRuntimeConfig); err == nil {
			return out, nil // as vobs writes it
		}
	}
	var err error
	if out.settings, err = settingsIn(event.EngineRuntimeConfig); err != nil {
		return nil, fmt.Errorf("not an event: engine_runtime_config: %w", err)
	}
	return out, nil
}

// settingsIn gives an object's items in their order, without nulls.
func settingsIn(object json.RawMessage) ([]Item, error) {
	if len(object) == 0 {
		return []Item{}, nil
	}
	items, err := Members(object)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(Merge(items), func(i Item) bool { return string(i.JSON) == "null" }), nil
}

// Run renders the event: the seed's payload as the summary and as one line of
// history at the command's end, what the figures depend on as the configuration,
// and the whole event as a file.
func (e *Event) Run(o Options) (*Run, error) {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
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
		Rows:      []Row{{Time: ended, Items: payload}},
		Summary:   payload,
		Files:     []File{{EventFile, e.Line}},
		StartTime: started,
		Duration:  ended.Sub(started),
		ExitCode:  e.exitCode(),
		Writer:    o.Writer,
	}, nil
}

// id is the same whenever the same event is sent: then it is one run, and not two.
func (e *Event) id() string {
	if id := e.GenerationObservability.Run.ID; CheckID(id) == nil {
		return id
	}
	sum := sha256.Sum256(e.Line)
	return "vobs-" + hex.EncodeToString(sum[:8])
}

// CheckID says why W&B would not take a run id (validate_run_id of
// wandb/sdk/wandb_settings.py; the length is the server's).
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

func (e *Event) times(now time.Time) (started, ended time.Time, err error) {
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
	// W&B counts in microseconds: both wire formats are to say the same.
	started = started.Truncate(time.Microsecond)
	return started, started.Add(duration.Truncate(time.Microsecond)), nil
}

// exitCode is 0 for a core alone, which does not say how its command ended, and 1
// where an event so far is the last one: nobody saw the command end well.
func (e *Event) exitCode() int {
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
	case r.StartError != nil && strings.Contains(*r.StartError, "not found"):
		return 127
	case r.StartError != nil:
		return 126
	case e.CoreOnly:
		return 0
	}
	return 1
}

func (e *Event) payload(prefix string) ([]Item, error) {
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

// config is what a user would filter runs by.
func (e *Event) config() any {
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
