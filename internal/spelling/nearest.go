package spelling

import (
	"cmp"
	"slices"
	"strings"
)

// Nearest returns at most n of the names, those that word most likely meant: those that end in
// the word's steps, as gpus.*.peak_bytes for peak_bytes; if there are none, those that begin with
// the word; if there are none, those that differ in the fewest letters, at most a quarter.
func Nearest(word string, names []string, n int) []string {
	type candidate struct {
		name string
		far  int
	}
	if word == "" {
		return nil
	}
	var found []candidate
	most := max(2, len(word)/4)
	for _, name := range names {
		far := 0
		switch {
		case strings.HasSuffix(name, "."+word):
			far = -2
		case len(word) > 1 && strings.HasPrefix(name, word):
			far = -1
		case len(word) > len(name)+most: // and a long word would take long
			continue
		default:
			if far = Distance(word, name); far > most || far >= len(name)-1 {
				continue
			}
		}
		found = append(found, candidate{name, far})
	}
	slices.SortStableFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.far, b.far), cmp.Compare(len(a.name), len(b.name)))
	})
	var out []string
	for _, c := range found[:min(n, len(found))] {
		if c.far == found[0].far {
			out = append(out, c.name)
		}
	}
	return out
}
