package redact

import (
	"path"
	"strings"
)

const (
	shellBlanks = " \t\r\n"
	shellBreaks = shellBlanks + ";&|()`"
	quotes      = `'"`
	brackets    = "[{("
)

// redactShellText redacts a text of several words, such as a program for sh -c. It splits
// words as a shell does, but keeps their quotes. What is quoted may be such a text again.
func redactShellText(s string) string {
	if clean, ok := redactConnection(s); ok {
		return clean
	}
	t := shellText{rest: s, shown: len(s)}
	for len(t.rest) > 0 {
		t.step()
	}
	return t.out.String()
}

// shellText is a text that is being redacted.
type shellText struct {
	rest string // to be read
	out  strings.Builder
	// pending is what the text so far implies about the next word, and byFlag whether it was
	// a flag.
	pending sensitivity
	byFlag  bool
	// join is how that word's value may be joined from several, in a program in Python.
	join joining
	// previous is the word before, without its quotes; "" at the beginning of a command.
	previous string
	// list is what the name before a list in YAML implies about its entries.
	list sensitivity
	// last is the last character that was not a blank, calls the open parentheses of calls.
	last  byte
	calls int
	// backquoted is set within `…`.
	backquoted bool
	// shown is the length of the rest behind a call that is shown because nothing is quoted
	// in it.
	shown int
	command
}

// command is what is known of the command that a word belongs to.
type command struct {
	setter   bool        // set or setenv: the next word that is not a flag is a name
	values   sensitivity // of all words that follow
	oneValue bool        // aws configure set: a name and a value follow
	curl     bool
	reader   bool        // read: names follow
	reads    sensitivity // of the names that it reads
	printf   bool
}

// step reads a break between words, or a word.
func (t *shellText) step() {
	switch c := t.rest[0]; {
	case strings.HasPrefix(t.rest, "\\\n"): // a continued line
		t.write(t.rest[:2], 2)
	case t.pending != public && strings.IndexByte(brackets, c) >= 0:
		t.bracket(t.pending)
	case t.values != public && c == '(': // fish
		t.bracket(t.values)
	case (t.pending != public || t.values != public) && c == '`' && !t.backquoted && backquoteEnd(t.rest, 0) > 0:
		t.word()
	case strings.IndexByte(shellBreaks, c) >= 0:
		t.separator(c)
	default:
		t.word()
	}
}

// write writes text for the next n bytes.
func (t *shellText) write(text string, n int) {
	t.out.WriteString(text)
	t.rest = t.rest[n:]
}

// separator copies a blank or an operator.
func (t *shellText) separator(c byte) {
	called := t.out.Len() > 0 && isIdentifier(t.lastWritten())
	switch c {
	case ' ', '\t', '\r':
	case '(':
		if called {
			t.calls++
		}
	case ')':
		t.calls = max(0, t.calls-1)
	case '`':
		t.backquoted = !t.backquoted
		fallthrough
	default:
		if t.byFlag {
			t.pending = public
		}
	}
	if c != ' ' && c != '\t' && c != '\r' && c != ')' {
		t.command, t.previous = command{}, ""
	}
	if strings.IndexByte(shellBlanks, c) < 0 {
		t.last = c
	}
	t.write(t.rest[:1], 1)
}

// lastWritten returns the last byte of the output, which is not empty.
func (t *shellText) lastWritten() byte {
	s := t.out.String() // no copy
	return s[len(s)-1]
}

// bracket redacts the list, tuple or array that the next word begins with, and what is joined
// to it. level is what the name before implies.
func (t *shellText) bracket(level sensitivity) {
	n := bracketEnd(t.rest)
	if next := operandStart(t.rest, n, t.join); next > 0 {
		n = next + expressionEnd(t.rest[next:], t.join, t.valueEnd)
	}
	text := redacted
	if level == countable && isNumbers(t.rest[:n]) {
		text = t.rest[:n]
	}
	t.write(text, n)
	t.pending, t.join, t.last = public, byNothing, ')'
}

// valueEnd is programValueEnd for the rest of the text.
func (t *shellText) valueEnd(s string) int { return programValueEnd(s, t.backquoted) }

// valueWordEnd returns the length of the next word, n in a shell without substitutions, if all
// of it is a value.
func (t *shellText) valueWordEnd(n int) int {
	if strings.IndexByte(quotes+brackets, t.rest[0]) >= 0 {
		end := expressionEnd(t.rest, t.join, argumentEnd)
		return max(n, end)
	}
	return max(n, expressionEnd(t.rest, t.join, t.valueEnd))
}

