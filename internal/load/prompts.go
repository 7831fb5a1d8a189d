package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/vobs/vobs/internal/load/dataset"
)

// words are those that text prompts are made of: short and common, so that most are one token
// in the vocabulary of any model.
const words = `the of and to in is that for it was on are as with his they at be this have from or one had by word but not what all
were we when your can said there use an each which she do how their if will up other about out many then them these so some her would make
like him into time has look two more write go see number no way could people my than first water been call who its now find long down day
did get come made may part over new sound take only little work know place year live me back give most very after thing our just name good
sentence man think say great where help through much before line right too mean old any same tell boy follow came want show also around form
three small set put end does another well large must big even such because turn here why ask went men read need land different home us move
try kind hand picture again change off play spell air away animal house point page letter mother answer found study still learn should world`

// batch is how many words are tokenized at once.
const batch = 16

// prompts makes the bodies of requests.
type prompts struct {
	plan      *Plan
	endpoint  Endpoint
	model     string
	ignoreEOS bool
	returnIDs bool // of answers, which the next turn's prompt needs
	server    *Server
	dataset   *dataset.Dataset
	// fixedOutput makes the plan's length of outputs take precedence over the dataset's.
	fixedOutput bool
	vocabulary  []int    // token ids, or for chat indices into words
	words       []string // for chat
	prefix      []int
}

// vocabulary returns token ids to make prompts of. Without a size, they are those of common
// words, from the server's tokenizer. With a size, they are the middle of the range, because
// special tokens lie at the ends.
func vocabulary(ctx context.Context, s *Server, model string, size int) ([]int, error) {
	var ids []int
	if size > 0 {
		for id := size / 16; id < size-size/16; id++ {
			ids = append(ids, id)
		}
		return ids, nil
	}
	ids, err := s.tokenize(ctx, model, strings.Join(strings.Fields(words), " "))
	if err != nil {
		return nil, noTokenizer(err)
	}
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) < 2 {
		return nil, errors.New("the server's tokenizer knows no words: give the size of the vocabulary")
	}
	return ids, nil
}

// NoTokenizerError is returned if the server has no tokenizer to ask.
type NoTokenizerError struct{ err error }

func (e *NoTokenizerError) Error() string {
	return fmt.Sprintf("the server has no /tokenize (%v)", e.err)
}

func (e *NoTokenizerError) Unwrap() error { return e.err }

func noTokenizer(err error) error {
	var status *StatusError
	if errors.As(err, &status) && (status.Status == http.StatusNotFound || status.Status == http.StatusMethodNotAllowed) {
		return &NoTokenizerError{err}
	}
	return fmt.Errorf("tokenizing: %w", err)
}

// singleWords returns the words that are one token each behind another word. Without a
// tokenizer it returns all words.
func singleWords(ctx context.Context, s *Server, model string) ([]string, error) {
	all := strings.Fields(words)
	first, err := s.tokenize(ctx, model, "the")
	if err != nil {
		if err = noTokenizer(err); errors.As(err, new(*NoTokenizerError)) {
			return all, nil
		}
		return nil, err
	}
	var single []string
	for some := range slices.Chunk(all, batch) {
		ids, err := s.tokenize(ctx, model, "the "+strings.Join(some, " "))
		if err != nil {
			return nil, noTokenizer(err)
		}
		if len(ids) == len(first)+len(some) {
			single = append(single, some...)
		}
	}
	if len(single) < 2 {
		return all, nil
	}
	return single, nil
}

// newPrompts asks the server for what is needed to make prompts.
func newPrompts(ctx context.Context, s *Server, o *Options) (*prompts, error) {
	p := &prompts{
		plan: &o.Plan, endpoint: o.Endpoint, model: o.Model, ignoreEOS: o.IgnoreEOS, server: s, dataset: o.Dataset, fixedOutput: o.FixedOutput,
		returnIDs: o.Endpoint == Completions && o.Turns.high > 1,
	}
	var err error
	if p.model == "" {
		if p.model, err = s.model(ctx); err != nil {
			return nil, err
		}
	}
	switch {
	case p.dataset != nil && !p.dataset.Format.Timed(): // has its own prompts
	case p.endpoint == Chat:
		p.words, err = singleWords(ctx, s, p.model)
		for i := range p.words {
			p.vocabulary = append(p.vocabulary, i)
		}
	default:
		p.vocabulary, err = vocabulary(ctx, s, p.model, o.Vocab)
	}
	if err != nil {
		return nil, err
	}
	p.prefix = p.plan.prefix(p.vocabulary)
	return p, nil
}

// message is a message of a chat.
type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// streamOptions asks for the server's own counts of tokens.
type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

// body is the body of a request. vLLM takes ignore_eos and min_tokens; both make it generate
// exactly max_tokens tokens.
type body struct {
	Model     string `json:"model"`
	Prompt    any    `json:"prompt,omitempty"`   // []int or string
	Messages  any    `json:"messages,omitempty"` // a list
	MaxTokens int    `json:"max_tokens"`
	MinTokens int    `json:"min_tokens,omitempty"`
	IgnoreEOS bool   `json:"ignore_eos,omitempty"`
	// ReturnTokenIDs makes vLLM 0.10.2 and later return the ids of the tokens
	// (vllm-project/vllm#22587).
	ReturnTokenIDs bool `json:"return_token_ids,omitempty"`

	Stream        bool          `json:"stream"`
	StreamOptions streamOptions `json:"stream_options"`
}

// next returns the request of a number, which follows on the one before; io.EOF at the end of
// the dataset.
func (p *prompts) next(number int) (*Request, error) {
	if p.dataset != nil {
		return p.replay(number)
	}
	r := &Request{Number: number, plan: p.plan.request(number)}
	ids := p.plan.tokenIDs(number, r.plan, p.prefix, p.vocabulary)
	c := &conversation{number: number, turns: p.plan.turns(number), ids: ids}
	if c.turns > 1 && p.endpoint == Chat {
		c.messages = []any{message{"user", p.text(ids)}}
	}
	p.begin(r, c)
	p.fill(r, ids)
	return r, nil
}

// fill makes the body of a request from its prompt.
func (p *prompts) fill(r *Request, ids []int) {
	if p.endpoint == Chat {
		r.body = p.encode(r, nil, []message{{"user", p.text(ids)}})
	} else {
		r.body = p.encode(r, ids, nil)
	}
}

// text returns a prompt of words.
func (p *prompts) text(ids []int) string {
	var text strings.Builder
	for i, id := range ids {
		if i > 0 {
			text.WriteByte(' ')
		}
		text.WriteString(p.words[id])
	}
	return text.String()
}

// encode returns the body of a request with a prompt or messages; the other one is nil.
func (p *prompts) encode(r *Request, prompt, messages any) []byte {
	b := body{
		Model: p.model, Prompt: prompt, Messages: messages, MaxTokens: r.plan.output, Stream: true, StreamOptions: streamOptions{true},
		ReturnTokenIDs: p.returnIDs,
	}
	if p.ignoreEOS {
		b.IgnoreEOS, b.MinTokens = true, r.plan.output
	}
	encoded, err := json.Marshal(b)
	if err != nil {
		panic(err) // texts, numbers and JSON only
	}
	return encoded
}

// path returns the path of the endpoint.
func (p *prompts) path() string {
	if p.endpoint == Chat {
		return "/v1/chat/completions"
	}
	return "/v1/completions"
}
