package redact

import "strings"

// connectionNames are names of which a connection string has at least one, in lower case.
const connectionNames wordList = " server host hostname datasource data_source address addr network_address driver dsn database " +
	"initial_catalog uid user userid user_id username pwd endpoint blobendpoint accountname accountkey sharedaccesskey " +
	"sharedaccesskeyname sharedaccesssignature defaultendpointsprotocol endpointsuffix trusted_connection "

// redactConnection redacts a connection string as in ODBC, ADO.NET and Azure: NAME=VALUE
// separated by semicolons. ok is false if s is not one. The first part may be something else that
// ends in NAME=VALUE, such as --connection=Server=a, or a URL, as in JDBC.
func redactConnection(s string) (clean string, ok bool) {
	if strings.IndexByte(s, ';') < 0 {
		return "", false
	}
	var out strings.Builder
	for rest := s; rest != ""; {
		end := connectionPartEnd(rest)
		part := rest[:end]
		name, value, assigned := strings.Cut(part, "=")
		if out.Len() == 0 && assigned && !connectionNames.has(connectionName(name)) {
			if outer, inner, nested := strings.Cut(value, "="); nested && isConnectionName(outer) {
				name, value = part[:len(name)+1+len(outer)], inner
			}
		}
		last := name[strings.LastIndexByte(name, '=')+1:]
		switch {
		case assigned && isConnectionName(last):
			known := connectionNames.has(connectionName(last))
			if !known && strings.IndexByte(last, '_') >= 0 {
				return "", false // a variable of a shell
			}
			ok = ok || known
			level := sensitivityOf(last)
			if strings.EqualFold(strings.TrimSpace(last), "pwd") || strings.EqualFold(strings.TrimSpace(last), "sharedaccesssignature") {
				level = secret
			}
			if strings.TrimSpace(value) != "" && (level == secret || level == countable && !isNumber(value)) {
				part = name + "=" + redacted
			} else {
				part = name + "=" + redactURLsInText(value)
			}
		case strings.TrimSpace(part) == "":
		case out.Len() == 0 && strings.Contains(part, "://"):
			part = redactURLsInText(part)
		default:
			return "", false
		}
		out.WriteString(part)
		if rest = rest[end:]; rest != "" {
			out.WriteByte(';')
			rest = rest[1:]
		}
	}
	return out.String(), ok
}

// connectionName returns a name in the form of connectionNames.
func connectionName(s string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(s)), " ", "_")
}

// isConnectionName reports whether s can be a name in a connection string: words.
func isConnectionName(s string) bool {
	s = strings.TrimSpace(s)
	return s != "" && len(s) < maxOptionName && isLetter(s[0]) && isName(strings.ReplaceAll(s, " ", ""))
}

// connectionPartEnd returns the length of the part of a connection string at the beginning of s.
// A value in quotes or braces may have semicolons.
func connectionPartEnd(s string) int {
	n := strings.IndexByte(s, ';')
	if n < 0 {
		n = len(s)
	}
	if i := strings.LastIndexByte(s[:n], '='); i >= 0 {
		value := strings.TrimLeft(s[i+1:], " ")
		if value != "" && strings.IndexByte(quotes+"{", value[0]) >= 0 {
			closer := closerOf(value[0])
			if end := strings.IndexByte(value[1:], closer); end >= 0 {
				end += len(s) - len(value) + 2
				if end == len(s) || s[end] == ';' {
					return end
				}
			}
		}
	}
	return n
}
