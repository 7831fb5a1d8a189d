package redact

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"strings"

	"github.com/vobs/vobs/internal/vllm/args"
)

// maxCommandBytes bounds the command line in an event.
const maxCommandBytes = 64 << 10

// CommandMode is how much of command lines is shown.
type CommandMode string

// The modes of --command.
const (
	// CommandFull shows the arguments without secrets.
	CommandFull CommandMode = "full"
	// CommandNames shows the program and the names of the flags.
	CommandNames CommandMode = "names"
	// CommandNone shows a digest.
	CommandNone CommandMode = "none"
)

// ParseCommandMode reads the name of a mode.
func ParseCommandMode(s string) (CommandMode, error) {
	switch m := CommandMode(s); m {
	case CommandFull, CommandNames, CommandNone:
		return m, nil
	}
	return "", fmt.Errorf("unknown value %q: use full, names or none", s)
}

// Show sets how much of command lines Command and Line show. It must not be called while
// another goroutine uses the Redactor.
func (r *Redactor) Show(mode CommandMode) { r.show = cmp.Or(mode, CommandFull) }

// Shows returns how much of command lines is shown.
func (r *Redactor) Shows() CommandMode { return r.show }

// Command returns the arguments of a command as the mode shows them: redacted; the program and
// the names of the flags; or one text, sha256: and the hexadecimal SHA-256 of the redacted
// arguments, each followed by a NUL. It is cut at 64 KiB.
func (r *Redactor) Command(argv []string) []string {
	switch r.show {
	case CommandNames:
		return r.names(argv)
	case CommandNone:
		return []string{r.digest(argv)}
	}
	return r.arguments(argv, maxCommandBytes)
}

// Argument returns one argument, redacted, whatever the mode.
func (r *Redactor) Argument(arg string) string {
	clean, _ := r.nested(arg, 0)
	return clean
}

// digest returns the digest of a command's arguments. Secrets are not part of it, because a
// short one could be found by trying.
func (r *Redactor) digest(argv []string) string {
	sum := sha256.New()
	for _, arg := range r.arguments(argv, 0) {
		sum.Write([]byte(arg))
		sum.Write([]byte{0})
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil))
}

// names returns the program and the names of the flags.
func (r *Redactor) names(argv []string) []string {
	var out []string
	for i, arg := range r.arguments(argv, maxCommandBytes) {
		if i == 0 {
			out = append(out, arg)
		} else if name := flagName(arg); name != "" {
			out = append(out, name)
		}
	}
	return out
}

// flagName returns the name of a flag, "" if an argument is none. Of a flag with one dash it is
// the first letter, because a value may follow that, unless vLLM has the flag.
func flagName(arg string) string {
	name, _, _ := strings.Cut(arg, "=")
	switch {
	case strings.HasPrefix(name, "--") && isFlag(arg):
		name, _, _ = strings.Cut(name, ":")
		return name
	case len(name) < 2 || name[0] != '-' || !isLetter(name[1]):
		return ""
	case args.IsShortFlag(name):
		return name
	}
	return name[:2]
}

// Line returns a process's command line as one text, or the process's name if argv is empty.
func (r *Redactor) Line(argv []string, name string) string {
	switch {
	case len(argv) > 0:
		return strings.Join(r.Command(argv), " ")
	case r.show == CommandNone:
		return r.digest([]string{name})
	}
	return r.Text(name)
}

