// Package redact removes secrets from the command lines, messages and settings that an
// event contains.
package redact

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/vobs/vobs/internal/vllm/args"
)

// redacted replaces a secret.
const redacted = "<redacted>"

// maxCommandBytes bounds the command line in an event.
const maxCommandBytes = 64 << 10

// secretWords mark a name as a secret's. Only whole words count: --max-num-batched-tokens
// and --tokenizer are not secrets.
var secretWords = map[string]bool{"key": true, "apikey": true, "token": true, "secret": true, "password": true, "passwd": true, "credential": true, "credentials": true}

// secretHeaders are request headers that carry a secret although their names contain none
// of secretWords.
var secretHeaders = []string{"authorization", "cookie"}

// Redactor removes the values of flags, assignments, headers and JSON members that have a
// secret's name, user info in URLs, and the values of environment variables that have a
// secret's name wherever they occur. In doubt it removes too much.
type Redactor struct {
	values []string // of secret environment variables, the longest first
}

// minSecretValue is the length in bytes from which the value of an environment variable is
// searched for. A shorter one would match by chance.
const minSecretValue = 8

// New returns a Redactor that also removes the values of the secrets in env, a list of
// NAME=VALUE.
func New(env []string) *Redactor {
	r := &Redactor{}
	for _, entry := range env {
		name, value, ok := strings.Cut(entry, "=")
		if ok && len(value) >= minSecretValue && IsSecretName(name) && !strings.Contains(redacted, value) {
			r.values = append(r.values, value)
		}
	}
	// One value may be the beginning of another.
	slices.SortFunc(r.values, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return r
}

// IsSecretName reports whether a flag, variable, header or JSON member of this name holds a
// secret: whether one of its words is key, token, secret, password or the like. A word ends
// at anything but a letter or digit, and before a capital that follows a small letter.
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

// Text removes the values of secret environment variables from a text.
func (r *Redactor) Text(s string) string {
	for _, value := range r.values {
		s = strings.ReplaceAll(s, value, redacted)
	}
	return s
}

// Value returns a value for an event: redacted as a whole if its name is a secret's, otherwise as
// Text does it.
func (r *Redactor) Value(name, value string) string {
	if IsSecretName(name) && value != "" {
		return redacted
	}
	return r.Text(value)
}

// Command returns the arguments of a command, redacted and cut at 64 KiB.
func (r *Redactor) Command(argv []string) []string {
	out := make([]string, 0, len(argv))
	size := 0
	// A vLLM server takes several values after one --api-key, other commands one.
	multipleValues := args.Locate(argv).IsServer()
	isValue := false  // arg is a value of the secret's flag before it
	hadValue := false // that flag already had a value
	for i, arg := range argv {
		clean := redacted
		if isValue && !(hadValue && strings.HasPrefix(arg, "-")) {
			hadValue = multipleValues
			isValue = multipleValues || isSecretFlag(arg) // if arg is a flag, the one before was a switch
		} else {
			clean, isValue = r.argument(arg, i > 0 && isProgramFlag(argv[i-1]))
			hadValue = false
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

// Line returns a process's command line as one redacted text, or the process's name if argv
// is empty.
func (r *Redactor) Line(argv []string, name string) string {
	if len(argv) == 0 {
		return r.Text(name)
	}
	return strings.Join(r.Command(argv), " ")
}

// argument redacts one argument. isProgram is set if the argument follows a flag like that
// of sh -c. valueFollows reports whether it is a secret's flag whose value is the next
// argument.
func (r *Redactor) argument(arg string, isProgram bool) (clean string, valueFollows bool) {
	if name, value, ok := strings.Cut(arg, "="); ok && value != "" && !isProgram && isName(name) && IsSecretName(name) {
		return r.Text(name) + "=" + redacted, false // the whole value, blanks and quotes included
	}
	// Remove whole values now, because the rest splits the argument into words, and again
	// at the end, because that may have joined some.
	clean = redactMembers(r.Text(arg))
	if name, value, ok := cutHeader(clean); ok && strings.TrimSpace(value) != "" {
		return r.Text(name + ": " + redacted), false
	}
	if strings.ContainsAny(clean, shellBreaks+quotes) {
		return r.Text(redactShellText(clean)), false
	}
	clean, valueFollows = redactWord(clean)
	return r.Text(clean), valueFollows
}

// isSecretFlag reports whether s is the flag of a secret, without a value.
func isSecretFlag(s string) bool {
	return strings.HasPrefix(s, "-") && !strings.Contains(s, "=") && IsSecretName(s)
}

// isProgramFlag reports whether the next argument is a program, as after sh -c or bash -lc.
func isProgramFlag(s string) bool {
	return len(s) > 1 && s[0] == '-' && s[1] != '-' && s[len(s)-1] == 'c' && isName(s)
}

// isName reports whether s can be the name of a header, a variable or a JSON member.
func isName(s string) bool {
	for _, c := range s {
		if !unicode.IsLetter(c) && !unicode.IsDigit(c) && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}

// cutHeader splits NAME: VALUE if the name is a secret's. A flag may precede the name, as
// in --header=NAME: VALUE and -HNAME: VALUE.
func cutHeader(s string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(s, ":")
	if !ok || strings.HasPrefix(value, "//") || strings.HasPrefix(value, ":") {
		return "", "", false
	}
	header := strings.TrimLeft(name[strings.LastIndexByte(name, '=')+1:], "{[,")
	if !isName(header) {
		return "", "", false
	}
	if IsSecretName(header) || isSecretHeader(header) {
		return name, value, true
	}
	return "", "", false
}

func isSecretHeader(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(secretHeaders, func(header string) bool { return strings.HasSuffix(name, header) })
}
