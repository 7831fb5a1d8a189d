package config

import (
	"errors"
	"strconv"
	"strings"
)

var errNoText = errors.New("the text is not vLLM's str(VllmConfig)")

// fromText reads str(VllmConfig), which vLLM also logs when an engine starts: a list of
// name=value separated by commas (vllm/config/vllm.py, up to 0.10 vllm/config.py; 0.8 has
// some extra blanks). Some values are Python's repr, with quotes and nested brackets.
// Others have no quotes and can hold any text, as the name of a served model does, so
// three things are left out: that name, a setting whose name occurs twice, and whatever
// follows a bracket that is never closed. The text has neither the number of sequences or
// of batched tokens nor the sizes of the cache.
func fromText(s string) (Values, error) {
	if !strings.HasPrefix(s, "model=") {
		return nil, errNoText
	}
	pairs, err := splitPairs(s)
	if err != nil {
		return nil, err
	}
	v := Values{}
	for i := range keys {
		k := &keys[i]
		var found []pair
		for _, name := range k.textNames {
			if value, ok := pairs[name]; ok {
				found = append(found, value)
			}
		}
		// No version has both names of a setting: one of the two is within a value.
		if len(found) == 1 && found[0].unique && (k.name != "model" || found[0].quoted()) {
			v.putText(k, found[0].unquote())
		}
	}
	if spec, ok := pairs["speculative_config"]; ok && spec.unique {
		v.putSpeculative(spec.text)
	}
	return v, nil
}

// putSpeculative reads SpeculativeConfig(method='eagle3', model='…', num_spec_tokens=3).
// 0.8.0 to 0.8.2 have draft_model='ngram' or a model's name instead of method.
func (v Values) putSpeculative(s string) {
	method, tokens := keyOf("speculative_method"), keyOf("num_speculative_tokens")
	if s == "None" {
		v.put(method, nil)
		v.put(tokens, nil)
		return
	}
	inside, ok := strings.CutPrefix(s, "SpeculativeConfig(")
	if !ok {
		return
	}
	pairs, err := splitPairs(strings.TrimSuffix(inside, ")"))
	if err != nil {
		return
	}
	if p, ok := pairs["method"]; ok && p.unique && p.quoted() {
		v.putText(method, p.unquote())
	}
	if p, ok := pairs["draft_model"]; ok && p.unique && p.unquote() == "ngram" {
		v.putText(method, "ngram")
	}
	if p, ok := pairs["num_spec_tokens"]; ok && p.unique && p.text != "None" {
		v.putText(tokens, p.text)
	}
}

// pair is a value of the list.
type pair struct {
	text   string
	unique bool // its name occurs once
}

func (p pair) quoted() bool { return p.text != "" && (p.text[0] == '\'' || p.text[0] == '"') }

// unquote undoes Python's repr of a string; it returns "" for invalid UTF-8.
func (p pair) unquote() string {
	if !p.quoted() {
		return p.text
	}
	var out strings.Builder
	for s := p.text[1 : len(p.text)-1]; s != ""; {
		// Go has the escapes that repr writes: \n, \', \x1b, \u2028, \U0001f600.
		c, multibyte, rest, err := strconv.UnquoteChar(s, p.text[0])
		switch {
		case err != nil:
			return ""
		case multibyte || c < 0x80:
			out.WriteRune(c)
		case s[0] == '\\': // \xe9 is a letter in Python, a byte in Go
			out.WriteRune(c)
		default:
			return "" // not UTF-8
		}
		s = rest
	}
	return out.String()
}

// splitPairs splits a list of name=value at its commas. A quote opens a string only at the
// beginning of a value or of an element inside brackets.
func splitPairs(s string) (map[string]pair, error) {
	pairs := map[string]pair{}
	for s != "" {
		s = strings.TrimLeft(s, " ")
		n := 0
		for n < len(s) && (s[n] >= 'a' && s[n] <= 'z' || s[n] == '_' || n > 0 && s[n] >= '0' && s[n] <= '9') {
			n++
		}
		if n == 0 || n == len(s) || s[n] != '=' {
			// The rest of a value without quotes that contains a comma.
			end := strings.IndexByte(s, ',')
			if end < 0 {
				break
			}
			s = s[end+1:]
			continue
		}
		name := s[:n]
		end, closed := valueEnd(s[n+1:])
		value := s[n+1 : n+1+end]
		if strings.ContainsAny(value, "\r\n") {
			return nil, errNoText
		}
		if !closed {
			break
		}
		_, twice := pairs[name]
		pairs[name] = pair{strings.TrimRight(value, " "), !twice}
		s = strings.TrimPrefix(s[n+1+end:], ",")
	}
	return pairs, nil
}

// valueEnd returns the index of the comma after a value, or of the end of s; closed is false
// if a quote or a bracket is still open there.
func valueEnd(s string) (end int, closed bool) {
	var open []byte // the closing brackets to come
	begins := true  // a string may begin here
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case begins && (c == '\'' || c == '"'):
			i = stringEnd(s, i)
			if i < 0 {
				return len(s), false
			}
			begins = false
			continue
		case c == '(':
			open = append(open, ')')
		case c == '[':
			open = append(open, ']')
		case c == '{':
			open = append(open, '}')
		case len(open) > 0 && c == open[len(open)-1]:
			open = open[:len(open)-1]
		case len(open) > 0 && (c == ')' || c == ']' || c == '}'):
			return len(s), false
		case len(open) == 0 && c == ',':
			return i, true
		}
		begins = len(open) > 0 && strings.IndexByte("([{,:= ", c) >= 0
	}
	return len(s), len(open) == 0
}

// stringEnd returns the index of the quote that closes the one at s[i], or -1.
func stringEnd(s string, i int) int {
	for j := i + 1; j < len(s); j++ {
		switch s[j] {
		case '\\':
			j++
		case s[i]:
			return j
		}
	}
	return -1
}
