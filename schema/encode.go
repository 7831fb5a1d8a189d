package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// appendJSON appends a value as encoding/json writes it with HTML escaping off. It
// handles the kinds of values that event types consist of, and leaves all others to
// encoding/json. encoding/json alone would first build an encoder for every type of
// the event, which took a sixth of the CPU time that vobs spends on a short command.
func appendJSON(b []byte, v reflect.Value) ([]byte, error) {
	if v.NumMethod() > 0 && v.Kind() != reflect.Pointer {
		if m, ok := v.Interface().(json.Marshaler); ok {
			text, err := m.MarshalJSON()
			return append(b, text...), err
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return append(b, "null"...), nil
		}
		return appendJSON(b, v.Elem())
	case reflect.Bool:
		return strconv.AppendBool(b, v.Bool()), nil
	case reflect.Int, reflect.Int64:
		return strconv.AppendInt(b, v.Int(), 10), nil
	case reflect.String:
		if s := v.String(); isPlain(s) {
			b = append(b, '"')
			b = append(b, s...)
			return append(b, '"'), nil
		}
	case reflect.Slice, reflect.Array:
		if v.Kind() == reflect.Slice && v.IsNil() {
			return append(b, "null"...), nil
		}
		return appendList(b, v)
	case reflect.Map:
		if v.IsNil() {
			return append(b, "null"...), nil
		}
		return appendMap(b, v)
	case reflect.Struct:
		b, _, err := appendFields(append(b, '{'), v, 0)
		return append(b, '}'), err
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v.Interface()); err != nil {
		return b, err
	}
	return append(b, bytes.TrimSuffix(text.Bytes(), []byte("\n"))...), nil
}

// isPlain reports whether a string needs no escaping in JSON.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func appendList(b []byte, v reflect.Value) (_ []byte, err error) {
	b = append(b, '[')
	for i := range v.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendJSON(b, v.Index(i)); err != nil {
			return b, err
		}
	}
	return append(b, ']'), nil
}

// appendMap appends a map with string keys, sorted by key.
func appendMap(b []byte, v reflect.Value) (_ []byte, err error) {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	b = append(b, '{')
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendJSON(b, k); err != nil {
			return b, err
		}
		if b, err = appendJSON(append(b, ':'), v.MapIndex(k)); err != nil {
			return b, err
		}
	}
	return append(b, '}'), nil
}

// appendFields appends a struct's fields, those of embedded structs in their place.
// n is the number of fields already written to the object; the new number is
// returned.
func appendFields(b []byte, v reflect.Value, n int) (_ []byte, _ int, err error) {
	for i := range v.NumField() {
		f, value := v.Type().Field(i), v.Field(i)
		if f.Anonymous {
			if b, n, err = appendFields(b, value, n); err != nil {
				return b, n, err
			}
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || options == "omitempty" && value.IsZero() {
			continue
		}
		if n++; n > 1 {
			b = append(b, ',')
		}
		b = append(strconv.AppendQuote(b, name), ':')
		if b, err = appendJSON(b, value); err != nil {
			return b, n, fmt.Errorf("%s: %w", name, err)
		}
	}
	return b, n, nil
}
