package redact

import "strings"

// redactMembers replaces the values of JSON members that have a secret's name. The text need
// not be valid JSON: its quotes may be single, or escaped by backslashes.
func redactMembers(s string) string {
	const maxName = 256
	var out strings.Builder
	from := 0
	for i := 0; i < len(s); i++ {
		if strings.IndexByte(quotes, s[i]) < 0 {
			continue
		}
		end := i + 1
		for end < len(s) && end-i < maxName && isName(s[end:end+1]) {
			end++
		}
		name := s[i+1 : end]
		rest := strings.TrimLeft(s[end:], `\`)
		if rest == "" || rest[0] != s[i] || !IsSecretName(name) {
			continue
		}
		rest = strings.TrimLeft(rest[1:], shellBlanks)
		if rest == "" || rest[0] != ':' {
			continue
		}
		rest = strings.TrimLeft(rest[1:], shellBlanks)
		value, n := memberValue(rest)
		out.WriteString(s[from : len(s)-len(rest)])
		out.WriteString(value)
		from = len(s) - len(rest) + n
		i = from - 1
	}
	out.WriteString(s[from:])
	return out.String()
}

// memberValue returns the replacement for the value at the beginning of s, and the length of
// that value.
func memberValue(s string) (replacement string, n int) {
	quote := strings.TrimLeft(s, `\`)
	escapes := len(s) - len(quote)
	switch {
	case quote == "":
		return redacted, len(s)
	case strings.IndexByte(quotes, quote[0]) >= 0:
		open := s[:escapes+1] // the quote and the backslashes before it
		for i := len(open); i < len(s); i++ {
			switch {
			case strings.HasPrefix(s[i:], open):
				return open + redacted + open, i + len(open)
			case s[i] == '\\':
				i++
			}
		}
		return open + redacted, len(s)
	case s[0] == '[' || s[0] == '{':
		closing := map[byte]string{'[': "]", '{': "}"}[s[0]]
		if i := strings.Index(s, closing); i >= 0 {
			return `"` + redacted + `"`, i + 1
		}
		return redacted, len(s)
	}
	n = strings.IndexAny(s, ",}]"+shellBlanks+quotes)
	if n < 0 {
		n = len(s)
	}
	switch s[:n] {
	case "", "null", "None", "true", "false":
		return s[:n], n
	}
	return `"` + redacted + `"`, n
}
