package run

import (
	"bytes"
	"encoding/json"

	"github.com/vobs/vobs/internal/pyvalue"
)

// A server's JSON was written by Python or by the SDK's core: it may contain NaN, Infinity
// and -Infinity, which encoding/json refuses. Objects of other programs are split and put
// together again, and every value keeps its original text.

// Members splits an object into its keys and values, in their order; duplicate keys stay
// duplicate. It returns an error if text is not an object, in JSON or as Python's json
// module writes it.
func Members(text []byte) (items []Item, err error) {
	err = pyvalue.SplitObject(text, func(key string, value []byte) {
		items = append(items, Item{Key: key, JSON: value})
	})
	if err != nil {
		return nil, err
	}
	return items, nil
}

// Object is the inverse of Members. Like the SDK it does not escape for HTML.
func Object(items []Item) []byte {
	b := []byte{'{'}
	for i, item := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, Encode(item.Key)...), ':'), item.JSON...)
	}
	return append(b, '}')
}

// Merge returns the items of all lists. Of a duplicate key the later value counts, in the
// position of the earlier one.
func Merge(lists ...[]Item) []Item {
	var out []Item
	at := map[string]int{}
	for _, list := range lists {
		for _, item := range list {
			if i, ok := at[item.Key]; ok {
				out[i].JSON = item.JSON
				continue
			}
			at[item.Key] = len(out)
			out = append(out, item)
		}
	}
	return out
}

// Encode writes a value as JSON, on one line. It panics if JSON cannot express the value.
func Encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("wandb: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
