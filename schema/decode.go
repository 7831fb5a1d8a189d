package schema

import (
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// Event decodes the event that [StreamValidator.Part] or [StreamValidator.Document] found last,
// and reports whether it is the core alone. The event must be valid. Its texts are parts of one
// string that holds the whole document. It is faster than encoding/json, which would read the
// text again. ok is false for what is left to encoding/json: an event in a log record, one
// without engine_runtime_config or with one that vobs would not write, and one with duplicate
// keys or with an integer that is written as 1e3.
func (v *StreamValidator) Event() (e *GenerationObservability, coreOnly, ok bool) {
	if v.last == nil || v.last.get("engine_runtime_config") == nil {
		return nil, false, false
	}
	e = new(GenerationObservability)
	if !decoderOf(reflect.TypeFor[GenerationObservability]())(v.last, reflect.ValueOf(e).Elem()) {
		return nil, false, false
	}
	return e, v.last.get("schema_version") == nil && v.last.get("run") == nil, true
}

// A decoder stores a JSON value in a Go value as encoding/json does. It reports false for what
// it leaves to encoding/json.
type decoder func(v *value, into reflect.Value) bool

// decoders holds the decoder of each type that was decoded, by its reflect.Type.
var decoders sync.Map

func decoderOf(t reflect.Type) decoder {
	if known, ok := decoders.Load(t); ok {
		return known.(decoder)
	}
	d := newDecoder(t)
	decoders.Store(t, d)
	return d
}

func newDecoder(t reflect.Type) decoder {
	switch t.Kind() {
	case reflect.Pointer:
		return pointerDecoder(t)
	case reflect.Struct:
		return structDecoder(t)
	case reflect.Slice:
		return sliceDecoder(t)
	case reflect.Array:
		return arrayDecoder(t)
	case reflect.Map:
		return mapDecoder(t)
	case reflect.Interface:
		return decodeAny
	default:
		return decodeScalar
	}
}

// decodeScalar decodes what is not null. As in encoding/json, null changes nothing.
func decodeScalar(v *value, into reflect.Value) bool {
	if v.kind == kindNull {
		return true
	}
	switch kind := into.Kind(); {
	case kind == reflect.Bool && v.kind == kindBool:
		into.SetBool(v.text == "true")
	case kind == reflect.String && v.kind == kindString:
		into.SetString(v.text)
	case kind == reflect.Float64 && v.kind == kindNumber:
		x, ok := v.float()
		if !ok {
			return false
		}
		into.SetFloat(x)
	case (kind == reflect.Int || kind == reflect.Int64) && v.kind == kindNumber:
		n, err := strconv.ParseInt(v.text, 10, 64)
		if err != nil {
			return false
		}
		into.SetInt(n)
	default:
		return false
	}
	return true
}

func pointerDecoder(t reflect.Type) decoder {
	elem := decoderOf(t.Elem())
	return func(v *value, into reflect.Value) bool {
		if v.kind == kindNull {
			return true
		}
		into.Set(reflect.New(t.Elem()))
		return elem(v, into.Elem())
	}
}

func structDecoder(t reflect.Type) decoder {
	type field struct {
		index  []int
		decode decoder
	}
	fields := map[string]field{}
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && !f.Anonymous {
			fields[name] = field{f.Index, decoderOf(f.Type)}
		}
	}
	closed := t == reflect.TypeFor[EngineRuntimeConfig]()
	return func(v *value, into reflect.Value) bool {
		if v.kind != kindObject {
			return v.kind == kindNull && !closed
		}
		for i := range v.members {
			m := &v.members[i]
			f, known := fields[m.key]
			switch {
			case m.hidden || closed && !known:
				return false
			case known && !f.decode(m.value, into.FieldByIndex(f.index)):
				return false
			}
		}
		return true
	}
}

func sliceDecoder(t reflect.Type) decoder {
	elem := decoderOf(t.Elem())
	return func(v *value, into reflect.Value) bool {
		if v.kind != kindArray {
			return v.kind == kindNull
		}
		into.Set(reflect.MakeSlice(t, len(v.elems), len(v.elems)))
		for i, e := range v.elems {
			if !elem(e, into.Index(i)) {
				return false
			}
		}
		return true
	}
}

func arrayDecoder(t reflect.Type) decoder {
	elem := decoderOf(t.Elem())
	return func(v *value, into reflect.Value) bool {
		if v.kind != kindArray || len(v.elems) != t.Len() {
			return v.kind == kindNull
		}
		for i, e := range v.elems {
			if !elem(e, into.Index(i)) {
				return false
			}
		}
		return true
	}
}

// mapDecoder decodes maps whose keys are strings.
func mapDecoder(t reflect.Type) decoder {
	elem := decoderOf(t.Elem())
	return func(v *value, into reflect.Value) bool {
		if v.kind != kindObject {
			return v.kind == kindNull
		}
		into.Set(reflect.MakeMapWithSize(t, len(v.members)))
		for i := range v.members {
			m := &v.members[i]
			x := reflect.New(t.Elem()).Elem()
			if m.hidden || !elem(m.value, x) {
				return false
			}
			into.SetMapIndex(reflect.ValueOf(m.key).Convert(t.Key()), x)
		}
		return true
	}
}

func decodeAny(v *value, into reflect.Value) bool {
	x, ok := v.any()
	if ok && x != nil {
		into.Set(reflect.ValueOf(x))
	}
	return ok
}

// any returns the value as encoding/json decodes it without a type.
func (v *value) any() (x any, ok bool) {
	switch v.kind {
	case kindBool:
		return v.text == "true", true
	case kindString:
		return v.text, true
	case kindNumber:
		return v.float()
	case kindArray:
		list := make([]any, len(v.elems))
		for i, e := range v.elems {
			if list[i], ok = e.any(); !ok {
				return nil, false
			}
		}
		return list, true
	case kindObject:
		object := make(map[string]any, len(v.members))
		for _, m := range v.members {
			if m.hidden {
				return nil, false
			}
			if object[m.key], ok = m.value.any(); !ok {
				return nil, false
			}
		}
		return object, true
	}
	return nil, true
}
