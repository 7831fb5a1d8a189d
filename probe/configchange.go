package probe

import (
	"fmt"
	"maps"
	"slices"

	"github.com/vobs/vobs/internal/vllm/config"
)

// maxChanges is how many changed settings of one address are kept.
const maxChanges = 16

// compareAnswers notes which settings differ between the process that answers now and the one
// before it. The Prober's lock is held.
func (e *endpoint) compareAnswers() {
	for q := range numConfigQueries {
		before, now := e.answersBefore[q], e.answers[q]
		if before.AsText != now.AsText {
			continue // the two forms have different settings
		}
		for name, value := range now.Values {
			if old, ok := before.Values[name]; ok && old != value && len(e.changed) < maxChanges {
				e.changed[name] = fmt.Sprintf("%s=%s, then %s", name, config.Format(old), config.Format(value))
			}
		}
	}
}

// changes describes what differs between the engines that answered one after the other. The
// Prober's lock is held.
func (e *endpoint) changes() []string {
	e.compareAnswers()
	return slices.Sorted(maps.Values(e.changed))
}
