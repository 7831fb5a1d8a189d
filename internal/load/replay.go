package load

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/vobs/vobs/internal/load/dataset"
)

// seedOfBlocks keeps the random numbers of blocks apart from all others.
const seedOfBlocks = 0x626c6f636b

// block returns the tokens that a block of a trace stands for: equal ones for equal ids.
// length cuts the last block of a prompt.
//
// The first four tokens encode the id, so that short blocks differ, too.
func (p *Plan) block(id uint64, length int, vocabulary []int) []int {
	rng := rand.New(rand.NewPCG(p.Seed^seedOfBlocks, id))
	ids := make([]int, length)
	rest := id
	for i := range ids {
		at := int(rest % uint64(len(vocabulary)))
		if rest /= uint64(len(vocabulary)); i >= 4 {
			at = rng.IntN(len(vocabulary))
		}
		ids[i] = vocabulary[at]
	}
	return ids
}

// recordPlan returns the request that a record of the dataset makes.
func (p *prompts) recordPlan(number int, record *dataset.Record) planned {
	rng := p.plan.random(streamRequest, uint64(number))
	r := planned{prompt: record.PromptTokens, output: record.OutputTokens, cancelAfter: -1}
	if r.output == 0 || p.fixedOutput {
		r.output = p.plan.OutputTokens.draw(rng)
	}
	p.plan.cancel(rng, &r)
	return r
}

// recordedTurn returns a turn of a conversation in the dataset. Its prompt is of unknown
// length.
func (p *prompts) recordedTurn(c *conversation, turn int) planned {
	rng := p.plan.random(streamTurn, turnOf(c.number, turn))
	r := planned{output: p.plan.OutputTokens.draw(rng), cancelAfter: -1}
	p.plan.cancel(rng, &r)
	return r
}

// replay returns the request of the next record of the dataset, or io.EOF.
func (p *prompts) replay(number int) (*Request, error) {
	record, err := p.dataset.Next()
	if err != nil {
		return nil, err
	}
	r := &Request{Number: number, at: record.At, plan: p.recordPlan(number, record)}
	switch {
	case len(record.Turns) > 0:
		c := &conversation{number: number, turns: min(len(record.Turns), p.plan.turns(number)), recorded: record.Turns}
		for _, m := range record.Turns[0] {
			c.messages = append(c.messages, m)
		}
		p.begin(r, c)
		r.body = p.encode(r, nil, c.messages)
	case record.Messages != nil:
		r.body = p.encode(r, nil, record.Messages)
	case record.Text != "" && p.endpoint == Chat:
		r.body = p.encode(r, nil, []message{{"user", record.Text}})
	case record.Text != "":
		r.body = p.encode(r, record.Text, nil)
	case record.IDs != nil && p.endpoint == Chat:
		return nil, fmt.Errorf("the record in line %d has token ids, which cannot go to chat", record.Line)
	case record.IDs != nil:
		r.plan.prompt = len(record.IDs)
		r.body = p.encode(r, record.IDs, nil)
	default:
		p.fill(r, p.trace(number, record))
	}
	return r, nil
}

// trace returns the prompt of a record of a trace, which has lengths only. Without blocks, it
// is like no other.
func (p *prompts) trace(number int, record *dataset.Record) []int {
	if record.Blocks == nil {
		return p.plan.tokenIDs(number, planned{prompt: record.PromptTokens}, nil, p.vocabulary)
	}
	ids := make([]int, 0, record.PromptTokens)
	for _, block := range record.Blocks {
		length := min(dataset.BlockTokens, record.PromptTokens-len(ids))
		ids = append(ids, p.plan.block(block, length, p.vocabulary)...)
	}
	return slices.Clip(ids)
}
