// Package redact removes secrets from what goes into an event: command lines,
// messages and settings.
package redact

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/vobs/vobs/internal/vllm/args"
)

// redacted stands where a secret stood.
const redacted = "<redacted>"

// maxCommandBytes is how much of a command line the event holds.
const maxCommandBytes = 64 << 10

// secretWords are the words that make a name a secret's, each as a whole word:
// --max-num-batched-tokens and --tokenizer are none.
var secretWords = map[string]bool{"key": true, "apikey": true, "token": true, "secret": true, "password": true, "passwd": true, "credential": true, "credentials": true}

// secretHeaders are request headers that carry a secret under a name without
// such a word.
var secretHeaders = []string{"authorization", "cookie"}

// Redactor removes secrets from what goes into an event: values of flags,
// assignments, headers and JSON members that are named like one, user info in
// URLs, and the values of such environment variables wherever they stand. Where
// it cannot tell it takes away too much.
type Redactor struct {
	values []string
}

// minSecretValue is the length from which an environment variable's value is
// looked for anywhere: a shorter one would match by chance.
const minSecretValue = 8

func New(env []string) *Redactor {
	r := &Redactor{}
	for _, entry := range env {
		name, value, ok := strings.Cut(entry, "=")
		if ok && len(value) >= minSecretValue && IsSecretName(name) && !strings.Contains(redacted, value) {
			r.values = append(r.values, value)
		}
	}
	// The longest first: one value may be the beginning of another.
	slices.SortFunc(r.values, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return r
}

// IsSecretName splits a name at everything but letters and digits, and before a
// capital inside, and looks for a secret's word.
func IsSecretName(name string) bool {
	var word strings.Builder
	last := rune(0)
	for _, c := range name + "-" {
		capital := unicode.IsUpper(c) && unicode.IsLower(last)
		last = c
		if unicode.IsLetter(c) || unicode.IsDigit(c) {
			if !capital {
				word.WriteRune(unicode.ToLower(c))
				continue
			}
		}
		if secretWords[word.String()] {
			return true
		}
		word.Reset()
		if capital {
			word.WriteRune(unicode.ToLower(c))
		}
	}
	return false
}

// Text removes the values of secret environment variables from any text.
func (r *Redactor) Text(s string) string {
	for _, value := range r.values {
		s = strings.ReplaceAll(s, value, redacted)
	}
	return s
}

// Command gives arguments as they may stand in an event: redacted, and cut at 64 KiB.
func (r *Redactor) Command(argv []string) []string {
	out := make([]string, 0, len(argv))
	size := 0
	// A vLLM server takes several values after one --api-key; elsewhere what
	// follows the value is something else.
	several := args.Locate(argv).IsServer()
	follows := false // a secret's flag was last: its value is an argument of its own
	given := false   // and had one already
	for i, arg := range argv {
		clean := redacted
		if follows && !(given && strings.HasPrefix(arg, "-")) {
			given = several
			follows = several || isSecretFlag(arg) // a flag here says that the one before was a switch
		} else {
			clean, follows = r.argument(arg, i > 0 && isProgramFlag(argv[i-1]))
			given = false
		}
		if size += len(clean); size > maxCommandBytes {
			keep := max(0, len(clean)-(size-maxCommandBytes))
			rest := 0
			for _, a := range argv[i+1:] {
				rest += len(a)
			}
			clean = strings.ToValidUTF8(clean[:keep], "")
			return append(out, fmt.Sprintf("%s… (cut: %d arguments and %d bytes more)", clean, len(argv)-i-1, rest+len(arg)-keep))
		}
		out = append(out, clean)
	}
	return out
}

// argument redacts one argument; program says that it follows a flag like sh -c.
// valueFollows says that it is a secret's flag whose value is the next one.
func (r *Redactor) argument(arg string, program bool) (clean string, valueFollows bool) {
	if name, value, ok := strings.Cut(arg, "="); ok && value != "" && !program && isName(name) && IsSecretName(name) {
		return r.Text(name) + "=" + redacted, false // all of it, blanks and quotes too
	}
	// Whole values first, for what follows takes words apart; and once more, for
	// what it may have joined.
	clean = redactMembers(r.Text(arg))
	if name, value, ok := cutHeader(clean); ok && strings.TrimSpace(value) != "" {
		return r.Text(name + ": " + redacted), false
	}
	if strings.ContainsAny(clean, shellBreaks+quotes) {
		return r.Text(shellText(clean)), false
	}
	clean, valueFollows = word(clean)
	return r.Text(clean), valueFollows
}

const (
	shellBlanks = " \t\r\n"
	shellBreaks = shellBlanks + ";&|()`"
	quotes      = `'"`
)

// shellText redacts the words of a text that has several, as a program for sh -c:
// words are what a shell makes of them, with their quotes. What is quoted may be
// such a text again.
func shellText(s string) string {
	var out strings.Builder
	follows := false
	last := "" // the word before, without its quotes
	for len(s) > 0 {
		if strings.HasPrefix(s, "\\\n") { // the line goes on
			out.WriteString(s[:2])
			s = s[2:]
			continue
		}
		if strings.IndexByte(shellBreaks, s[0]) >= 0 {
			if s[0] == ';' || s[0] == '\n' {
				last = ""
			}
			out.WriteByte(s[0])
			s = s[1:]
			continue
		}
		n := wordEnd(s)
		raw := s[:n]
		s = s[n:]
		plain := strings.NewReplacer(`'`, "", `"`, "", `\`, "").Replace(raw)
		next := strings.TrimLeft(s, shellBlanks)
		switch {
		case follows:
			raw = redacted
			follows = isSecretFlag(plain) // as above
		case (plain == "=" || plain == ":") && IsSecretName(last): // api_key = "…"
			follows = !strings.HasPrefix(strings.TrimLeft(next, quotes+`\`), redacted)
		case strings.HasPrefix(plain, "=") && IsSecretName(last):
			raw = "=" + redacted
		default:
			raw, follows = quotedWord(raw, plain)
			if follows && isSecretHeader(strings.TrimSuffix(plain, ":")) && (next == "" || strings.IndexByte(quotes+`\`, next[0]) < 0) {
				// -H "Authorization: Bearer …" in quotes that were taken off: up to their end.
				end := strings.IndexAny(s, quotes+`\`+"\n")
				if end < 0 {
					end = len(s)
				}
				raw, s, follows = raw+" "+redacted, s[end:], false
			}
			name, assigned := strings.CutSuffix(plain, "=")
			if assigned && IsSecretName(name) && next != "" && strings.IndexByte(quotes, next[0]) >= 0 { // api_key= "…"
				raw, follows = name+"=", true
			}
		}
		last = plain
		out.WriteString(raw)
	}
	return out.String()
}

// quotedWord redacts a word that may have quotes; plain is it without them.
func quotedWord(raw, plain string) (clean string, valueFollows bool) {
	if name, value, ok := cutHeader(strings.TrimLeft(raw, quotes+`\`)); ok {
		if strings.Trim(value, shellBlanks+quotes+`\`) == "" {
			return raw, true
		}
		return requote(raw, name+": "+redacted), false
	}
	if raw == plain {
		return word(raw)
	}
	if name, _, ok := strings.Cut(raw, "="); ok && !strings.ContainsAny(name, shellBreaks) && !strings.Contains(name, "://") && IsSecretName(name) {
		return requote(raw, name+"="+redacted), false
	}
	if !strings.ContainsAny(plain, shellBreaks) {
		if isSecretFlag(plain) {
			return raw, true
		}
		clean, _ = word(raw)
		return clean, false
	}
	// Texts in quotes, with or without something around them.
	var out strings.Builder
	for len(raw) > 0 {
		i := strings.IndexAny(raw, quotes)
		end := -1
		if i >= 0 {
			end = closingQuote(raw, i)
		}
		if end < 0 {
			clean, _ = word(raw)
			out.WriteString(clean)
			break
		}
		clean, _ = word(raw[:i])
		out.WriteString(clean)
		out.WriteByte(raw[i])
		out.WriteString(shellText(raw[i+1 : end]))
		out.WriteByte(raw[end])
		raw = raw[end+1:]
	}
	return out.String(), false
}

// requote puts a redacted word into the quotes that it was in as a whole.
func requote(raw, clean string) string {
	if strings.IndexByte(quotes, raw[0]) >= 0 && closingQuote(raw, 0) == len(raw)-1 {
		return raw[:1] + strings.Trim(clean, quotes) + raw[:1]
	}
	return clean
}

// wordEnd is the length of the word that s begins with. A quote without an end is
// a letter like any other: the text need not be a program.
func wordEnd(s string) int {
	for i := 0; i < len(s); i++ {
		switch {
		case strings.IndexByte(shellBreaks, s[i]) >= 0:
			return max(i, 1)
		case s[i] == '\\' && i+1 < len(s):
			i++
		case strings.IndexByte(quotes, s[i]) >= 0:
			if end := closingQuote(s, i); end > 0 {
				i = end
			}
		}
	}
	return len(s)
}

// closingQuote finds the end of what is quoted from s[open] on; -1 for none. In
// single quotes a shell knows no backslash, but Python and JavaScript do.
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

// word redacts an argument, or a word inside one, that has no blanks.
// valueFollows says that it is a secret's flag without its value.
func word(w string) (clean string, valueFollows bool) {
	if name, value, ok := cutHeader(w); ok && value != "" {
		return name + ":" + redacted, false
	}
	name, value, assigned := strings.Cut(w, "=")
	switch {
	case assigned && strings.Contains(name, "://"):
		return redactURLs(w), false
	case assigned && IsSecretName(name) && value != "":
		return name + "=" + redacted, false
	case assigned:
		clean, _ = word(value)
		return name + "=" + clean, false
	case isSecretFlag(w):
		return w, true
	}
	return redactURLs(w), false
}

// isSecretFlag says whether s is the flag of a secret, without its value.
func isSecretFlag(s string) bool {
	return strings.HasPrefix(s, "-") && !strings.Contains(s, "=") && IsSecretName(s)
}

// isProgramFlag says whether a program follows in one argument: sh -c, bash -lc.
func isProgramFlag(s string) bool {
	return len(s) > 1 && s[0] == '-' && s[1] != '-' && s[len(s)-1] == 'c' && isName(s)
}

// isName says whether s can be the name of a header, a variable or a member.
func isName(s string) bool {
	for _, c := range s {
		if !unicode.IsLetter(c) && !unicode.IsDigit(c) && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}

// cutHeader cuts NAME: VALUE where the name is a secret's. In front of the name
// may be its flag, as in --header=NAME: VALUE and -HNAME: VALUE.
func cutHeader(s string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(s, ":")
	if !ok || strings.HasPrefix(value, "//") || strings.HasPrefix(value, ":") {
		return "", "", false
	}
	bare := strings.TrimLeft(name[strings.LastIndexByte(name, '=')+1:], "{[,")
	if !isName(bare) {
		return "", "", false
	}
	if IsSecretName(bare) || isSecretHeader(bare) {
		return name, value, true
	}
	return "", "", false
}

func isSecretHeader(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(secretHeaders, func(header string) bool { return strings.HasSuffix(name, header) })
}

// redactMembers replaces the values of members named like a secret in JSON, or in
// what looks like it: the text need not be JSON as a whole, and its quotes may be
// single or behind backslashes.
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

// memberValue measures the value that s begins with, and gives what to write for it.
func memberValue(s string) (instead string, n int) {
	quote := strings.TrimLeft(s, `\`)
	escapes := len(s) - len(quote)
	switch {
	case quote == "":
		return redacted, len(s)
	case strings.IndexByte(quotes, quote[0]) >= 0:
		open := s[:escapes+1] // the quote, with the backslashes before it
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

// redactURLs removes from every URL in s the user info, and the values of its
// query that are named like a secret.
func redactURLs(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return s
	}
	var out strings.Builder
	out.WriteString(scheme)
	for ok {
		var piece string
		piece, rest, ok = strings.Cut(rest, "://")
		out.WriteString("://")
		out.WriteString(redactURL(piece))
	}
	return out.String()
}

// redactURL is for what follows the scheme of one URL.
func redactURL(s string) string {
	authority, path := s, ""
	if i := strings.IndexAny(s, "/?#"); i >= 0 {
		authority, path = s[:i], s[i:]
	}
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		authority = redacted + "@" + authority[at+1:]
	}
	i := strings.IndexAny(path, "?#")
	if i < 0 {
		return authority + path
	}
	var out strings.Builder
	out.WriteString(authority + path[:i+1])
	for query := path[i+1:]; query != ""; {
		n := strings.IndexAny(query, "&#;")
		if n < 0 {
			n = len(query)
		}
		name, _, assigned := strings.Cut(query[:n], "=")
		plain, err := url.QueryUnescape(name)
		if assigned && (err != nil || IsSecretName(plain)) {
			out.WriteString(name + "=" + redacted)
		} else {
			out.WriteString(query[:n])
		}
		if n < len(query) {
			out.WriteByte(query[n])
			n++
		}
		query = query[n:]
	}
	return out.String()
}

// Line makes one text of a process's command line, redacted; its name where it has none.
func (r *Redactor) Line(args []string, name string) string {
	if len(args) == 0 {
		return r.Text(name)
	}
	return strings.Join(r.Command(args), " ")
}
