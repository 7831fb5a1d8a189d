package schema

import (
	"fmt"
	"math"
	"reflect"
	"time"
)

// View is a format in which an event is written.
type View string

// The values of `--schema`.
const (
	// Full is the whole event.
	Full View = "full"
	// CoreOnly is the frozen core alone, for consumers that reject other keys.
	CoreOnly View = "core"
	// Log is the core wrapped as NeMo Safe Synthesizer's structured log record.
	Log View = "log"
)

// ParseView returns the view with the given name.
func ParseView(s string) (View, error) {
	switch v := View(s); v {
	case Full, CoreOnly, Log:
		return v, nil
	}
	return "", fmt.Errorf("unknown value %q: use full, core or log", s)
}

// recordMessage is the message of NeMo Safe Synthesizer's log record in its newest
// version.
const recordMessage = "vLLM generation complete"

// logRecord is the record that NeMo Safe Synthesizer's JSON log formatter writes for
// logger.runtime.info("vLLM generation complete", extra={"ctx": event}).
type logRecord struct {
	Message   string `json:"message"`
	Ctx       Core   `json:"ctx"`
	Category  string `json:"category"`
	Level     string `json:"level"`
	Timestamp string `json:"timestamp"`
}

// Encode returns the event in the given view, as one line of JSON with a newline at
// the end. Lists that must not be null are written as [].
func (e *GenerationObservability) Encode(v View) ([]byte, error) {
	e.fillLists()
	var doc any = e
	switch v {
	case CoreOnly:
		doc = e.Core
	case Log:
		doc = logRecord{
			Message:   recordMessage,
			Ctx:       e.Core,
			Category:  "runtime",
			Level:     "info",
			Timestamp: time.Now().UTC().Format(time.RFC3339Nano),
		}
	}
	b, err := appendJSON(nil, reflect.ValueOf(doc))
	if err != nil {
		return nil, fmt.Errorf("encoding the event: %w", err)
	}
	return append(b, '\n'), nil
}

// fillLists replaces nil lists and maps that must not be null by empty ones. It also
// replaces numbers without a JSON form by nil in values of any type: a single one
// would make encoding/json fail on the whole event.
func (e *GenerationObservability) fillLists() {
	fill(&e.Run.Command)
	fill(&e.Run.Leftovers)
	fill(&e.Validity)
	fill(&e.Unavailable)
	if e.Series != nil {
		fill(&e.Series.Curves)
		for i := range e.Series.Curves {
			fill(&e.Series.Curves[i].Max)
			fill(&e.Series.Curves[i].Mean)
		}
	}
	if e.Run.Labels == nil {
		e.Run.Labels = map[string]string{}
	}
	if g := e.Engine; g != nil {
		fill(&g.Endpoints)
		fill(&g.Models)
		fill(&g.Instances)
		if g.Config != nil {
			if g.Config.Values == nil {
				g.Config.Values = map[string]any{}
			}
			if g.Config.Sources == nil {
				g.Config.Sources = map[string]string{}
			}
			for name, v := range g.Config.Values {
				g.Config.Values[name] = finite(v)
			}
		}
	}
	if o := e.Omni; o != nil {
		fill(&o.Models)
		fill(&o.Stages)
		for i := range o.Stages {
			fill(&o.Stages[i].Replicas)
		}
	}
	if e.Diagnosis != nil {
		e.Diagnosis.FillLists()
	}
	if e.Client != nil {
		e.Client.FillLists()
	}
	for _, v := range e.Validity {
		if v.Evidence != nil {
			v.Evidence.Value = finite(v.Evidence.Value)
			v.Evidence.Threshold = finite(v.Evidence.Threshold)
		}
	}
}

// finite replaces NaN and the infinities in v, at any depth, by nil.
func finite(v any) any {
	switch v := v.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
	case float32:
		if finite(float64(v)) == nil {
			return nil
		}
	case []any:
		for i := range v {
			v[i] = finite(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = finite(v[key])
		}
	}
	return v
}

func fill[T any](list *[]T) {
	if *list == nil {
		*list = []T{}
	}
}
