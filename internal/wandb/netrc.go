package wandb

import (
	"errors"
	"fmt"
	"strings"
)

// netrc is the content of a netrc file.
type netrc struct {
	passwords map[string]Secret
}

// parseNetrc reads a netrc file by the rules of Python's netrc module, which the SDK
// uses (Lib/netrc.py of Python 3.11): tokens may be quoted with " and escaped with \, a
// # in place of a keyword begins a comment (at the top level Python wants a space after
// it; here it is optional), a macro ends with an empty line, and of two entries for one
// machine the later one counts. Errors name the line but not the token, which could be a
// password.
func parseNetrc(text string) (*netrc, error) {
	l := netrcLexer{text: text, line: 1}
	out := &netrc{passwords: map[string]Secret{}}
	for {
		line := l.line
		var name string
		switch token := l.next(); {
		case token == "":
			return out, nil
		case token[0] == '#':
			if l.line == line {
				l.restOfLine()
			}
			continue
		case token == "machine":
			if name = l.next(); name == "" {
				return nil, fmt.Errorf("line %d: a machine without a name", l.line)
			}
		case token == "default":
			name = netrcDefault
		case token == "macdef":
			l.next()
			for {
				rest, ended := l.restOfLine()
				if ended {
					return nil, errors.New("a macro without an empty line after it")
				}
				if rest == "" {
					break
				}
			}
			continue
		default:
			return nil, fmt.Errorf("line %d: expected machine, default or macdef", l.line)
		}
		password, err := l.entry()
		if err != nil {
			return nil, err
		}
		out.passwords[name] = password
	}
}

// netrcDefault is the entry for all machines without an entry of their own. For Python it
// is the same as a machine of that name.
const netrcDefault = "default"

// lookup returns the password of the first host that has an entry, or the default one.
// found reports whether there is an entry, with a password or without.
func (n *netrc) lookup(hosts ...string) (password Secret, found bool) {
	for _, host := range append(hosts, netrcDefault) {
		if password, ok := n.passwords[host]; ok {
			return password, true
		}
	}
	return "", false
}

type netrcLexer struct {
	text   string
	pos    int
	line   int
	pushed string
}

// entry reads the entry of a machine, up to the next machine.
func (l *netrcLexer) entry() (password Secret, err error) {
	for {
		line := l.line
		switch token := l.next(); {
		case strings.HasPrefix(token, "#"):
			if l.line == line {
				l.restOfLine()
			}
		case token == "", token == "machine", token == "default", token == "macdef":
			l.pushed = token
			return password, nil
		case token == "login", token == "user", token == "account":
			l.next()
		case token == "password":
			password = Secret(l.next())
		default:
			return "", fmt.Errorf("line %d: expected login, account or password", l.line)
		}
	}
}

// read returns the next character, 0 at the end.
func (l *netrcLexer) read() byte {
	if l.pos >= len(l.text) {
		return 0
	}
	c := l.text[l.pos]
	l.pos++
	if c == '\n' {
		l.line++
	}
	return c
}

// restOfLine returns the rest of the line, and whether the file has ended instead.
func (l *netrcLexer) restOfLine() (rest string, ended bool) {
	rest, after, found := strings.Cut(l.text[l.pos:], "\n")
	if !found && rest == "" {
		return "", true
	}
	l.pos = len(l.text) - len(after)
	l.line++
	return rest, false
}

// add appends a character; if that is a backslash, the character after it.
func (l *netrcLexer) add(token []byte, c byte) []byte {
	if c == '\\' {
		if l.pos == len(l.text) {
			return token
		}
		c = l.read()
	}
	return append(token, c)
}

// next returns the next token, "" at the end.
func (l *netrcLexer) next() string {
	if l.pushed != "" {
		token := l.pushed
		l.pushed = ""
		return token
	}
	space := func(c byte) bool { return c == '\n' || c == '\t' || c == '\r' || c == ' ' }
	var token []byte
	for l.pos < len(l.text) {
		c := l.read()
		if space(c) {
			continue
		}
		if c == '"' {
			for l.pos < len(l.text) {
				if c = l.read(); c == '"' {
					return string(token)
				}
				token = l.add(token, c)
			}
			return string(token)
		}
		for {
			token = l.add(token, c)
			if l.pos == len(l.text) {
				break
			}
			if c = l.read(); space(c) {
				break
			}
		}
		return string(token)
	}
	return string(token)
}
