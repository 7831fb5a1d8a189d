package source

import (
	"fmt"
	"strings"
	"time"
)

// ParseTime reads a moment: `now`, a time before it as -1h, a time of today as 14:05 or 14:05:30 in
// the zone of now, or RFC 3339. It is not after now.
func ParseTime(text string, now time.Time) (time.Time, error) {
	t, err := parseTime(text, now)
	switch {
	case err != nil:
		return t, fmt.Errorf("time %q: use RFC 3339 as 2026-11-30T14:05:00Z, a time of today as 14:05, a time ago as -1h, or now", text)
	case t.After(now):
		return t, fmt.Errorf("time %q is in the future: it is %s now", text, now.Format(time.RFC3339))
	}
	return t, nil
}

func parseTime(text string, now time.Time) (time.Time, error) {
	if text == "now" {
		return now, nil
	}
	if strings.HasPrefix(text, "-") {
		d, err := time.ParseDuration(text)
		return now.Add(d), err
	}
	for _, layout := range []string{"15:04", "15:04:05"} {
		if t, err := time.Parse(layout, text); err == nil {
			return time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), 0, now.Location()), nil
		}
	}
	return time.Parse(time.RFC3339, text)
}
