package redact

import "strings"

// programValueEnd returns the length of the value at the beginning of s, in a program for a
// shell or in Python: a word with its quotes, the substitutions of a shell ($(…), `…`, ${…},
// <(…)), calls with their arguments, and these joined without blanks. It is 0 if s begins with a
// break between words, and goes on to the end of s if a substitution or a call is not closed.
// Within `…`, which backquoted reports, a backquote ends it.
func programValueEnd(s string, backquoted bool) int {
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '\\':
			i = escapeEnd(s, i)
		case strings.IndexByte(quotes, c) >= 0:
			i = quoteEnd(s, i)
		case c == '`':
			end := backquoteEnd(s, i)
			if end < 0 || backquoted {
				return i
			}
			i = end
		case c == '(' && i > 0 && (isIdentifier(s[i-1]) || strings.IndexByte(quotes+"$<>)]=", s[i-1]) >= 0):
			i = groupEnd(s, i)
		case c == '{' && i > 0 && s[i-1] == '$':
			i = groupEnd(s, i)
		case strings.IndexByte(shellBreaks, c) >= 0:
			return i
		default:
			i++
		}
	}
	return len(s)
}

// joining is how a program may join values with blanks between them.
type joining int

const (
	byNothing joining = iota
	byArithmetic
	byOperators // and strings that follow each other
)

// expressionEnd returns the length of the expression at the beginning of s: values that are
// joined, as in 'a' + 'b'. valueEnd returns the length of one value.
func expressionEnd(s string, join joining, valueEnd func(string) int) int {
	for end := 0; ; {
		n := valueEnd(s[end:])
		if n == 0 && join != byNothing && end < len(s) && strings.IndexByte(brackets, s[end]) >= 0 {
			n = bracketEnd(s[end:])
		}
		next := -1
		if join == byOperators && isPrefix(s[end:end+n]) {
			next = len(s) - len(skipBlanks(s[end+n:]))
		}
		end += n
		if next < 0 {
			next = operandStart(s, end, join)
		}
		if n == 0 || next < 0 {
			return end
		}
		end = next
	}
}

// argumentEnd returns the length of the operand at the beginning of s, which ends before a comma
// or a closing bracket outside of quotes and calls.
func argumentEnd(s string) int {
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case strings.IndexByte(",]}", c) >= 0:
			return i
		case c == '\\':
			i = escapeEnd(s, i)
		case strings.IndexByte(quotes, c) >= 0:
			i = quoteEnd(s, i)
		case strings.IndexByte(brackets, c) >= 0:
			i = groupEnd(s, i)
		case strings.IndexByte(shellBreaks, c) >= 0:
			return i
		default:
			i++
		}
	}
	return len(s)
}

// isPrefix reports whether a word stands before an operand in Python or JavaScript.
func isPrefix(word string) bool {
	return word == "not" || word == "await" || word == "new" || word == "lambda:"
}

// skipBlanks returns s without the blanks and continued lines at its beginning.
func skipBlanks(s string) string {
	for {
		s = strings.TrimLeft(s, " \t\r")
		rest, ok := strings.CutPrefix(s, "\\\n")
		if !ok {
			return s
		}
		s = rest
	}
}

// operators join values in Python and JavaScript. The first three are byArithmetic's.
var operators = []string{"+", "%", "=", "or", "and", "if", "else", "||", "??"}

const arithmeticOperators = 3

// operandStart returns where the next operand of an expression begins if an operator follows
// s[:at], or a string that Python joins to the one before; -1 if neither does.
func operandStart(s string, at int, join joining) int {
	rest := skipBlanks(s[at:])
	if join == byNothing || at == 0 || rest == "" {
		return -1
	}
	if join == byOperators && strings.IndexByte(quotes, s[at-1]) >= 0 && len(rest) < len(s)-at {
		prefix := pythonPrefix(rest)
		if strings.IndexByte(quotes, rest[prefix]) >= 0 && closingQuote(rest, prefix) > 0 {
			return len(s) - len(rest)
		}
	}
	for i, operator := range operators {
		after, ok := strings.CutPrefix(rest, operator)
		if !ok || join == byArithmetic && i >= arithmeticOperators {
			continue
		}
		operand := skipBlanks(after)
		switch {
		case operand == "" || strings.IndexByte("=>+;&|\n", operand[0]) >= 0: // ==, =>, ++
		case isLetter(operator[0]) && (len(rest) == len(s)-at || len(operand) == len(after)): // a part of a word
		default:
			return len(s) - len(operand)
		}
	}
	return -1
}

