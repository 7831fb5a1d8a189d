package redact

import (
	"bytes"
	"encoding/json"
	"strings"
)

// maxNesting bounds how deep texts in texts are looked into: JSON in strings of JSON.
const maxNesting = 8

// document redacts a JSON document; ok is false if s is not one that can have members. The
// result is a JSON document again, and differs from s in the redacted values only.
func (r *Redactor) document(s string, nesting int) (clean string, ok bool) {
	start := strings.TrimLeft(s, shellBlanks)
	if start == "" || start[0] != '{' && start[0] != '[' || nesting > maxNesting || !json.Valid([]byte(s)) {
		return "", false
	}
	w := jsonWalk{r: r, s: s, nesting: nesting}
	w.value()
	w.out.WriteString(s[w.copied:])
	return w.out.String(), true
}

// jsonWalk copies a valid JSON document and replaces secrets. It has copied s up to copied.
type jsonWalk struct {
	r          *Redactor
	s          string
	at, copied int
	nesting    int
	out        strings.Builder
}

func (w *jsonWalk) blanks() {
	for w.at < len(w.s) && strings.IndexByte(shellBlanks, w.s[w.at]) >= 0 {
		w.at++
	}
}

// replace writes text for what has been read since from.
func (w *jsonWalk) replace(from int, text string) {
	w.out.WriteString(w.s[w.copied:from])
	w.out.WriteString(text)
	w.copied = w.at
}

// value reads any value.
func (w *jsonWalk) value() {
	w.blanks()
	switch w.s[w.at] {
	case '{':
		w.object()
	case '[':
		w.list()
	case '"':
		from := w.at
		text := w.text()
		if clean, _ := w.r.nested(text, w.nesting+1); clean != text {
			w.replace(from, quoteJSON(clean))
		}
	default:
		from := w.at
		w.skip()
		// A number may be the value of a secret variable.
		if text := w.s[from:w.at]; w.r.Text(text) != text {
			w.replace(from, quoteJSON(redacted))
		}
	}
}

func (w *jsonWalk) object() {
	w.at++
	named := public // what {"name": "HF_TOKEN", "value": "…"} implies
	for w.blanks(); w.s[w.at] != '}'; w.blanks() {
		if w.s[w.at] == ',' {
			w.at++
			w.blanks()
		}
		from := w.at
		name := w.text()
		if clean := w.r.Text(name); clean != name {
			w.replace(from, quoteJSON(clean))
		}
		w.blanks()
		w.at++ // the colon
		w.blanks()
		level := memberSensitivity(name)
		if name == "value" {
			level = named
		}
		if level != public {
			w.secret(level)
			continue
		}
		from = w.at
		w.value()
		if value := w.s[from:w.at]; name == "name" && value[0] == '"' {
			named = memberSensitivity(value)
		}
	}
	w.at++
}

// memberSensitivity returns what a member's name implies about its value.
func memberSensitivity(name string) sensitivity {
	if isSecretHeader(strings.Trim(name, quotes)) {
		return secret
	}
	return sensitivityOf(name)
}

// list reads a list, which may be one of arguments: a flag's value follows it.
func (w *jsonWalk) list() {
	w.at++
	follows := public
	for w.blanks(); w.s[w.at] != ']'; w.blanks() {
		if w.s[w.at] == ',' {
			w.at++
			w.blanks()
		}
		from := w.at
		if w.s[w.at] != '"' {
			follows = public
			w.value()
			continue
		}
		text := w.text()
		clean := redacted
		if follows == public || isFlag(text) {
			clean, follows = w.r.nested(text, w.nesting+1)
			if isHeaderName(text) { // ["Authorization", "…"]
				follows = secret
			}
		} else {
			if follows == countable && isNumber(text) {
				clean = text
			}
			if text != "--" {
				follows = public
			}
		}
		if clean != text {
			w.replace(from, quoteJSON(clean))
		}
	}
	w.at++
}

// secret reads a value that is a secret as a whole. Under the name of a count, numbers stay,
// and so do lists of numbers.
func (w *jsonWalk) secret(level sensitivity) {
	from := w.at
	w.skip()
	switch value := w.s[from:w.at]; value {
	case "null", "true", "false", `""`:
	default:
		if level == countable && isNumbers(value) {
			if w.r.Text(value) == value {
				return
			}
		}
		w.replace(from, quoteJSON(redacted))
	}
}

// isNumbers reports whether a value consists of numbers.
func isNumbers(value string) bool {
	for _, word := range strings.FieldsFunc(value, func(c rune) bool { return strings.ContainsRune("[](),"+shellBlanks, c) }) {
		if !isNumber(word) {
			return false
		}
	}
	return true
}

// text reads a string and returns what it contains.
func (w *jsonWalk) text() string {
	from := w.at
	w.skip()
	var text string
	if raw := w.s[from:w.at]; strings.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	} else if json.Unmarshal([]byte(raw), &text) != nil {
		return raw
	}
	return text
}

// skip goes to the end of a value.
func (w *jsonWalk) skip() {
	for depth := 0; w.at < len(w.s); {
		switch c := w.s[w.at]; c {
		case '"':
			for w.at++; w.s[w.at] != '"'; w.at++ {
				if w.s[w.at] == '\\' {
					w.at++
				}
			}
			w.at++
		case '{', '[':
			depth++
			w.at++
		case '}', ']':
			depth--
			w.at++
		case ',', ':', ' ', '\t', '\r', '\n':
			w.at++
		default:
			for w.at < len(w.s) && strings.IndexByte(",]}"+shellBlanks, w.s[w.at]) < 0 {
				w.at++
			}
		}
		if depth <= 0 {
			return
		}
	}
}

// quoteJSON returns a string of JSON.
func quoteJSON(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(s) != nil { // cannot happen
		return `"` + redacted + `"`
	}
	return strings.TrimSuffix(b.String(), "\n")
}
