// Package ingest reads the results that load generators write, as the event's group client.
// docs/ingest.md lists what each of them measures, and from when.
//
// A tool is recognised by the content of its file, not by the file's name. What a result lacks
// is null with a reason; nothing is estimated, and no percentiles of several results are merged.
package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/vobs/vobs/schema"
)

// MaxBytes is the size of the largest file that is read. A result without the figures of each
// request has a few KiB; with them it has about 20 bytes for each token.
const MaxBytes = 32 << 20

// maxResults bounds the results in one file.
const maxResults = 10_000

// errUnknown is the error for content of no known tool.
var errUnknown = errors.New("not a result of vllm bench serve, vllm bench sweep, GuideLLM, AIPerf, inference-perf or vobs load")

// Parse reads a result. since is when the run began: of several results in one file, those that
// say they are older are left out. Parse returns the group; its notes have a reason for each of
// the group's nulls but engine_difference_seconds, which takes an engine's figures to compute, and
// what vobs load doubts of its own figures.
func Parse(data []byte, since time.Time) (*schema.Client, schema.Notes, error) {
	if len(data) > MaxBytes {
		return nil, schema.Notes{}, TooLarge(int64(len(data)))
	}
	objects, err := split(data)
	if err != nil {
		return nil, schema.Notes{}, err
	}
	t, err := recognise(objects[len(objects)-1])
	if err != nil {
		return nil, schema.Notes{}, err
	}
	results, err := t.read(objects, since)
	if err != nil {
		return nil, schema.Notes{}, fmt.Errorf("a result of %s that cannot be read: %w", t.name, err)
	}
	r := combine(results)
	return r.client, schema.Notes{Unavailable: r.reasons(), Validity: r.validity}, nil
}

// TooLarge returns the error for a file of more than [MaxBytes].
func TooLarge(size int64) error {
	return fmt.Errorf("%d MiB are more than the %d MiB that are read: write the result without the figures of each request (vllm bench serve without --save-detailed, GuideLLM with a sample size)", size>>20, MaxBytes>>20)
}

// An object is a JSON object in a file.
type object struct {
	raw  json.RawMessage
	keys map[string]json.RawMessage
}

// has reports whether the object has all keys.
func (o object) has(keys ...string) bool {
	for _, k := range keys {
		if _, ok := o.keys[k]; !ok {
			return false
		}
	}
	return true
}

// A tool is a load generator whose results are known.
type tool struct {
	name string
	is   func(object) bool
	read func(objects []object, since time.Time) ([]*result, error)
}

// recognise returns the tool that wrote an object.
func recognise(o object) (tool, error) {
	for _, t := range []tool{
		{vobsLoad, isLoad, onlyLast(readLoad)},
		{benchServe, isBenchServe, readBenchServe},
		{guideLLM, isGuideLLM, readGuideLLM},
		{aiPerf, isAIPerf, onlyLast(readAIPerf)},
		{inferencePerf, isInferencePerf, onlyLast(readInferencePerf)},
	} {
		if t.is(o) {
			return t, nil
		}
	}
	return tool{}, errUnknown
}

// onlyLast returns a tool's read for files with one result, the last object.
func onlyLast(read func(json.RawMessage) (*result, error)) func([]object, time.Time) ([]*result, error) {
	return func(objects []object, _ time.Time) ([]*result, error) {
		r, err := read(objects[len(objects)-1].raw)
		if err != nil {
			return nil, err
		}
		return []*result{r}, nil
	}
}

// split returns the JSON objects in a file: one, several in a row, or a list of them. If the
// file begins with other text, as a copy of stdout may, its last line counts.
func split(data []byte) ([]object, error) {
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	if len(data) == 0 {
		return nil, errors.New("the file is empty")
	}
	data = withoutNaN(data)
	objects, err := decodeAll(data)
	if err == nil {
		return objects, nil
	}
	if i := bytes.LastIndexByte(data, '\n'); i >= 0 && data[0] != '{' && data[0] != '[' {
		if objects, lastErr := decodeAll(data[i+1:]); lastErr == nil {
			return objects, nil
		}
	}
	return nil, err
}

func decodeAll(data []byte) ([]object, error) {
	if one := (object{raw: data}); json.Unmarshal(data, &one.keys) == nil && one.keys != nil {
		return []object{one}, nil // the usual case, and a pass less over a large file
	}
	var raw []json.RawMessage
	if data[0] == '[' {
		if err := json.Unmarshal(data, &raw); err != nil {
			return nil, notJSON(err)
		}
	} else {
		d := json.NewDecoder(bytes.NewReader(data))
		for {
			var v json.RawMessage
			err := d.Decode(&v)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, notJSON(err)
			}
			if raw = append(raw, v); len(raw) > maxResults {
				break
			}
		}
	}
	if len(raw) > maxResults {
		return nil, fmt.Errorf("more than %d results", maxResults)
	}
	var objects []object
	for _, v := range raw {
		o := object{raw: v}
		if len(v) == 0 || v[0] != '{' || json.Unmarshal(v, &o.keys) != nil {
			return nil, errUnknown
		}
		objects = append(objects, o)
	}
	if len(objects) == 0 {
		return nil, errors.New("the file has no results")
	}
	return objects, nil
}

func notJSON(err error) error { return fmt.Errorf("not JSON, or only a part of it: %w", err) }

// withoutNaN replaces the numbers that Python's json module writes and JSON does not have, NaN
// and the infinities, by null.
func withoutNaN(data []byte) []byte {
	if !bytes.Contains(data, []byte("NaN")) && !bytes.Contains(data, []byte("Infinity")) {
		return data
	}
	out := make([]byte, 0, len(data))
	inString := false
	for i := 0; i < len(data); {
		c := data[i]
		switch {
		case inString && c == '\\' && i+1 < len(data):
			out = append(out, c, data[i+1])
			i += 2
			continue
		case c == '"':
			inString = !inString
		case !inString && (c == 'N' || c == 'I' || c == '-'):
			if n := nonFinite(data[i:]); n > 0 {
				out = append(out, "null"...)
				i += n
				continue
			}
		}
		out = append(out, c)
		i++
	}
	return out
}

// nonFinite returns the length of the non-finite number that data begins with; 0 if it does not.
func nonFinite(data []byte) int {
	for _, word := range []string{"NaN", "Infinity", "-Infinity"} {
		if bytes.HasPrefix(data, []byte(word)) {
			return len(word)
		}
	}
	return 0
}
