package intent

import (
	"math"
	"math/big"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/vobs/vobs/internal/pyvalue"
	"github.com/vobs/vobs/internal/vllm/args"
	"github.com/vobs/vobs/schema"
)

// Effective is the settings that an engine reports.
type Effective struct {
	// Values are the settings by the event's names.
	Values map[string]any
	// Off are the settings that the engine reports to be off.
	Off []string
	// Find looks for a setting that Values does not have in everything that the engine
	// reports. value is nil for None; why may explain why it is not found. Find may be nil.
	Find func(name string) (value any, found bool, why string)
	// Why returns why the engine does not report a setting, or "". It may be nil.
	Why func(name string) string
}

// Result is the outcome of a comparison, as the event has it.
type Result struct {
	// Mismatches are the settings that differ from the intent, formatted as NeMo Safe
	// Synthesizer does: `max_num_seqs: intended=256 actual=128`.
	Mismatches []string
	// Checked are the settings that were compared.
	Checked []string
	// Unchecked are the settings that could not be compared, with the reasons.
	Unchecked []schema.FlagUnchecked
	// DidNotEngage is set if one of schema.CheckedFields is a mismatch.
	DidNotEngage bool
}

// effectiveNames are the settings that have another name in the event than in vLLM.
var effectiveNames = map[string]string{
	"speculative_config.num_speculative_tokens": "num_speculative_tokens",
}

// Compare compares intents with the settings that the engine reports, by value and not by
// spelling: schema.CheckedFields first, in their order, then the others by name.
func Compare(in Intents, effective Effective) Result {
	r := Result{Mismatches: []string{}, Checked: []string{}, Unchecked: []schema.FlagUnchecked{}}
	var names []string
	for _, name := range schema.CheckedFields {
		if _, ok := in.Values[name]; ok {
			names = append(names, name)
		}
	}
	for _, name := range in.Names() {
		if !slices.Contains(schema.CheckedFields[:], name) {
			names = append(names, name)
		}
	}
	for _, name := range names {
		want := in.Values[name]
		if !isSet(want) || name == "max_model_len" && want == int64(-1) { // vLLM's `auto`
			continue
		}
		actual, known := effective.Values[name]
		other, renamed := effectiveNames[name]
		if renamed && !known {
			actual, known = effective.Values[other]
		}
		if !known && (slices.Contains(effective.Off, name) || renamed && slices.Contains(effective.Off, other)) {
			r.Checked = append(r.Checked, name)
			r.mismatch(name, want, nil)
			continue
		}
		if !known {
			if !r.compareFound(name, want, effective) {
				r.Unchecked = append(r.Unchecked, schema.FlagUnchecked{Flag: name, Reason: effective.why(name)})
			}
			continue
		}
		if actual = fromEvent(actual); actual == nil || actual == "None" && want != "None" {
			r.Unchecked = append(r.Unchecked, schema.FlagUnchecked{Flag: name, Reason: effective.why(name)})
			continue
		}
		r.Checked = append(r.Checked, name)
		if !equalValue(name, want, actual) {
			r.mismatch(name, want, coerce(want, actual))
		}
	}
	problems := make([]string, 0, len(in.Problems))
	for name := range in.Problems {
		problems = append(problems, name)
	}
	slices.Sort(problems)
	for _, name := range problems {
		r.Unchecked = append(r.Unchecked, schema.FlagUnchecked{Flag: name, Reason: in.Problems[name]})
	}
	return r
}

// compareFound compares a setting that the event does not have, and reports whether the
// engine reports it.
func (r *Result) compareFound(name string, want any, effective Effective) bool {
	if effective.Find == nil {
		return false
	}
	actual, found, why := effective.Find(name)
	switch {
	case found && (actual == nil || actual == "None" && want != "None"):
		why = "the engine reports None for it"
	case found && !sameForm(want, actual):
		why = "the engine reports it in another form: " + pyvalue.Repr(actual)
	case found:
		r.Checked = append(r.Checked, name)
		if !equalValue(name, want, actual) && !extends(name, want, actual) {
			r.mismatch(name, want, coerce(want, actual))
		}
		return true
	}
	if why != "" {
		r.Unchecked = append(r.Unchecked, schema.FlagUnchecked{Flag: name, Reason: why})
	}
	return why != ""
}

// sameForm reports whether two values have the same form: the engine reports the members
// of some enumerations as numbers whose flags are names, and labels as text.
func sameForm(want, actual any) bool {
	switch want := want.(type) {
	case bool:
		switch actual := actual.(type) {
		case bool, int64:
			return true
		case string:
			_, ok := args.ParseBool(actual)
			return ok
		}
		return false
	case []any:
		_, ok := actual.([]any)
		return ok
	case string:
		switch actual.(type) {
		case string:
			return true
		case bool:
			_, ok := args.ParseBool(want)
			return ok
		case []any:
			return false
		}
	}
	_, wantNumber := args.Float(want)
	_, actualNumber := args.Float(actual)
	return wantNumber && actualNumber
}

// extends reports whether the engine kept a list and only added elements of its own to it.
func extends(name string, want, actual any) bool {
	w, isList := want.([]any)
	a, ok := actual.([]any)
	return name == "compilation_config.custom_ops" && isList && ok && !slices.ContainsFunc(w, func(x any) bool {
		return !slices.ContainsFunc(a, func(y any) bool { return equalValue(name, x, y) })
	})
}

func (r *Result) mismatch(name string, want, actual any) {
	r.Mismatches = append(r.Mismatches, name+": intended="+pyvalue.Repr(want)+" actual="+pyvalue.Repr(actual))
	if slices.Contains(schema.CheckedFields[:], name) {
		r.DidNotEngage = true
	}
}

