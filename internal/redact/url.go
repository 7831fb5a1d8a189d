package redact

import (
	"net/url"
	"strings"
)

// redactURLs removes from every URL in s, a word, the user info and the query's values that
// have a secret's name, and the user info of an address without a scheme.
func redactURLs(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return redactUserInfo(s)
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

// redactURLsInText is redactURLs for the URLs with a scheme in a text.
func redactURLsInText(s string) string {
	const ends = shellBlanks + quotes
	if !strings.Contains(s, "://") || !strings.ContainsAny(s, "@?") {
		return s
	}
	var out strings.Builder
	for s != "" {
		n := strings.IndexAny(s, ends)
		if n < 0 {
			n = len(s)
		}
		word := s[:n]
		if strings.Contains(word, "://") {
			word = redactURLs(word)
		}
		out.WriteString(word)
		if n < len(s) {
			out.WriteByte(s[n])
			n++
		}
		s = s[n:]
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
	} else if at := strings.LastIndexByte(path, '@'); at >= 0 && hasPassword(authority) {
		// A password with an unescaped slash.
		authority, path = redacted+path[at:], ""
		if i := strings.IndexAny(authority, "/?#"); i >= 0 {
			authority, path = authority[:i], authority[i:]
		}
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
		name, value, assigned := strings.Cut(query[:n], "=")
		unescaped, err := url.QueryUnescape(name)
		level := sensitivityOf(unescaped)
		if assigned && (err != nil || isSignature(unescaped) || level == secret || level == countable && !isNumber(value)) {
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

// isSignature reports whether the parameter of a query is the signature of a signed URL: sig in
// Azure, X-Amz-Signature, X-Goog-Signature, Signature in CloudFront. Who has the URL with it has
// access.
func isSignature(name string) bool {
	name = strings.ToLower(name)
	return name == "sig" || strings.HasSuffix(name, "signature")
}

// hasPassword reports whether an authority without @ has a colon that no port follows, and is
// not an IPv6 address.
func hasPassword(authority string) bool {
	_, port, ok := strings.Cut(authority, ":")
	return ok && authority[0] != '[' && strings.Trim(port, "0123456789") != ""
}

// redactUserInfo removes the user info from USER:PASSWORD@HOST without a scheme. What is
// before @ in NAME:TAG@sha256:DIGEST, and in a path, is no user info.
func redactUserInfo(s string) string {
	at := strings.LastIndexByte(s, '@')
	if at <= 0 || at == len(s)-1 {
		return s
	}
	user, password, ok := strings.Cut(s[:at], ":")
	if !ok || password == "" || strings.ContainsAny(user, `/<>(){}[]=,;&|`) || strings.TrimLeft(user, quotes) == "mailto" {
		return s
	}
	if port, _, isPath := strings.Cut(password, "/"); isPath && strings.Trim(port, "0123456789") == "" {
		return s // HOST:PORT/PATH, and HOST:/PATH
	}
	host := s[at+1:]
	if !isAlphanumeric(host[0]) && strings.IndexByte("[_-$", host[0]) < 0 && host[0] < 0x80 {
		return s
	}
	if algorithm, digest, ok := strings.Cut(host, ":"); ok && isDigest(algorithm, digest) {
		return s
	}
	quote := s[:len(user)-len(strings.TrimLeft(user, quotes))]
	return quote + redacted + s[at:]
}

// isDigest reports whether ALGORITHM:DIGEST is the digest of a container image.
func isDigest(algorithm, digest string) bool {
	const shortest = 6
	digest = strings.TrimRight(digest, quotes)
	return strings.HasPrefix(algorithm, "sha") && len(digest) >= shortest && strings.Trim(digest, "0123456789abcdef") == ""
}
