package transactionlog

import (
	"slices"
	"strings"

	"github.com/vobs/vobs/internal/wandb/run"
)

// maxDepth bounds how deeply values nest: what is deeper keeps its text.
const maxDepth = 64

// object is a tree of values by key, like config and summary: a record may set or remove
// something deep inside. Values keep their original text, since Python writes tokens that
// are not JSON (NaN, Infinity, -Infinity).
type object map[string]*node

// node is a value: an object with children, or a text.
type node struct {
	text     string
	children object
}

// set sets the value at a path, and replaces whatever is in the way.
func (o object) set(path []string, text string, merge bool) {
	if len(path) == 0 || len(path) > maxDepth {
		return
	}
	for _, key := range path[:len(path)-1] {
		n := o[key]
		if n == nil || n.children == nil {
			n = &node{children: object{}}
			o[key] = n
		}
		o = n.children
	}
	key := path[len(path)-1]
	children, ok := members(text, maxDepth-len(path))
	switch {
	case !ok:
		o[key] = &node{text: text}
	case merge && o[key] != nil && o[key].children != nil:
		o[key].children.merge(children)
	default:
		o[key] = &node{children: children}
	}
}

func (o object) merge(from object) {
	for key, n := range from {
		if old := o[key]; old != nil && old.children != nil && n.children != nil {
			old.children.merge(n.children)
		} else {
			o[key] = n
		}
	}
}

// remove removes the value at a path.
func (o object) remove(path []string) {
	for len(path) > 1 {
		n := o[path[0]]
		if n == nil || n.children == nil {
			return
		}
		o, path = n.children, path[1:]
	}
	if len(path) == 1 {
		delete(o, path[0])
	}
}

// items returns the top level, sorted by key.
func (o object) items() []run.Item {
	out := make([]run.Item, 0, len(o))
	for key, n := range o {
		out = append(out, run.Item{Key: key, JSON: n.append(nil)})
	}
	slices.SortFunc(out, func(a, b run.Item) int { return strings.Compare(a.Key, b.Key) })
	return out
}

func (n *node) append(b []byte) []byte {
	if n.children == nil {
		return append(b, n.text...)
	}
	return append(b, run.Object(n.children.items())...)
}

// members parses an object to the given depth; ok is false for anything that is not an
// object, or not JSON with Python's tokens.
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
		if children, ok := members(n.text, depth-1); ok {
			n = &node{children: children}
		}
		out[item.Key] = n
	}
	return out, true
}