// substitutedEnd returns the length of the next word, before whose substitution n bytes stand, if
// that belongs to a header or to the user info of a URL; otherwise n.
func (t *shellText) substitutedEnd(n int) int {
	raw := t.rest[:n]
	if _, _, level := cutHeader(strings.TrimLeft(raw, quotes+`\`)); level != public {
		return max(n, t.valueEnd(t.rest))
	}
	if _, authority, ok := strings.Cut(raw, "://"); ok && strings.IndexByte(authority, ':') > 0 && !strings.ContainsAny(authority, "/?#@") {
		return max(n, t.valueEnd(t.rest))
	}
	return n
}

// assignedEnd returns the length of the next word, n in a shell without substitutions, if it
// assigns a value to name.
func (t *shellText) assignedEnd(name string, n int) int {
	switch i := strings.IndexAny(name, quotes); {
	case i == 0 && name[0] == '"' && strings.IndexByte(name[1:], '"') < 0: // "NAME=$(…)"
		return max(n, quoteEnd(t.rest, 0))
	case i >= 0 && strings.Count(name, name[i:i+1])%2 != 0: // the rest of a quoted text
		return n
	}
	join := byArithmetic
	if t.calls > 0 || strings.ContainsAny(name, ".[") {
		join = byOperators
	}
	from := len(name) + len("=")
	return max(n, from+expressionEnd(t.rest[from:], join, t.valueEnd))
}

// word redacts the next word.
func (t *shellText) word() {
	n := wordEnd(t.rest)
	raw := t.rest[:n]
	unquoted := removeQuotes(raw)
	bare := strings.TrimRight(unquoted, ",])}")
	clean := raw
	pending, byFlag := t.pending, t.byFlag
	if pending != public && byFlag && isFlag(bare) {
		pending = public // the flag before was a switch
	}
	t.pending, t.byFlag = public, false
	name, value, assigned := strings.Cut(raw, "=")
	level := public
	if assigned {
		level = assignedSensitivity(name)
	}
	call := pending != public && !byFlag && isCall(raw, t.rest[n:]) && t.isShownCall(raw, pending)
	substituted := false
	switch {
	case pending != public && !call && raw != "-", t.values != public:
		n = t.valueWordEnd(n)
	case level != public && !t.isArgumentOfCall(name, value):
		n = t.assignedEnd(name, n)
	case n < len(t.rest) && (t.rest[n] == '(' && raw[n-1] == '$' || t.rest[n] == '`' && n > 1):
		n = t.substitutedEnd(n)
		substituted = n > len(raw)
	}
	if n > len(raw) {
		raw = t.rest[:n]
		unquoted = removeQuotes(raw)
		bare = unquoted
		if assigned {
			value = raw[len(name)+1:]
		}
	}
	clean = raw
	t.join = byNothing
	next := strings.TrimLeft(t.rest[n:], shellBlanks)
	switch {
	case t.values != public:
		clean = valueFor(t.values, raw, bare)
	case pending != public && !byFlag && raw == "-": // an entry of a list in YAML
		t.pending, t.list = pending, pending
	case call: // tokens = encode(text)
		clean, _ = redactQuotedWord(raw, unquoted)
	case pending != public && byFlag && raw == "--": // no more flags, but maybe the value
		clean, t.pending, t.byFlag = redacted, pending, true
	case pending != public:
		clean = valueFor(pending, raw, bare)
		if strings.HasPrefix(next, "- ") {
			t.pending = t.list
		}
	case t.setter && !strings.HasPrefix(unquoted, "-"):
		t.setter, t.values = false, sensitivityOf(unquoted)
		clean, _ = redactQuotedWord(raw, unquoted)
	case t.oneValue:
		t.oneValue = false
		clean, _ = redactQuotedWord(raw, unquoted)
		t.pending = sensitivityOf(unquoted)
	case isAssigner(unquoted) && sensitivityOf(t.previous) != public: // api_key = "…"
		if !strings.HasPrefix(strings.TrimLeft(next, quotes+`\`), redacted) {
			t.pending, t.join = sensitivityOf(t.previous), byOperators
		}
	case isComparison(unquoted) && sensitivityOf(t.previous) != public: // if token == "…"
		if next != "" && (strings.IndexByte(quotes, next[0]) >= 0 || strings.HasPrefix(next, "$(")) {
			t.pending, t.join = sensitivityOf(t.previous), byArithmetic
		}
	case strings.HasPrefix(unquoted, "<<<") && t.reads != public: // read NAME <<< VALUE
		if t.pending = t.reads; raw != "<<<" {
			n = len("<<<") + max(n-len("<<<"), t.valueEnd(t.rest[len("<<<"):]))
			clean, t.pending = "<<< "+redacted, public
		}
	case unquoted == "<" && t.reads != public && strings.HasPrefix(next, "<("): // read NAME < <(…)
		t.pending = t.reads
	case strings.HasPrefix(unquoted, "=") && sensitivityOf(t.previous) != public:
		n = max(n, 1+expressionEnd(t.rest[1:], byOperators, t.valueEnd))
		clean = "=" + valueFor(sensitivityOf(t.previous), t.rest[1:n], strings.TrimPrefix(bare, "="))
	case substituted && strings.Contains(raw, "://"):
		clean = redactURLs(raw)
	case assigned && isSignature(name) && t.out.Len() > 0 && t.lastWritten() == '&' && !strings.HasPrefix(value, redacted): // host/path?a=b&sig=…
		clean = name + "=" + redacted
	case assigned && t.isArgumentOfCall(name, value):
		// sorted(x, key=f)
	case level != public && value == "" && next != "" && (strings.IndexByte(quotes+"[{", next[0]) >= 0 || t.rest[n] == '('): // api_key= "…", TOKENS=(…)
		t.pending, t.join = level, byOperators
	case level != public && value != "" && strings.IndexByte(brackets, value[0]) >= 0: // api_keys=["…", "…"]
		t.write(name+"=", len(name)+1)
		t.bracket(level)
		return
	default:
		clean, t.pending = redactQuotedWord(raw, unquoted)
		t.byFlag = t.pending != public && strings.HasPrefix(strings.TrimLeft(unquoted, brackets), "-")
		if !t.byFlag {
			t.join = byArithmetic // api_key: str = "…"
		}
		if t.pending != public && isSecretHeader(strings.TrimSuffix(unquoted, ":")) && strings.HasSuffix(unquoted, ":") && (next == "" || strings.IndexByte(quotes+`\`, next[0]) < 0) {
			// -H "Authorization: Bearer …" whose quotes were removed: redact up to their end.
			end := strings.IndexAny(t.rest[n:], quotes+`\`+"\n")
			if end < 0 {
				end = len(t.rest) - n
			}
			clean, n, t.pending = clean+" "+redacted, n+end, public
		}
		if name, ok := strings.CutSuffix(strings.TrimLeft(unquoted, brackets), ","); ok && isHeaderName(name) && next != "" && strings.IndexByte(quotes, next[0]) >= 0 {
			t.pending = secret // ("Authorization", "…")
		}
		switch {
		case unquoted == "set" || unquoted == "setenv":
			t.setter = startsCommand(t.previous)
			t.oneValue = isConfig(t.previous)
		case path.Base(unquoted) == "curl":
			t.curl = true
		case unquoted == "read" || unquoted == "readarray" || unquoted == "mapfile":
			t.reader = true
		case t.reader:
			t.reads = max(t.reads, sensitivityOf(unquoted))
		case unquoted == "printf":
			t.printf = true
		case t.printf && t.previous == "-v": // printf -v NAME FORMAT VALUE
			t.values = sensitivityOf(unquoted)
		case t.curl && t.pending == public:
			if keep, ok := curlUser(unquoted); ok && keep == unquoted {
				t.pending, t.byFlag = secret, true
			} else if ok {
				clean = keep + redacted
			}
		}
	}
	t.previous, t.last = unquoted, raw[len(raw)-1]
	t.write(clean, n)
}

// startsCommand reports whether a command begins after a word, which is "" after an operator.
func startsCommand(previous string) bool {
	switch previous {
	case "", "then", "do", "else", "and", "or", "not", "begin", "exec", "builtin":
		return true
	}
	return false
}

// isConfig reports whether set NAME VALUE after a word stores a setting, as in aws configure
// set and npm config set.
func isConfig(previous string) bool {
	return previous == "configure" || previous == "config" || previous == "npm"
}

// valueFor returns the replacement for a word that is a value. bare is the word without quotes
// and punctuation.
func valueFor(level sensitivity, raw, bare string) string {
	if level == countable && isNumber(bare) {
		return raw
	}
	return redacted
}

// isArgumentOfCall reports whether name=value is the argument `key` of a call whose value is an
// expression, as in sorted(x, key=len).
func (t *shellText) isArgumentOfCall(name, value string) bool {
	before, ok := strings.CutSuffix(name, "key")
	if !ok || t.calls == 0 || value == "" || strings.ContainsAny(value, quotes) {
		return false
	}
	if before == "" {
		return t.last == '(' || t.last == ','
	}
	return before[len(before)-1] == ','
}

// isCall reports whether a word is the function of a call: nothing quoted, and a parenthesis
// follows.
func isCall(raw, rest string) bool {
	return strings.HasPrefix(rest, "(") && isIdentifier(raw[len(raw)-1]) && isPath(raw)
}

// isShownCall reports whether the call of function that the rest of the text begins with is shown
// although its result is assigned to a name of the given sensitivity: nothing is quoted in the
// expression, or the function makes tokens from a text.
func (t *shellText) isShownCall(function string, level sensitivity) bool {
	if len(t.rest) <= t.shown {
		end := expressionEnd(t.rest, t.join, t.valueEnd)
		if strings.ContainsAny(t.rest[:end], quotes) && !(level == countable && isTokenizer(function)) {
			return false
		}
		t.shown = len(t.rest) - end
	}
	return true
}

// isTokenizer reports whether a function is one of those that make tokens from a text.
func isTokenizer(function string) bool {
	switch function[strings.LastIndexByte(function, '.')+1:] {
	case "encode", "tokenize", "tokenizer", "decode":
		return true
	}
	return false
}

// isAssigner reports whether a word is an operator that assigns, in a program.
func isAssigner(s string) bool {
	switch s {
	case "=", ":", ":=", "=>", "+=", "?=", "||=":
		return true
	}
	return false
}

// isComparison reports whether a word is an operator that compares, in a program.
func isComparison(s string) bool { return s == "==" || s == "===" || s == "!=" }

// isIdentifier reports whether c may end the name of a function.
func isIdentifier(c byte) bool { return isAlphanumeric(c) || c == '_' }

// redactQuotedWord redacts a word that may contain quotes; unquoted is the word without
// them. follows is what the word implies about the next one.
func redactQuotedWord(raw, unquoted string) (clean string, follows sensitivity) {
	if name, value, level := cutHeader(strings.TrimLeft(raw, quotes+`\`)); level != public {
		value = strings.Trim(value, shellBlanks+quotes+`\`)
		switch {
		case value == "":
			return raw, level
		case isScheme(value):
			return raw, secret
		}
		if level == countable && isNumbers(strings.TrimRight(value, ",]})")) {
			return raw, public
		}
		return requote(raw, name+": "+redacted), public
	}
	if raw == unquoted {
		return redactWord(raw)
	}
	if name, value, ok := strings.Cut(raw, "="); ok && !strings.ContainsAny(name, shellBreaks) && !strings.Contains(name, "://") {
		level := assignedSensitivity(name)
		if level == secret || level == countable && !isNumber(strings.Trim(value, quotes)) {
			return requote(raw, name+"="+redacted), public
		}
	}
	if !strings.ContainsAny(unquoted, shellBreaks) {
		if level := flagSensitivity(strings.TrimLeft(unquoted, brackets)); level != public {
			return raw, level
		}
		clean, _ = redactWord(raw)
		return clean, public
	}
	// Quoted texts, with or without other characters around them.
	var out strings.Builder
	for len(raw) > 0 {
		i := strings.IndexAny(raw, quotes)
		end := -1
		if i >= 0 {
			end = closingQuote(raw, i)
		}
		if end < 0 {
			clean, _ = redactWord(raw)
			out.WriteString(clean)
			break
		}
		clean, _ = redactWord(raw[:i])
		out.WriteString(clean)
		out.WriteByte(raw[i])
		out.WriteString(redactShellText(raw[i+1 : end]))
		out.WriteByte(raw[end])
		raw = raw[end+1:]
	}
	return out.String(), public
}

// removeQuotes removes all quotes and backslashes.
func removeQuotes(s string) string {
	if !strings.ContainsAny(s, quotes+`\`) {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if c := s[i]; c != '\'' && c != '"' && c != '\\' {
			out = append(out, c)
		}
	}
	return string(out)
}

// requote puts the quotes of raw, if they enclose all of it, around the redacted word.
func requote(raw, clean string) string {
	if strings.IndexByte(quotes, raw[0]) >= 0 && closingQuote(raw, 0) == len(raw)-1 {
		return raw[:1] + strings.Trim(clean, quotes) + raw[:1]
	}
	return clean
}

// wordEnd returns the length of the word at the beginning of s. A quote that is never
// closed is an ordinary character, because the text need not be a program. A word that
// begins with a quote or a bracket also ends after a comma that follows a quote, as in
// ["--api-key","…"].
func wordEnd(s string) int {
	inList := strings.IndexByte(quotes+brackets, s[0]) >= 0
	for i := 0; i < len(s); i++ {
		switch {
		case strings.IndexByte(shellBreaks, s[i]) >= 0:
			return max(i, 1)
		case s[i] == '\\' && i+1 < len(s):
			i++
		case strings.IndexByte(quotes, s[i]) >= 0:
			if end := closingQuote(s, i); end > 0 {
				i = end
				if inList && strings.HasPrefix(s[i+1:], ",") {
					return i + 2
				}
			}
		}
	}
	return len(s)
}

// closingQuote returns the index of the quote that closes the one at s[open], or -1. Within
// single quotes a backslash is an ordinary character, as in a shell, although Python and
// JavaScript treat it as an escape.
func closingQuote(s string, open int) int {
	for i := open + 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if s[open] == '"' {
				i++
			}
		case s[open]:
			return i
		}
	}
	return -1
}
