package transactionlog

import (
	"slices"
	"strings"

	"github.com/vobs/vobs/internal/wandb/run"
)

// maxDepth bounds how deep values nest: what is deeper stays as it is written.
const maxDepth = 64

// object is a tree of values by key, as config and summary are one: a record may
// set or remove what is deep in it. Values keep the text they came as, for Python
// writes tokens that are no JSON (NaN, Infinity, -Infinity).
type object map[string]*node

// node is a value: kids where it is an object, else text.
type node struct {
	text string
	kids object
}

// set puts a value at a path, through whatever is in the way.
func (o object) set(path []string, text string, merge bool) {
	if len(path) == 0 || len(path) > maxDepth {
		return
	}
	for _, key := range path[:len(path)-1] {
		n := o[key]
		if n == nil || n.kids == nil {
			n = &node{kids: object{}}
			o[key] = n
		}
		o = n.kids
	}
	key := path[len(path)-1]
	kids, ok := members(text, maxDepth-len(path))
	switch {
	case !ok:
		o[key] = &node{text: text}
	case merge && o[key] != nil && o[key].kids != nil:
		o[key].kids.merge(kids)
	default:
		o[key] = &node{kids: kids}
	}
}

func (o object) merge(from object) {
	for key, n := range from {
		if old := o[key]; old != nil && old.kids != nil && n.kids != nil {
			old.kids.merge(n.kids)
		} else {
			o[key] = n
		}
	}
}

// remove takes away what is at a path.
func (o object) remove(path []string) {
	for len(path) > 1 {
		n := o[path[0]]
		if n == nil || n.kids == nil {
			return
		}
		o, path = n.kids, path[1:]
	}
	if len(path) == 1 {
		delete(o, path[0])
	}
}

// items gives the top level, sorted by key.
func (o object) items() []run.Item {
	out := make([]run.Item, 0, len(o))
	for key, n := range o {
		out = append(out, run.Item{Key: key, JSON: n.append(nil)})
	}
	slices.SortFunc(out, func(a, b run.Item) int { return strings.Compare(a.Key, b.Key) })
	return out
}

func (n *node) append(b []byte) []byte {
	if n.kids == nil {
		return append(b, n.text...)
	}
	return append(b, run.Object(n.kids.items())...)
}

// members takes an object apart, to the given depth; ok is false for all that is
// no object or no JSON, but for Python's tokens.
func members(text string, depth int) (_ object, ok bool) {
	if depth <= 0 {
		return nil, false
	}
	items, err := run.Members([]byte(text))
	if err != nil {
		return nil, false
	}
	out := object{}
	for _, item := range items {
		n := &node{text: string(item.JSON)}
		if kids, ok := members(n.text, depth-1); ok {
			n = &node{kids: kids}
		}
		out[item.Key] = n
	}
	return out, true
}
