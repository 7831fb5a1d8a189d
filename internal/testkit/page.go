package testkit

import (
	"regexp"
	"strings"
	"testing"
)

// ReplaceLines replaces the lines of a metrics page that start with prefix, not counting
// "# HELP " and "# TYPE ", by one line. If line is empty, it drops them.
func ReplaceLines(t testing.TB, page, prefix, line string) string {
	t.Helper()
	var out strings.Builder
	found := false
	for l := range strings.Lines(page) {
		if strings.HasPrefix(strings.TrimPrefix(strings.TrimPrefix(l, "# HELP "), "# TYPE "), prefix) {
			if !found || line == "" {
				out.WriteString(line)
			}
			found = true
			continue
		}
		out.WriteString(l)
	}
	if !found {
		t.Fatalf("the page has no line that starts with %s", prefix)
	}
	return out.String()
}

// SetValues changes the values of samples. Each of lines is a sample's line with its new
// value.
func SetValues(t testing.TB, page string, lines ...string) string {
	t.Helper()
	for _, line := range lines {
		name := line[:strings.LastIndexByte(line, ' ')+1]
		i := strings.Index(page, "\n"+name) + 1
		if i == 0 {
			t.Fatalf("the page has no sample %s", name)
		}
		page = page[:i] + line + page[i+strings.IndexByte(page[i:], '\n'):]
	}
	return page
}

// DropSamples drops the lines that match a regular expression at their start. TYPE lines
// stay unless it matches them too.
func DropSamples(t testing.TB, page, start string) string {
	t.Helper()
	out := regexp.MustCompile(`(?m)^(`+start+`).*\n`).ReplaceAllString(page, "")
	if out == page {
		t.Fatalf("the page has no line that matches %s", start)
	}
	return out
}

// ReplaceAll replaces strings, given in pairs of old and new. The page must have every
// old one.
func ReplaceAll(t testing.TB, page string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(page, pairs[i]) {
			t.Fatalf("the page has no %s", pairs[i])
		}
		page = strings.ReplaceAll(page, pairs[i], pairs[i+1])
	}
	return page
}