// arguments returns the redacted arguments of a command, cut after limit bytes; 0 means no
// limit.
func (r *Redactor) arguments(argv []string, limit int) []string {
	out := make([]string, 0, len(argv))
	size := 0
	vllm := args.Locate(argv)
	a := argumentState{r: r, vllm: vllm, multipleValues: vllm.IsServer()}
	for i, arg := range argv {
		clean := a.next(arg)
		if size += len(clean); limit > 0 && size > limit {
			keep := max(0, len(clean)-(size-limit))
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

// argumentState is what the arguments so far imply about the next one.
type argumentState struct {
	r    *Redactor
	vllm args.Command
	// multipleValues is set if several values may follow a flag, as in vllm serve --api-key.
	multipleValues bool
	previous       string
	// pending is what the flag before implies about its value, and hadValue whether it had
	// one.
	pending  sensitivity
	hadValue bool
	set      bool // set or setenv: a name follows
	curl     bool // the command is curl
}

// next redacts the next argument.
func (a *argumentState) next(arg string) (clean string) {
	defer func() { a.previous = arg }()
	if a.pending != public && !isFlag(arg) && !(a.hadValue && strings.HasPrefix(arg, "-")) {
		level := a.pending
		a.hadValue = true
		if isScheme(arg) && strings.HasSuffix(a.previous, ":") {
			return arg // Authorization: Bearer
		}
		if !a.multipleValues && arg != "--" { // the value may follow --
			a.pending, a.hadValue = public, false
		}
		return valueFor(level, arg, arg)
	}
	a.hadValue = false
	switch {
	case a.set && strings.HasPrefix(arg, "-"):
		a.pending = public
		return a.r.Text(arg)
	case a.set:
		a.set = false
		if isPath(arg) {
			a.pending = sensitivityOf(arg)
			return a.r.Text(arg)
		}
	case arg == "set" || arg == "setenv":
		a.set = a.previous == "" || isConfig(a.previous)
	case path.Base(arg) == "curl":
		a.curl = true
	}
	if a.curl {
		switch keep, ok := curlUser(arg); {
		case ok && keep == arg:
			a.pending = secret
			return arg
		case ok:
			a.pending = public
			return keep + redacted
		}
	}
	if name, _, assigned := strings.Cut(arg, "="); a.vllm.IsSecretFlag(arg) {
		if a.pending = secret; assigned {
			a.pending = public
			return name + "=" + redacted
		}
		return arg
	}
	clean, a.pending = a.r.argument(arg, isProgramFlag(a.previous), 0)
	if isHeaderName(arg) { // NAME VALUE
		a.pending = secret
	} else if _, value, level := cutHeader(arg); value == "" { // NAME: VALUE without quotes
		a.pending = max(a.pending, level)
	}
	return clean
}

// isProgramFlag reports whether the next argument is a program, as after sh -c or bash -lc.
func isProgramFlag(s string) bool {
	return len(s) > 1 && s[0] == '-' && s[1] != '-' && s[len(s)-1] == 'c' && isName(s)
}

// nested redacts a text within a text as an argument.
func (r *Redactor) nested(s string, nesting int) (clean string, follows sensitivity) {
	return r.argument(s, false, nesting)
}

// argument redacts one argument. isProgram is set if the argument follows a flag like that
// of sh -c. follows is what the argument, if it is a flag without a value, implies about the
// next one.
func (r *Redactor) argument(arg string, isProgram bool, nesting int) (clean string, follows sensitivity) {
	name, value, assigned := strings.Cut(arg, "=")
	if assigned && value != "" && !isProgram && isPath(name) {
		// The whole value, blanks and quotes included.
		switch level := assignedSensitivity(name); {
		case level == secret, level == countable && !isNumbers(value):
			return r.Text(name) + "=" + redacted, public
		}
		if clean, ok := r.document(value, nesting); ok {
			return r.variables(r.Text(name) + "=" + clean), public
		}
	}
	if clean, ok := r.document(arg, nesting); ok {
		return r.variables(clean), public
	}
	// Remove whole values now, because the rest splits the argument into words, and again
	// at the end, because that may have joined some.
	clean = redactDefaults(r.Text(arg))
	if name, value, level := cutHeader(clean); level != public && strings.TrimSpace(value) != "" && !(level == countable && isNumbers(value)) {
		return r.Text(name + ": " + redacted), public
	}
	if strings.ContainsAny(clean, shellBreaks+quotes) {
		return r.Text(redactShellText(clean)), public
	}
	clean, follows = redactWord(clean)
	return r.Text(clean), follows
}
