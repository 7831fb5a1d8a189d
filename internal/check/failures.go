package check

import "strings"

// Failure is a reason why the result fails.
type Failure struct {
	Title   string // short: the figure or the code of the note, and the verdict
	Message string // names the event
}

// Failures returns why the result fails, limit by limit and note by note.
func (r Result) Failures() []Failure {
	var out []Failure
	for _, e := range r.Events {
		for _, c := range e.Checks {
			if !c.Fails {
				continue
			}
			measured, limit := c.texts()
			parts := []string{r.label(e), c.Name + " is " + measured + ", the limit is " + limit}
			if c.Verdict == Missing {
				parts[1] = c.Name + " is missing, the limit is " + limit
			}
			if c.Reason != "" {
				parts = append(parts, c.Reason)
			}
			out = append(out, Failure{c.Name + " " + string(c.Verdict), strings.Join(parts, ": ")})
		}
		for _, n := range e.Notes {
			if n.Fails {
				out = append(out, Failure{string(n.Code), r.label(e) + ": " + n.Message})
			}
		}
	}
	return out
}
