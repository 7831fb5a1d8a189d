package redact

import "strings"

// redactMembers replaces the values of JSON members that have a secret's name, in a text that
// is not JSON as a whole: a program, Python's dictionaries, JSON with escaped quotes.
func redactMembers(s string) string {
	const maxName = 256
	var context byte // the last bracket before s[i]
	var out strings.Builder
	from := 0
	for i := 0; i < len(s); i++ {
		if strings.IndexByte(quotes, s[i]) < 0 {
			if strings.IndexByte("[{(", s[i]) >= 0 {
				context = s[i]
			}
			continue
		}
		end := i + 1
		for end < len(s) && end-i < maxName && isMemberName(s[end]) {
			end++
		}
		name := s[i+1 : end]
		rest := strings.TrimLeft(s[end:], `\`)
		if rest == "" || rest[0] != s[i] {
			continue
		}
		rest = strings.TrimLeft(rest[1:], shellBlanks)
		if rest == "" || rest[0] != ':' && rest[0] != ',' {
			continue
		}
		level := memberSensitivity(name)
		if level == public {
			continue
		}
		argument := rest[0] == ','
		rest = strings.TrimLeft(rest[1:], shellBlanks)
		if argument && (context != '(' || name[0] == '-' || !hasQuotedArgument(rest)) {
			continue
		}
		value, n := memberValue(rest)
		if level == countable && isNumbers(rest[:n]) {
			value = rest[:n]
		}
		out.WriteString(s[from : len(s)-len(rest)])
		out.WriteString(value)
		from = len(s) - len(rest) + n
		i = from - 1
	}
	out.WriteString(s[from:])
	return out.String()
}

// hasQuotedArgument reports whether an argument of a call at the beginning of s contains a string,
// as the second of putenv("HF_TOKEN", "…") does.
func hasQuotedArgument(s string) bool {
	if s != "" && (strings.IndexByte(quotes+`\\`, s[0]) >= 0 || pythonPrefix(s) > 0) {
		return true
	}
	argument := s[:argumentEnd(s)]
	quote := strings.IndexAny(argument, quotes)
	if quote < 0 {
		return false
	}
	keyword, _, ok := strings.Cut(argument[:quote], "=")
	return !ok || strings.TrimSpace(keyword) == "value"
}

// isMemberName reports whether the name of a member may contain c: anything that does not
// belong to the syntax around it.
func isMemberName(c byte) bool {
	return c >= 0x80 || isAlphanumeric(c) || strings.IndexByte("-_. /@", c) >= 0
}

// memberValue returns the replacement for the value at the beginning of s, and the length of
// that value.
func memberValue(s string) (replacement string, n int) {
	n = pythonPrefix(s)
	quote := strings.TrimLeft(s[n:], `\`)
	escapes := len(s) - n - len(quote)
	switch {
	case quote == "":
		return redacted, len(s)
	case strings.IndexByte(quotes, quote[0]) >= 0:
		open := s[n : n+escapes+1] // the quote and the backslashes before it
		first, end := open, stringEnd(s, n, open)
		// Python joins strings that follow each other.
		for end < len(s) {
			next := len(s) - len(strings.TrimLeft(s[end:], shellBlanks))
			next += pythonPrefix(s[next:])
			if escapes == 0 && next < len(s) && strings.IndexByte(quotes, s[next]) >= 0 {
				open = s[next : next+1]
			}
			if !strings.HasPrefix(s[next:], open) {
				break
			}
			end = stringEnd(s, next, open)
		}
		if escapes == 0 {
			if whole := expressionEnd(s, byOperators, argumentEnd); whole > end { // 'a' + 'b'
				return first + redacted + first, whole
			}
		}
		if end > n+2*len(open)-1 && strings.HasSuffix(s[:end], open) {
			return first + redacted + first, end
		}
		return first + redacted, end
	case s[0] == '[' || s[0] == '{' || s[0] == '(':
		return `"` + redacted + `"`, bracketEnd(s)
	}
	if whole := expressionEnd(s, byOperators, argumentEnd); strings.ContainsAny(s[:whole], quotes) {
		return `"` + redacted + `"`, whole // get('…')
	}
	n = strings.IndexAny(s, ",}]"+shellBlanks+quotes)
	if n < 0 {
		n = len(s)
	}
	switch s[:n] {
	case "", "null", "None", "true", "false", "True", "False":
		return s[:n], n
	}
	return `"` + redacted + `"`, n
}

// pythonPrefix returns the length of the prefix of a string in Python, such as f or rb, at the
// beginning of s.
func pythonPrefix(s string) int {
	for n := 0; n < min(3, len(s)); n++ {
		switch {
		case strings.IndexByte(quotes, s[n]) >= 0:
			return n
		case strings.IndexByte("frbuFRBU", s[n]) < 0:
			return 0
		}
	}
	return 0
}

// stringEnd returns where the string ends that begins at s[at] with open, its quote and the
// backslashes before it; len(s) if it has no end. Python's strings may have three quotes.
func stringEnd(s string, at int, open string) int {
	end := open
	if len(open) == 1 && strings.HasPrefix(s[at:], open+open+open) {
		end = open + open + open
	}
	for i := at + len(end); i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], end):
			return i + len(end)
		case s[i] == '\\':
			i++
		}
	}
	return len(s)
}

// bracketEnd returns where the bracket at the beginning of s is closed; len(s) if it is not.
// Brackets in strings do not count.
func bracketEnd(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '[', '{', '(':
			depth++
		case ']', '}', ')':
			if depth--; depth == 0 {
				return i + 1
			}
		case '\'', '"':
			open := i
			for open > 0 && s[open-1] == '\\' {
				open--
			}
			end := stringEnd(s, open, s[open:i+1])
			if end == len(s) && !strings.HasSuffix(s, s[open:i+1]) { // an apostrophe
				continue
			}
			i = end - 1
		}
	}
	return len(s)
}
