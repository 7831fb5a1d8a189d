package observe

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
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
var secretHeaders = map[string]bool{"authorization": true, "proxy-authorization": true, "cookie": true}

// redactor removes secrets from what goes into an event: values of flags,
// assignments, headers and JSON members that are named like one, user info in
// URLs, and the values of such environment variables wherever they stand.
type redactor struct {
	values []string
}

// minSecretValue is the length from which an environment variable's value is
// looked for anywhere: a shorter one would match by chance.
const minSecretValue = 8

func newRedactor(env []string) *redactor {
	r := &redactor{}
	for _, entry := range env {
		name, value, ok := strings.Cut(entry, "=")
		if ok && len(value) >= minSecretValue && isSecretName(name) {
			r.values = append(r.values, value)
		}
	}
	return r
}

// isSecretName splits a name at everything but letters and digits, and before a
// capital inside, and looks for a secret's word.
func isSecretName(name string) bool {
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

// text removes the values of secret environment variables from any text.
func (r *redactor) text(s string) string {
	for _, value := range r.values {
		s = strings.ReplaceAll(s, value, redacted)
	}
	return s
}

// command gives arguments as they may stand in an event: redacted, and cut at 64 KiB.
func (r *redactor) command(args []string) []string {
	out := make([]string, 0, len(args))
	size := 0
	next := false // the value of a secret flag is an argument of its own
	for i, arg := range args {
		clean := redacted
		if !next {
			clean, next = r.argument(arg)
		} else {
			next = false
		}
		if size += len(clean); size > maxCommandBytes {
			keep := max(0, len(clean)-(size-maxCommandBytes))
			rest := 0
			for _, a := range args[i+1:] {
				rest += len(a)
			}
			clean = strings.ToValidUTF8(clean[:keep], "")
			return append(out, fmt.Sprintf("%s… (cut: %d arguments and %d bytes more)", clean, len(args)-i-1, rest+len(arg)-keep))
		}
		out = append(out, clean)
	}
	return out
}

// argument redacts one argument. valueFollows says that it is a secret's flag
// whose value is the next one.
func (r *redactor) argument(arg string) (clean string, valueFollows bool) {
	if strings.ContainsAny(arg, " \t\n") {
		return r.text(r.shellText(arg)), false
	}
	clean, valueFollows = r.word(arg)
	return r.text(clean), valueFollows
}

// word redacts an argument, or a word inside one, that has no blanks.
func (r *redactor) word(arg string) (clean string, valueFollows bool) {
	if strings.ContainsAny(arg, `{"`) {
		return redactJSON(arg), false
	}
	name, value, assigned := strings.Cut(arg, "=")
	switch {
	case strings.HasPrefix(arg, "-") && assigned && isSecretName(name):
		return name + "=" + redacted, false
	case strings.HasPrefix(arg, "--") && !assigned:
		return arg, isSecretName(arg)
	case assigned && !strings.Contains(name, "://") && isSecretName(name):
		return name + "=" + redacted, false
	case assigned && !strings.Contains(name, "://"):
		return name + "=" + redactURL(value), false
	}
	return redactURL(arg), false
}

// shellText redacts the words of an argument that has several: a program for
// sh -c, a header, JSON.
func (r *redactor) shellText(arg string) string {
	if name, _, ok := strings.Cut(arg, ":"); ok && !strings.ContainsAny(name, " \t\n/{\"") {
		if secretHeaders[strings.ToLower(name)] || isSecretName(name) {
			return name + ": " + redacted
		}
	}
	if strings.ContainsAny(arg, "{") {
		arg = redactJSON(arg)
	}
	var out strings.Builder
	follows := false
	for len(arg) > 0 {
		n := strings.IndexAny(arg, " \t\n'\"")
		if n == 0 {
			out.WriteByte(arg[0])
			arg = arg[1:]
			continue
		}
		if n < 0 {
			n = len(arg)
		}
		word := arg[:n]
		arg = arg[n:]
		switch {
		case follows:
			word, follows = redacted, false
		case secretHeaders[strings.ToLower(strings.TrimSuffix(word, ":"))] && strings.HasSuffix(word, ":"):
			// -H "Authorization: Bearer …" inside a program: up to the closing quote.
			end := strings.IndexAny(arg, "'\"\n")
			if end < 0 {
				end = len(arg)
			}
			word += " " + redacted
			arg = arg[end:]
		default:
			word, follows = r.word(word)
		}
		out.WriteString(word)
	}
	return out.String()
}

// redactJSON replaces the string values of members named like a secret. The text
// need not be JSON as a whole.
func redactJSON(s string) string {
	var out strings.Builder
	for {
		i := strings.IndexByte(s, '"')
		if i < 0 {
			break
		}
		end := closingQuote(s, i+1)
		if end < 0 {
			break
		}
		name := s[i+1 : end]
		out.WriteString(s[:end+1])
		s = s[end+1:]
		rest := strings.TrimLeft(s, " \t\n")
		if !strings.HasPrefix(rest, ":") || !isSecretName(name) {
			continue
		}
		value := strings.TrimLeft(rest[1:], " \t\n")
		if !strings.HasPrefix(value, `"`) {
			continue
		}
		if end := closingQuote(value, 1); end >= 0 {
			out.WriteString(`: "` + redacted + `"`)
			s = value[end+1:]
		}
	}
	out.WriteString(s)
	return out.String()
}

func closingQuote(s string, from int) int {
	for i := from; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// redactURL removes the user info of a URL, and the values of its query that are
// named like a secret.
func redactURL(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return s
	}
	authority, path := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		authority = redacted + "@" + authority[at+1:]
	}
	if base, query, ok := strings.Cut(path, "?"); ok {
		parts := strings.Split(query, "&")
		for i, p := range parts {
			name, _, assigned := strings.Cut(p, "=")
			plain, err := url.QueryUnescape(name)
			if assigned && (err != nil || isSecretName(plain)) {
				parts[i] = name + "=" + redacted
			}
		}
		path = base + "?" + strings.Join(parts, "&")
	}
	return scheme + "://" + authority + path
}
