package redact

import "strings"

const (
	shellBlanks = " \t\r\n"
	shellBreaks = shellBlanks + ";&|()`"
	quotes      = `'"`
)

// redactShellText redacts a text of several words, such as a program for sh -c. It splits
// words as a shell does, but keeps their quotes. What is quoted may be such a text again.
func redactShellText(s string) string {
	var out strings.Builder
	isValue := false // the next word is the value of a secret
	previous := ""   // the word before, without its quotes
	for len(s) > 0 {
		if strings.HasPrefix(s, "\\\n") { // a continued line
			out.WriteString(s[:2])
			s = s[2:]
			continue
		}
		if strings.IndexByte(shellBreaks, s[0]) >= 0 {
			if s[0] == ';' || s[0] == '\n' {
				previous = ""
			}
			out.WriteByte(s[0])
			s = s[1:]
			continue
		}
		n := wordEnd(s)
		raw := s[:n]
		s = s[n:]
		unquoted := strings.NewReplacer(`'`, "", `"`, "", `\`, "").Replace(raw)
		next := strings.TrimLeft(s, shellBlanks)
		switch {
		case isValue:
			raw = redacted
			isValue = isSecretFlag(unquoted) // then the flag before was a switch
		case (unquoted == "=" || unquoted == ":") && IsSecretName(previous): // api_key = "…"
			isValue = !strings.HasPrefix(strings.TrimLeft(next, quotes+`\`), redacted)
		case strings.HasPrefix(unquoted, "=") && IsSecretName(previous):
			raw = "=" + redacted
		default:
			raw, isValue = redactQuotedWord(raw, unquoted)
			if isValue && isSecretHeader(strings.TrimSuffix(unquoted, ":")) && (next == "" || strings.IndexByte(quotes+`\`, next[0]) < 0) {
				// -H "Authorization: Bearer …" whose quotes were removed: redact up to their end.
				end := strings.IndexAny(s, quotes+`\`+"\n")
				if end < 0 {
					end = len(s)
				}
				raw, s, isValue = raw+" "+redacted, s[end:], false
			}
			name, assigned := strings.CutSuffix(unquoted, "=")
			if assigned && IsSecretName(name) && next != "" && strings.IndexByte(quotes, next[0]) >= 0 { // api_key= "…"
				raw, isValue = name+"=", true
			}
		}
		previous = unquoted
		out.WriteString(raw)
	}
	return out.String()
}

// redactQuotedWord redacts a word that may contain quotes; unquoted is the word without
// them.
func redactQuotedWord(raw, unquoted string) (clean string, valueFollows bool) {
	if name, value, ok := cutHeader(strings.TrimLeft(raw, quotes+`\`)); ok {
		if strings.Trim(value, shellBlanks+quotes+`\`) == "" {
			return raw, true
		}
		return requote(raw, name+": "+redacted), false
	}
	if raw == unquoted {
		return redactWord(raw)
	}
	if name, _, ok := strings.Cut(raw, "="); ok && !strings.ContainsAny(name, shellBreaks) && !strings.Contains(name, "://") && IsSecretName(name) {
		return requote(raw, name+"="+redacted), false
	}
	if !strings.ContainsAny(unquoted, shellBreaks) {
		if isSecretFlag(unquoted) {
			return raw, true
		}
		clean, _ = redactWord(raw)
		return clean, false
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
	return out.String(), false
}

// requote puts the quotes of raw, if they enclose all of it, around the redacted word.
func requote(raw, clean string) string {
	if strings.IndexByte(quotes, raw[0]) >= 0 && closingQuote(raw, 0) == len(raw)-1 {
		return raw[:1] + strings.Trim(clean, quotes) + raw[:1]
	}
	return clean
}

// wordEnd returns the length of the word at the beginning of s. A quote that is never
// closed is an ordinary character, because the text need not be a program.
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

// redactWord redacts an argument without blanks, or one word of an argument. valueFollows
// reports whether it is a secret's flag without a value.
func redactWord(w string) (clean string, valueFollows bool) {
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
		clean, _ = redactWord(value)
		return name + "=" + clean, false
	case isSecretFlag(w):
		return w, true
	}
	return redactURLs(w), false
}
