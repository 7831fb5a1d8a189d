package config

import (
	"errors"
	"strconv"
	"strings"
)

var errNoText = errors.New("the text is not one that vLLM's VllmConfig makes of itself")

// FromText reads str(VllmConfig), which vLLM also logs when an engine starts: a list
// of name=value with commas between (vllm/config/vllm.py, up to 0.10 vllm/config.py;
// 0.8 has the odd blank more). Some values are Python's repr, with quotes and nested
// brackets; others are bare, and a bare one may hold anything, as a served model's name
// does: it is not taken, nor is a setting whose name stands there twice, nor what
// follows a bracket that is never closed. The text tells no number of sequences, nor of batched tokens,
// nor the cache's sizes.
func FromText(s string) (Values, error) {
	if !strings.HasPrefix(s, "model=") {
		return nil, errNoText
	}
	pairs, err := topLevel(s)
	if err != nil {
		return nil, err
	}
	v := Values{}
	for i := range keys {
		k := &keys[i]
		var found []pair
		for _, name := range k.texts {
			if value, ok := pairs[name]; ok {
				found = append(found, value)
			}
		}
		// No version has both names of a setting: one of the two is in a bare value.
		if len(found) == 1 && found[0].once && (k.name != "model" || found[0].quoted()) {
			v.putText(k, found[0].plain())
		}
	}
	if spec, ok := pairs["speculative_config"]; ok && spec.once {
		v.speculation(spec.text)
	}
	return v, nil
}

// speculation reads SpeculativeConfig(method='eagle3', model='…', num_spec_tokens=3);
// 0.8.0 to 0.8.2 tell draft_model='ngram' or a model's name, and no method.
func (v Values) speculation(s string) {
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
	pairs, err := topLevel(strings.TrimSuffix(inside, ")"))
	if err != nil {
		return
	}
	if p, ok := pairs["method"]; ok && p.once && p.quoted() {
		v.putText(method, p.plain())
	}
	if p, ok := pairs["draft_model"]; ok && p.once && p.plain() == "ngram" {
		v.putText(method, "ngram")
	}
	if p, ok := pairs["num_spec_tokens"]; ok && p.once && p.text != "None" {
		v.putText(tokens, p.text)
	}
}

// pair is a value of the list.
type pair struct {
	text string
	once bool // its name stood there once
}

func (p pair) quoted() bool { return p.text != "" && (p.text[0] == '\'' || p.text[0] == '"') }

// plain takes the quotes of Python's repr off.
func (p pair) plain() string {
	if !p.quoted() {
		return p.text
	}
	var out strings.Builder
	for s := p.text[1 : len(p.text)-1]; s != ""; {
		// Go's escapes are those that repr writes: \n, \', \x1b, \u2028, \U0001f600.
		c, multibyte, rest, err := strconv.UnquoteChar(s, p.text[0])
		switch {
		case err != nil:
			return ""
		case multibyte || c < 0x80:
			out.WriteRune(c)
		case s[0] == '\\': // \xe9 is a letter in Python, a byte in Go
			out.WriteRune(c)
		default:
			return "" // no UTF-8
		}
		s = rest
	}
	return out.String()
}

// topLevel cuts a list of name=value at its commas. A quote counts as one where a
// value, or something inside brackets, begins with it.
func topLevel(s string) (map[string]pair, error) {
	pairs := map[string]pair{}
	for s != "" {
		s = strings.TrimLeft(s, " ")
		n := 0
		for n < len(s) && (s[n] >= 'a' && s[n] <= 'z' || s[n] == '_' || n > 0 && s[n] >= '0' && s[n] <= '9') {
			n++
		}
		if n == 0 || n == len(s) || s[n] != '=' {
			// The rest of a bare value with a comma in it: what it is part of is not known.
			end := strings.IndexByte(s, ',')
			if end < 0 {
				break
			}
			s = s[end+1:]
			continue
		}
		name := s[:n]
		end, whole := valueEnd(s[n+1:])
		value := s[n+1 : n+1+end]
		if strings.ContainsAny(value, "\r\n") {
			return nil, errNoText
		}
		if !whole {
			break
		}
		_, twice := pairs[name]
		pairs[name] = pair{strings.TrimRight(value, " "), !twice}
		s = strings.TrimPrefix(s[n+1+end:], ",")
	}
	return pairs, nil
}

// valueEnd finds the comma behind a value, or the end; whole is false where a quote
// or a bracket is not closed before it.
func valueEnd(s string) (end int, whole bool) {
	var open []byte // the closing brackets that are due
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

// stringEnd finds the quote that closes the one at s[i]; -1 for none.
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