// escapeEnd returns where the backslash at s[i] and what it escapes end. An escaped quote is one
// of a program within a program, and goes to the quote that closes it if there is one.
func escapeEnd(s string, i int) int {
	n := i
	for n < len(s) && s[n] == '\\' {
		n++
	}
	if n == len(s) {
		return n
	}
	if strings.IndexByte(quotes+"`", s[n]) < 0 {
		if (n-i)%2 == 0 { // the backslashes escape each other
			return n
		}
		return n + 1
	}
	open := s[i : n+1]
	if end := strings.Index(s[n+1:], open); end >= 0 {
		return n + 1 + end + len(open)
	}
	return n + 1
}

// quoteEnd returns where the string ends that the quote at s[i] opens; i+1 if nothing closes it,
// because the text need not be a program.
func quoteEnd(s string, i int) int {
	if triple := strings.Repeat(s[i:i+1], 3); strings.HasPrefix(s[i:], triple) {
		if end := strings.Index(s[i+3:], triple); end >= 0 {
			return i + 3 + end + 3
		}
	}
	if s[i] == '"' {
		return groupEnd(s, i)
	}
	for end := i + 1; end < len(s); end++ { // Python's 'it\'s', maybe
		switch s[end] {
		case '\\':
			end++
		case s[i]:
			return end + 1
		}
	}
	if end := strings.IndexByte(s[i+1:], s[i]); end >= 0 {
		return i + 1 + end + 1
	}
	return i + 1
}

// backquoteEnd returns where the command substitution ends that the backquote at s[i] opens, -1
// if it is not closed.
func backquoteEnd(s string, i int) int {
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '`':
			return i + 1
		}
	}
	return -1
}

// groupEnd returns where the parenthesis, bracket, brace or double quote at s[i] is closed. Within
// it, quotes and substitutions nest as in a shell. It returns len(s) if it is not closed, but
// i+1 for a double quote without substitutions. It reads every byte once.
func groupEnd(s string, i int) int {
	start, nested := i, s[i] != '"'
	open := []byte{closerOf(s[i])}
	for i++; i < len(s); i++ {
		c, closer := s[i], open[len(open)-1]
		switch {
		case c == '\\':
			i++
		case c == closer:
			open = open[:len(open)-1]
			if len(open) == 0 {
				return i + 1
			}
		case (c == '(' || c == '{') && s[i-1] == '$', strings.IndexByte(brackets, c) >= 0 && closerOf(c) == closer:
			open = append(open, closerOf(c))
			nested = true
		case c == '"':
			open = append(open, '"')
		case c == '`':
			if end := backquoteEnd(s, i); end > 0 {
				i = end - 1
			}
		case c == '\'' && closer != '"':
			if end := strings.IndexByte(s[i+1:], '\''); end >= 0 {
				i += end + 1
			}
		}
	}
	if !nested {
		return start + 1
	}
	return len(s)
}

// closerOf returns what closes a bracket or a quote.
func closerOf(c byte) byte {
	switch c {
	case '(':
		return ')'
	case '[':
		return ']'
	case '{':
		return '}'
	}
	return c
}

// redactDefaults replaces the values that a shell's expansion has for a secret variable without
// one, such as ${HF_TOKEN:-VALUE}.
func redactDefaults(s string) string {
	var out strings.Builder
	from := 0
	for i := strings.Index(s, "${"); i >= 0 && i < len(s); {
		start := i + len("${")
		end := start
		for end < len(s) && isIdentifier(s[end]) {
			end++
		}
		operator := strings.TrimPrefix(s[end:], ":")
		if level := sensitivityOf(s[start:end]); level != public && operator != "" && strings.IndexByte("-=+", operator[0]) >= 0 {
			value := len(s) - len(operator) + 1
			end = groupEnd(s, i+1)
			closed := strings.TrimSuffix(s[value:end], "}")
			if closed != "" && !(level == countable && isNumber(closed)) {
				out.WriteString(s[from:value] + redacted)
				from = value + len(closed)
			}
		}
		next := strings.Index(s[end:], "${")
		if next < 0 {
			break
		}
		i = end + next
	}
	return out.String() + s[from:]
}
