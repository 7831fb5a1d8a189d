package load

import (
	"context"
	"encoding/json"
	"time"

	"github.com/vobs/vobs/internal/load/dataset"
)

// conversation is one of several turns. Every turn sends what was said before, with the
// model's real answers, and what the user adds.
type conversation struct {
	number, turns int
	ids           []int // what was said so far, on completions
	messages      []any // and on chat
	// recorded are the user's messages of each turn in a dataset; nil if they are made here.
	recorded [][]dataset.Message
}

// answer is what the model answers to a turn.
type answer struct {
	text []byte
	ids  []int
}

// add takes up a chunk. Its parts are JSON that the scanner has passed over only, so that they
// may be wrong: what cannot be read is left out.
func (a *answer) add(c *chunk) {
	var text string
	if len(c.content) > 0 && json.Unmarshal(c.content, &text) == nil {
		a.text = append(a.text, text...)
	}
	var ids []int
	if len(c.ids) > 0 && json.Unmarshal(c.ids, &ids) == nil {
		a.ids = append(a.ids, ids...)
	}
}

// turnOf is the number of a turn among the random numbers of a stream.
func turnOf(conversation, turn int) uint64 { return uint64(conversation)<<24 | uint64(turn) }

// turns returns how many turns a conversation has.
func (p *Plan) turns(conversation int) int {
	if p.Turns.high <= 1 {
		return 1
	}
	return p.Turns.draw(p.random(streamTurns, uint64(conversation)))
}

// turn returns a turn of a conversation, from 2 on. prompt is the length of what the user
// adds.
func (p *Plan) turn(conversation, turn int) planned {
	rng := p.random(streamTurn, turnOf(conversation, turn))
	r := planned{prompt: p.TurnTokens.draw(rng), output: p.OutputTokens.draw(rng), cancelAfter: -1}
	p.cancel(rng, &r)
	return r
}

// turnTokens returns what the user adds in a turn, as token ids of the vocabulary.
func (p *Plan) turnTokens(conversation, turn, n int, vocabulary []int) []int {
	rng := p.random(streamTurnPrompt, turnOf(conversation, turn))
	ids := make([]int, n)
	for i := range ids {
		ids[i] = vocabulary[rng.IntN(len(vocabulary))]
	}
	return ids
}

// think returns the time before a turn.
func (p *Plan) think(conversation, turn int) time.Duration {
	return p.ThinkTime.draw(p.random(streamThink, turnOf(conversation, turn)))
}

// begin makes a request the first turn of a conversation, if the plan has conversations.
func (p *prompts) begin(r *Request, c *conversation) {
	if p.plan.Turns.high > 1 {
		r.conversation, r.Conversation, r.Turn = c, c.number, 1
	}
	if c.turns > 1 {
		r.answer = &answer{}
	}
}

// following returns the turn that follows on a request, without its body; nil if there is
// none. A conversation ends with a turn that fails or is cancelled.
func (p *prompts) following(r *Request) *Request {
	c := r.conversation
	if c == nil || r.Turn >= c.turns || !r.completed() {
		return nil
	}
	next := &Request{Conversation: c.number, Turn: r.Turn + 1, conversation: c}
	if c.recorded != nil {
		next.plan = p.recordedTurn(c, next.Turn)
	} else {
		next.plan = p.plan.turn(c.number, next.Turn)
	}
	if next.Turn < c.turns {
		next.answer = &answer{}
	}
	return next
}

// continueWith makes the body of a turn from the answer to the one before.
func (p *prompts) continueWith(ctx context.Context, r *Request, a *answer) error {
	c := r.conversation
	if p.endpoint == Completions {
		if len(a.ids) == 0 && len(a.text) > 0 {
			ids, err := p.server.tokenize(ctx, p.model, string(a.text))
			if err != nil {
				return &NoTokenIDsError{noTokenizer(err)}
			}
			a.ids = ids
		}
		c.ids = append(c.ids, a.ids...)
		c.ids = append(c.ids, p.plan.turnTokens(c.number, r.Turn, r.plan.prompt, p.vocabulary)...)
		r.plan.prompt = len(c.ids)
		r.body = p.encode(r, c.ids, nil)
		return nil
	}
	c.messages = append(c.messages, message{"assistant", string(a.text)})
	if c.recorded != nil {
		for _, m := range c.recorded[r.Turn-1] {
			c.messages = append(c.messages, m)
		}
	} else {
		c.messages = append(c.messages, message{"user", p.text(p.plan.turnTokens(c.number, r.Turn, r.plan.prompt, p.vocabulary))})
	}
	r.plan.prompt = 0 // the answers are in it, and the template adds its own
	r.body = p.encode(r, nil, c.messages)
	return nil
}

// NoTokenIDsError is returned if the answers of a server cannot be made part of prompts of
// token ids.
type NoTokenIDsError struct{ err error }

func (e *NoTokenIDsError) Error() string {
	return "the server does not return the token ids of its answers, and they cannot be tokenized: " + e.err.Error()
}

func (e *NoTokenIDsError) Unwrap() error { return e.err }
