package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// View is a form in which an event is written.
type View string

// The views of `--schema`.
const (
	// Full is the whole event.
	Full View = "full"
	// CoreOnly is the frozen core alone, for consumers that forbid other keys.
	CoreOnly View = "core"
	// Log is the core wrapped as NeMo Safe Synthesizer's structured log record.
	Log View = "log"
)

// ParseView reads the name of a view.
func ParseView(s string) (View, error) {
	switch v := View(s); v {
	case Full, CoreOnly, Log:
		return v, nil
	}
	return "", fmt.Errorf("unknown schema %q: use full, core or log", s)
}

// logRecord is the record that the seed's JSON log formatter writes for
// logger.runtime.info("vLLM generation complete", extra={"ctx": event}).
type logRecord struct {
	Message   string `json:"message"`
	Ctx       Core   `json:"ctx"`
	Category  string `json:"category"`
	Level     string `json:"level"`
	Timestamp string `json:"timestamp"`
}

// Encode writes the event as one line of JSON in the given view, a newline at
// its end. Lists that must not be null are written as [].
func (e *GenerationObservability) Encode(v View) ([]byte, error) {
	e.fillLists()
	var doc any = e
	switch v {
	case CoreOnly:
		doc = e.Core
	case Log:
		doc = logRecord{
			Message:   "vLLM generation complete",
			Ctx:       e.Core,
			Category:  "runtime",
			Level:     "info",
			Timestamp: time.Now().UTC().Format(time.RFC3339Nano),
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(doc); err != nil {
		return nil, fmt.Errorf("encoding the event: %w", err)
	}
	return b.Bytes(), nil
}

// fillLists turns absent lists and maps that the schema does not allow to be
// null into empty ones.
func (e *GenerationObservability) fillLists() {
	fill(&e.Run.Command)
	fill(&e.Run.Leftovers)
	fill(&e.Validity)
	fill(&e.Unavailable)
	if e.Run.Labels == nil {
		e.Run.Labels = map[string]string{}
	}
	if g := e.Engine; g != nil {
		fill(&g.Endpoints)
		fill(&g.Models)
		fill(&g.Instances)
	}
}

func fill[T any](list *[]T) {
	if *list == nil {
		*list = []T{}
	}
}
