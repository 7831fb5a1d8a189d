package diagnose

import (
	"fmt"

	"github.com/vobs/vobs/schema"
)

// Preset is a set of rules.
type Preset string

const (
	// Default are the rules of docs/diagnosis.md.
	Default Preset = "default"
	// Document are those of the production document that vobs implements, with its thresholds
	// to the letter. Many of them fail on real engines.
	Document Preset = "document"
)

// ParsePreset returns the preset with the given name; "" is [Default].
func ParsePreset(name string) (Preset, error) {
	switch p := Preset(name); p {
	case "":
		return Default, nil
	case Default, Document:
		return p, nil
	}
	return "", fmt.Errorf("unknown preset %q: use default or document", name)
}

// Options are what a diagnosis depends on besides the event.
type Options struct {
	// Preset is the set of rules; "" is [Default].
	Preset Preset
	// SharedPrefix is the share of the prompt tokens, from 0 to 1, that a perfect prefix cache
	// would have found; nil if unknown.
	SharedPrefix *float64
}

// Diagnose returns the diagnosis of an event; nil if it has no figures of an engine. It does not
// change the event.
func Diagnose(e *schema.GenerationObservability, o Options) *schema.Diagnosis {
	if e.Engine == nil {
		return nil
	}
	d := &schema.Diagnosis{BindingResource: schema.BindingResource{Code: schema.BindingUnknown}}
	d.FillLists()
	return d
}
