package testkit

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/vobs/vobs/schema"
)

// Near reports whether got is want to nine digits. It is false for nil.
func Near(got *schema.Float, want float64) bool {
	return got != nil && math.Abs(float64(*got)-want) <= 1e-9*math.Max(1, math.Abs(want))
}

// JSON returns v as JSON for a test's message, or the error of encoding it.
func JSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Codes returns the validity codes of notes, in their order, separated by blanks.
func Codes(notes schema.Notes) string {
	var codes []string
	for _, v := range notes.Validity {
		codes = append(codes, string(v.Code))
	}
	return strings.Join(codes, " ")
}

// Reason returns why a field is null, or "" if the notes have no reason for it.
func Reason(notes schema.Notes, field string) string {
	for _, u := range notes.Unavailable {
		if u.Field == field {
			return u.Reason
		}
	}
	return ""
}

// AssertNullsExplained checks that every null of e has a reason, among the fields whose
// path starts with one of prefixes.
func AssertNullsExplained(t testing.TB, e *schema.GenerationObservability, prefixes ...string) {
	t.Helper()
	for _, path := range schema.UnexplainedNulls(e) {
		if slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(path, prefix) }) {
			t.Errorf("%s is null without a reason", path)
		}
	}
}
