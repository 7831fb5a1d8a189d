package load

import (
	"bytes"
	"encoding/json"
	"errors"
)

// chunk is what a chunk of a stream means for the figures.
type chunk struct {
	// token reports whether the chunk has a token or more.
	token bool
	// hasUsage reports whether the server's counts are set.
	hasUsage                 bool
	prompt, generation       int64
	failed                   bool
	failure                  []byte // the server's error, as JSON
	text, role, end, choices bool   // end: with a finish reason
	// content is the text of the token, without reasoning, and ids are the token ids; both as JSON.
	content, ids []byte
}

var errBadChunk = errors.New("a chunk of the stream is not a JSON object")

// parse reads a chunk of /v1/completions or /v1/chat/completions. It looks at what it needs
// and skips the rest: encoding/json would take several times as long, for every token.
//
// A chunk has a token if a choice of it has text, or has none, but also neither a role nor a
// finish reason: vLLM sends such chunks for tokens that end within a character
// (vllm/entrypoints/openai/completion/serving.py). Other servers send a role, or a finish
// reason, without any token.
func (c *chunk) parse(data []byte) error {
	*c = chunk{}
	s := scanner{b: data}
	ok := s.object(func(key []byte) bool {
		switch string(key) {
		case "choices":
			return s.array(func() bool { return s.null() || s.object(c.choice(&s)) })
		case "usage":
			return s.null() || c.usage(&s)
		case "error":
			if s.null() {
				return true
			}
			from := s.i
			if !s.skip() {
				return false
			}
			c.failed, c.failure = true, data[from:s.i]
			return true
		case "object": // vLLM before 0.10 sends its error as the chunk itself
			text, ok := s.text()
			if ok && string(text) == "error" {
				c.failed, c.failure = true, data
			}
			return ok || s.skip()
		}
		return s.skip()
	})
	if s.blank(); !ok || s.i != len(data) {
		return errBadChunk
	}
	c.token = c.text || c.choices && !c.role && !c.end
	return nil
}

func (c *chunk) choice(s *scanner) func(key []byte) bool {
	c.choices = true
	return func(key []byte) bool {
		switch string(key) {
		case "text":
			return c.value(s, &c.content)
		case "token_ids":
			return c.value(s, &c.ids)
		case "delta":
			return s.null() || s.object(func(key []byte) bool {
				switch string(key) {
				case "content":
					return c.value(s, &c.content)
				case "reasoning_content", "reasoning", "refusal", "tool_calls":
					return c.value(s, nil)
				case "role":
					if !s.null() {
						c.role = true
						return s.skip()
					}
					return true
				}
				return s.skip()
			})
		case "finish_reason":
			if !s.null() {
				c.end = true
				return s.skip()
			}
			return true
		}
		return s.skip()
	}
}

// value takes up a value that a token makes: a text or a list that is not empty. It is kept if
// keep is not nil.
func (c *chunk) value(s *scanner, keep *[]byte) bool {
	if s.null() {
		return true
	}
	from := s.i
	if !s.skip() {
		return false
	}
	if v := s.b[from:s.i]; len(v) > 2 {
		c.text = true
		if keep != nil {
			*keep = v
		}
	}
	return true
}

func (c *chunk) usage(s *scanner) bool {
	c.hasUsage = true
	return s.object(func(key []byte) bool {
		switch string(key) {
		case "prompt_tokens":
			return s.integer(&c.prompt)
		case "completion_tokens":
			return s.integer(&c.generation)
		}
		return s.skip()
	})
}

// failureText returns the message of a server's error, or the error as it is.
func failureText(failure []byte) string {
	var e struct {
		Message string
		Error   json.RawMessage
	}
	if json.Unmarshal(failure, &e) == nil {
		if e.Message != "" {
			return e.Message
		}
		if len(e.Error) > 0 {
			return failureText(e.Error)
		}
	}
	var text string
	if json.Unmarshal(failure, &text) == nil {
		return text
	}
	return string(bytes.TrimSpace(failure))
}

// scanner walks over JSON without allocating. It accepts some texts that are not JSON, but
// never reads past the end, and finds the members of every text that is.
type scanner struct {
	b []byte
	i int
}

func (s *scanner) blank() {
	for s.i < len(s.b) && s.b[s.i] <= ' ' && (s.b[s.i] == ' ' || s.b[s.i] == '\n' || s.b[s.i] == '\t' || s.b[s.i] == '\r') {
		s.i++
	}
}

// take skips blanks, and then c if it comes next.
func (s *scanner) take(c byte) bool {
	s.blank()
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

// object calls member before the value of each member of an object. member must consume the
// value.
func (s *scanner) object(member func(key []byte) bool) bool {
	if !s.take('{') {
		return false
	}
	if s.take('}') {
		return true
	}
	for {
		key, ok := s.text()
		if !ok || !s.take(':') {
			return false
		}
		if s.blank(); !member(key) {
			return false
		}
		if !s.take(',') {
			return s.take('}')
		}
	}
}

// array calls element before each element of an array. element must consume it.
func (s *scanner) array(element func() bool) bool {
	if s.null() {
		return true
	}
	if !s.take('[') {
		return false
	}
	if s.take(']') {
		return true
	}
	for {
		if s.blank(); !element() {
			return false
		}
		if !s.take(',') {
			return s.take(']')
		}
	}
}

// text reads a string and returns it as it is written, without quotes.
func (s *scanner) text() ([]byte, bool) {
	if s.blank(); s.i >= len(s.b) || s.b[s.i] != '"' {
		return nil, false
	}
	from := s.i + 1
	for at := from; ; {
		quote := bytes.IndexByte(s.b[at:], '"')
		if quote < 0 {
			return nil, false
		}
		at += quote
		escapes := 0
		for at-escapes > from && s.b[at-escapes-1] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			s.i = at + 1
			return s.b[from:at], true
		}
		at++
	}
}

// null consumes a null.
func (s *scanner) null() bool {
	if s.blank(); bytes.HasPrefix(s.b[s.i:], []byte("null")) {
		s.i += len("null")
		return true
	}
	return false
}

// integer reads a number that is not negative.
func (s *scanner) integer(to *int64) bool {
	from := s.i
	if !s.skip() {
		return false
	}
	n := int64(0)
	for _, c := range s.b[from:s.i] {
		if c < '0' || c > '9' || n > 1<<50 {
			return string(s.b[from:s.i]) == "null"
		}
		n = 10*n + int64(c-'0')
	}
	*to = n
	return true
}

// skip consumes a value.
func (s *scanner) skip() bool {
	if s.blank(); s.i >= len(s.b) {
		return false
	}
	switch s.b[s.i] {
	case '"':
		_, ok := s.text()
		return ok
	case '{', '[':
		depth := 0
		for s.i < len(s.b) {
			switch s.b[s.i] {
			case '"':
				if _, ok := s.text(); !ok {
					return false
				}
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			s.i++
			if depth == 0 {
				return true
			}
		}
		return false
	}
	from := s.i
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c == '-', c == '+', c == '.', c == 'E':
			s.i++
			continue
		}
		break
	}
	return s.i > from
}