func (e Effective) why(name string) string {
	if e.Why != nil {
		if why := e.Why(name); why != "" {
			return why
		}
	}
	root, _, _ := strings.Cut(name, ".")
	if !args.IsEngineSetting(root) && canonicalName(name) == name && !slices.ContainsFunc(canonical[:], func(c [2]string) bool { return c[1] == name }) {
		return "the engine does not report it; vLLM 0.32 has no setting of this name"
	}
	return "the engine does not report it"
}

// fromEvent converts a value of the event to the types of Intents.Values.
func fromEvent(v any) any {
	switch v := v.(type) {
	case nil, bool, string, int64, float64, *big.Int, []any, map[string]any:
		return v
	case schema.Float:
		return float64(v)
	}
	r := reflect.ValueOf(v)
	switch {
	case r.Kind() == reflect.Pointer && !r.IsNil():
		return fromEvent(r.Elem().Interface())
	case r.Kind() == reflect.Pointer:
		return nil
	case r.CanInt():
		return r.Int()
	case r.CanUint() && r.Uint() <= math.MaxInt64:
		return int64(r.Uint())
	case r.CanFloat():
		return r.Float()
	case r.Kind() == reflect.Slice:
		list := make([]any, r.Len())
		for i := range list {
			list[i] = fromEvent(r.Index(i).Interface())
		}
		return list
	case r.Kind() == reflect.String:
		return r.String()
	}
	return v
}

// coerce reads text that the engine reports as the type of the intent, because vLLM's labels
// are text: "128" and "False".
func coerce(want, actual any) any {
	text, ok := actual.(string)
	if !ok {
		return actual
	}
	switch want.(type) {
	case bool:
		if b, ok := args.ParseBool(text); ok {
			return b
		}
	case int64, *big.Int:
		if n, err := args.ParseHumanInt(text); err == nil {
			return n
		}
	case float64:
		if f, err := pyvalue.ParseFloat(text); err == nil {
			return f
		}
	}
	return actual
}

// equalValue reports whether a setting has the intended value.
func equalValue(name string, want, actual any) bool {
	if b, ok := want.(bool); ok {
		switch a := actual.(type) {
		case bool:
			return a == b
		case string:
			v, ok := args.ParseBool(a)
			return ok && v == b
		}
	}
	_, bothText := want.(string)
	if _, ok := actual.(string); !ok {
		bothText = false
	}
	if w, ok := bigInt(want); ok && !bothText {
		if a, ok := bigInt(actual); ok {
			return w.Cmp(a) == 0
		}
	}
	if w, ok := args.Float(want); ok && !bothText {
		if a, ok := args.Float(actual); ok {
			return w == a || math.Abs(w-a) <= 1e-9*math.Max(math.Abs(w), math.Abs(a))
		}
	}
	if list, ok := want.([]any); ok {
		other, ok := actual.([]any)
		if !ok { // of several names, the engine reports the first
			return len(list) > 0 && equalValue(name, list[0], actual)
		}
		return slices.EqualFunc(list, other, func(a, b any) bool { return equalValue(name, a, b) })
	}
	w, a := pyvalue.Str(want), pyvalue.Str(actual)
	switch {
	case w == a:
		return true
	case strings.HasSuffix(name, "dtype"):
		return canonicalDtype(w) == canonicalDtype(a)
	case strings.HasSuffix(name, "backend"):
		return canonicalBackend(w) == canonicalBackend(a)
	case name == "model" || name == "tokenizer" || strings.HasSuffix(name, ".model") || strings.HasSuffix(name, "_path") || strings.HasSuffix(name, "_dir"):
		return samePath(w, a)
	}
	return false
}

// bigInt returns an integer, which may be given as text.
func bigInt(v any) (*big.Int, bool) {
	switch v := v.(type) {
	case int64:
		return big.NewInt(v), true
	case *big.Int:
		return v, true
	case string:
		n, err := args.ParseHumanInt(v)
		if err == nil {
			return bigInt(n)
		}
	}
	return nil, false
}

// canonicalDtype returns one name for each data type: vllm/config/cache.py has both fp8 and
// fp8_e4m3 for one type, and vllm/config/model.py has half and float beside torch's names.
func canonicalDtype(s string) string {
	s = strings.TrimPrefix(strings.ToLower(s), "torch.")
	switch s {
	case "fp8", "float8_e4m3fn":
		return "fp8_e4m3"
	case "float8_e5m2":
		return "fp8_e5m2"
	case "half", "fp16":
		return "float16"
	case "bf16":
		return "bfloat16"
	case "float", "fp32":
		return "float32"
	}
	return s
}

// canonicalBackend returns one spelling for each backend: the engine may report the member
// of an enumeration.
func canonicalBackend(s string) string {
	s = s[strings.LastIndexByte(s, '.')+1:]
	return strings.ReplaceAll(strings.ToLower(s), "-", "_")
}

// samePath compares paths and names of models. With HF_HUB_OFFLINE, vLLM replaces a model's
// name by its folder in the cache of the Hugging Face hub (vllm/config/model.py):
// …/models--ORGANISATION--NAME/snapshots/REVISION.
func samePath(want, actual string) bool {
	w, a := filepath.Clean(want), filepath.Clean(actual)
	if w == a {
		return true
	}
	for _, part := range strings.Split(a, "/") {
		if name, ok := strings.CutPrefix(part, "models--"); ok && strings.ReplaceAll(name, "--", "/") == w {
			return true
		}
	}
	if filepath.IsAbs(w) == filepath.IsAbs(a) {
		return false
	}
	w, errW := filepath.Abs(w)
	a, errA := filepath.Abs(a)
	return errW == nil && errA == nil && w == a
}
