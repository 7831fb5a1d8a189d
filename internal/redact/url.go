package redact

import (
	"net/url"
	"strings"
)

// redactURLs removes from every URL in s the user info and the query's values that have a
// secret's name.
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

// redactURL redacts the part of a URL after "://".
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
		unescaped, err := url.QueryUnescape(name)
		if assigned && (err != nil || IsSecretName(unescaped)) {
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
