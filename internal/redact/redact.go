// Package redact removes secrets from the command lines, messages and settings that an
// event contains. docs/secrets.md has the policy.
//
//   - names.go: names whose values are secrets
//   - tokens.go: tokens of known forms
//   - json.go, members.go: JSON, and what looks like it in other texts
//   - shell.go, word.go: programs for a shell, and their words
//   - value.go: where a value in a program ends
//   - connection.go: connection strings
//   - url.go: user info and queries
//   - command.go: command lines, and how much of them is shown
package redact

import (
	"cmp"
	"slices"
	"strings"

	"github.com/vobs/vobs/internal/vllm/args"
)

// redacted replaces a secret.
const redacted = "<redacted>"

// Redactor removes the values of flags, assignments, headers and JSON members that have a
// secret's name, tokens of known forms, user info in URLs, and the values of environment
// variables that have a secret's name wherever they occur. In doubt it removes too much.
type Redactor struct {
	values []string // of secret environment variables, the longest first
	show   CommandMode
}

// minSecretValue is the length in bytes from which the value of an environment variable is
// searched for. A shorter one would match by chance.
const minSecretValue = 8

// New returns a Redactor that also removes the values of the secrets in env, a list of
// NAME=VALUE.
func New(env []string) *Redactor {
	r := &Redactor{show: CommandFull}
	for _, entry := range env {
		name, value, ok := strings.Cut(entry, "=")
		if !ok || len(value) < minSecretValue || strings.Contains(redacted, value) {
			continue
		}
		if level := sensitivityOf(name); level == secret || level == countable && !isNumber(value) {
			r.values = append(r.values, value)
		}
	}
	// One value may be the beginning of another.
	slices.SortFunc(r.values, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	r.values = slices.Compact(r.values)
	return r
}

// Text removes from a text the values of secret environment variables, tokens of known forms,
// the user info of URLs, and the values of JSON members that have a secret's name.
func (r *Redactor) Text(s string) string {
	return r.variables(redactMembers(redactURLsInText(redactTokens(r.variables(s)))))
}

// Quoting removes from a text about a command line the arguments that it quotes, as
// [strconv.Quote] does, if Command does not show them.
func (r *Redactor) Quoting(text string, argv []string) string {
	if strings.IndexByte(text, '"') < 0 {
		return text
	}
	for i, clean := range r.arguments(argv, 0) {
		arg := argv[i]
		_, value, _ := strings.Cut(arg, "=")
		_, cleanValue, _ := strings.Cut(clean, "=")
		if r.show != CommandFull {
			clean, cleanValue = redacted, redacted
		}
		for from, to := range map[string]string{arg: clean, value: cleanValue} {
			if from != to && from != "" {
				text = strings.ReplaceAll(text, args.Quote(from), args.Quote(to))
			}
		}
	}
	return text
}

// variables removes the values of secret environment variables.
func (r *Redactor) variables(s string) string {
	for _, value := range r.values {
		s = strings.ReplaceAll(s, value, redacted)
	}
	return s
}

// Value returns a value for an event: redacted as a whole if its name is a secret's, otherwise
// as an argument of a command is.
func (r *Redactor) Value(name, value string) string {
	if level := sensitivityOf(name); value != "" && (level == secret || level == countable && !isNumber(value)) {
		return redacted
	}
	return r.Argument(value)
}
