package redact

import "strings"

// redactWord redacts an argument without blanks, or one word of an argument. follows is what
// the word, if it is a flag without a value, implies about the next one.
func redactWord(w string) (clean string, follows sensitivity) {
	if name, value, level := cutHeader(w); level != public && value != "" {
		if level == countable && isNumbers(value) {
			return w, public
		}
		return name + ":" + redacted, public
	}
	if level := flagSensitivity(w); level != public {
		return w, level
	}
	// NAME=VALUE, where VALUE may be NAME=VALUE again.
	var out strings.Builder
	for first := true; ; first = false {
		i := strings.IndexAny(w, ":=")
		if i < 0 || strings.HasPrefix(w[i:], "://") {
			break
		}
		if w[i] == ':' {
			if name, value, level := cutHeader(w); !first && level != public && value != "" && !(level == countable && isNumbers(value)) {
				out.WriteString(name + ":" + redacted)
				return out.String(), public
			}
			// The name goes on after the colon.
			n := strings.IndexByte(w[i:], '=')
			if n < 0 || strings.Contains(w[i:i+n], "://") {
				break
			}
			i += n
		}
		name, value := w[:i], w[i+1:]
		level := assignedSensitivity(name)
		if i := strings.LastIndexAny(name, "?&"); i >= 0 && isSignature(name[i+1:]) {
			level = secret
		}
		if value != "" && (level == secret || level == countable && !isNumbers(value)) {
			out.WriteString(name + "=" + redacted)
			return out.String(), public
		}
		if level == public {
			name = redactUserInfo(name)
		}
		out.WriteString(name + "=")
		w = value
	}
	out.WriteString(redactURLs(w))
	return out.String(), public
}

// flagSensitivity returns what a flag without a value implies about the argument after it.
func flagSensitivity(s string) sensitivity {
	if !strings.HasPrefix(s, "-") || strings.Contains(s, "=") {
		return public
	}
	if name, ok := strings.CutPrefix(s, "-e"); ok && name == strings.ToUpper(name) {
		return public // docker run -eNAME: the name of a variable
	}
	level := sensitivityOf(s)
	if level != public && isSwitch(s) {
		return public
	}
	return level
}

// isFlag reports whether an argument is a flag rather than the value of the one before. A
// value may begin with a dash: random characters are not taken for a name.
func isFlag(s string) bool {
	const longest = 64
	name, dashed := strings.CutPrefix(s, "--")
	if !dashed {
		name, dashed = strings.CutPrefix(s, "-")
		if !dashed || name == "" || !isLetter(name[0]) {
			return false
		}
		const letters = 4 // such as -asc and -Xmx
		end := strings.IndexAny(name, "=:")
		if len(name) <= letters || end > 0 && hasValue(name[end:]) && isName(name[:end]) && !isMixed(name[:end]) {
			return true
		}
	}
	if i := strings.IndexByte(name, '='); i >= 0 && !hasValue(name[i:]) && i > 0 && name[i:] != "=" {
		return false // the padding of base64
	}
	if i := strings.IndexAny(name, "=:"); i >= 0 {
		name = name[:i]
	}
	if name == "" || len(name) > longest || !isLetter(name[0]) || isMixed(name) {
		return false
	}
	capitals, small := 0, 0
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c >= 'A' && c <= 'Z':
			capitals++
		case c >= 'a' && c <= 'z':
			small++
		case c == '-', c == '_', c == '.', c == '+', dashed && c >= '0' && c <= '9':
		default:
			return false
		}
	}
	return capitals == 0 || small == 0
}

// hasValue reports whether anything but = follows the = or colon of a flag. In base64 nothing does.
func hasValue(s string) bool { return strings.Trim(s[1:], "=") != "" }

// isMixed reports whether a name has digits, capitals and small letters, or several digits each
// between letters, as random characters have.
func isMixed(name string) bool {
	const several = 3
	capitals, small, digits, inside := false, false, false, 0
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c >= 'A' && c <= 'Z':
			capitals = true
		case c >= 'a' && c <= 'z':
			small = true
		case c >= '0' && c <= '9':
			digits = true
			if i > 0 && i+1 < len(name) && isLetter(name[i-1]) && isLetter(name[i+1]) {
				inside++
			}
		}
	}
	return capitals && small && digits || inside >= several
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// curlUser reports whether an argument of curl is -u or another flag for a user and a
// password. keep is the part before its value.
func curlUser(arg string) (keep string, ok bool) {
	switch name, _, assigned := strings.Cut(arg, "="); {
	case name == "--user", name == "--proxy-user", name == "--oauth2-bearer":
		if assigned {
			return name + "=", true
		}
		return arg, true
	case strings.HasPrefix(arg, "-u"), strings.HasPrefix(arg, "-U"), strings.HasPrefix(arg, "-b"): // -b: cookies
		return arg[:2], true
	}
	return "", false
}

// cutHeader splits NAME: VALUE if the name is a secret's. A flag may precede the name, as
// in --header=NAME: VALUE and -HNAME: VALUE.
func cutHeader(s string) (name, value string, level sensitivity) {
	const longest = 256
	colon := strings.IndexByte(s[:min(len(s), longest)], ':')
	if colon < 0 {
		return "", "", public
	}
	name, value = s[:colon], s[colon+1:]
	if strings.HasPrefix(value, "//") || strings.HasPrefix(value, ":") {
		return "", "", public
	}
	header := strings.TrimLeft(name[strings.LastIndexByte(name, '=')+1:], "{[,")
	// A host may have dots, and then its port follows.
	if !isName(header) && !(isPath(header) && (value == "" || strings.IndexByte(shellBlanks+quotes, value[0]) >= 0)) {
		return "", "", public
	}
	if isSecretHeader(header) {
		return name, value, secret
	}
	return name, value, sensitivityOf(header)
}

// isName reports whether s can be the name of a header, a variable or a JSON member.
func isName(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !isAlphanumeric(c) && c < 0x80 && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}

// isPath reports whether s can be the name of a setting, with dots and indices.
func isPath(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !isAlphanumeric(c) && c < 0x80 && strings.IndexByte("-_.+[]", c) < 0 {
			return false
		}
	}
	return s != ""
}
