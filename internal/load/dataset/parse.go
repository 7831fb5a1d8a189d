package dataset

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// maxTokens bounds prompts and outputs, in tokens, and maxSeconds times: some 30 years.
const (
	maxTokens  = 10_000_000
	maxSeconds = 1e9
)

// object is a record as it is written.
type object map[string]json.RawMessage

// has reports whether a key has a value.
func (o object) has(key string) bool {
	value, ok := o[key]
	return ok && string(value) != "null"
}

// kinds lists the formats and the key that makes a record one of them.
var kinds = []struct {
	key    string
	format Format
}{
	{"prompt", Prompts}, {"messages", Messages}, {"conversations", ShareGPT}, {"input_length", Mooncake}, {"Request tokens", BurstGPT},
}

// parse reads a record. The first one sets the format. seconds is its time, as it is written.
func (d *Dataset) parse(o object) (r *Record, seconds float64, err error) {
	format, key := Format(""), ""
	for _, k := range kinds {
		switch {
		case !o.has(k.key):
		case format != "":
			return nil, 0, fmt.Errorf("the record has both %q and %q", key, k.key)
		default:
			format, key = k.format, k.key
		}
	}
	switch {
	case format == "":
		return nil, 0, errors.New("the record has no key of a known format: prompt, messages, conversations, input_length, or Request tokens")
	case d.Format == "":
		d.Format = format
	case d.Format != format:
		return nil, 0, fmt.Errorf("the record has the key %q, but the file begins with the format %s", key, d.Format)
	}
	r = &Record{}
	switch format {
	case Prompts:
		err = r.prompt(o)
	case Messages:
		err = r.messages(o, d.options.Turns)
	case ShareGPT:
		err = r.conversation(o)
	case Mooncake:
		seconds, err = r.mooncake(o)
	default:
		seconds, err = r.burst(o)
	}
	return r, seconds, err
}

// texts returns the records that texts of JSON hold.
type texts struct {
	in interface {
		next() (text []byte, line int, err error)
	}
}

func (t texts) next() (o object, line int, err error) {
	text, line, err := t.in.next()
	if err != nil {
		return nil, line, err
	}
	if err := json.Unmarshal(text, &o); err != nil || o == nil {
		return nil, line, fmt.Errorf("the record is not a JSON object (%w)", plain(err))
	}
	return o, line, nil
}

// plain returns what is wrong with a JSON text.
func plain(err error) error {
	var kind *json.UnmarshalTypeError
	if err == nil || errors.As(err, &kind) {
		return errors.New("it is of another type")
	}
	return err
}

// number reads a number that is not negative.
func (o object) number(key string) (float64, error) {
	if !o.has(key) {
		return 0, fmt.Errorf("the record has no %q", key)
	}
	x, err := strconv.ParseFloat(string(o[key]), 64)
	if err != nil || !(x >= 0 && x <= 1e18) {
		return 0, fmt.Errorf("%s is %.40s: use a number from 0 on", key, o[key])
	}
	return x, nil
}

// tokens reads a number of tokens, from least on.
func (o object) tokens(key string, least int) (int, error) {
	x, err := o.number(key)
	if err != nil {
		return 0, err
	}
	if x != math.Trunc(x) || x < float64(least) || x > maxTokens {
		return 0, fmt.Errorf("%s is %.40s: use a whole number from %d to %d", key, o[key], least, maxTokens)
	}
	return int(x), nil
}

// output reads the length of the output, if the record has one.
func (r *Record) output(o object) (err error) {
	for _, key := range []string{"output_tokens", "max_completion_tokens", "max_tokens", "output_len"} {
		if o.has(key) {
			r.OutputTokens, err = o.tokens(key, 1)
			return err
		}
	}
	return nil
}

func (r *Record) prompt(o object) error {
	value := o["prompt"]
	switch {
	case value[0] == '"':
		if err := json.Unmarshal(value, &r.Text); err != nil {
			return err
		}
	case json.Unmarshal(value, &r.IDs) != nil:
		return errors.New("prompt is neither a text nor a list of token ids")
	}
	if r.Text == "" && len(r.IDs) == 0 {
		return errors.New("prompt is empty")
	}
	for _, id := range r.IDs {
		if id < 0 {
			return fmt.Errorf("prompt has the token id %d", id)
		}
	}
	return r.output(o)
}

func (r *Record) messages(o object, turns bool) error {
	var all []json.RawMessage
	if err := json.Unmarshal(o["messages"], &all); err != nil || len(all) == 0 {
		return errors.New("messages is not a list of messages")
	}
	var roles []string
	for i, m := range all {
		var head object
		var role string
		if json.Unmarshal(m, &head) != nil || json.Unmarshal(head["role"], &role) != nil || role == "" {
			return fmt.Errorf("message %d has no role", i+1)
		}
		var one bytes.Buffer
		if err := json.Compact(&one, m); err != nil {
			return err
		}
		r.Messages, roles = append(r.Messages, one.Bytes()), append(roles, role)
	}
	if turns {
		if err := r.split(roles); err != nil {
			return err
		}
	}
	return r.output(o)
}

// split makes turns of the messages. Each ends with a message of the user; those of the model
// are left out, because its real answers take their place.
func (r *Record) split(roles []string) error {
	var turn []Message
	for i, role := range roles {
		switch role {
		case "user", "system", "developer":
			if turn = append(turn, r.Messages[i]); role == "user" && (i+1 == len(roles) || roles[i+1] != "user") {
				r.Turns, turn = append(r.Turns, turn), nil
			}
		case "assistant":
		default:
			return fmt.Errorf("message %d is of the role %.40q: conversations of turns have messages of user, assistant and system only", i+1, role)
		}
	}
	if len(r.Turns) == 0 {
		return errSkip
	}
	return nil
}

// roles are the names that ShareGPT's conversations have in "from", and their roles.
var roles = map[string]string{
	"human": "user", "user": "user", "system": "system",
	"gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant", "bing": "assistant", "bard": "assistant", "model": "assistant",
}

func (r *Record) conversation(o object) error {
	var all []object
	if err := json.Unmarshal(o["conversations"], &all); err != nil {
		return errors.New("conversations is not a list of objects")
	}
	var known []string
	for i, m := range all {
		var from, value string
		if json.Unmarshal(m["from"], &from) != nil || json.Unmarshal(m["value"], &value) != nil {
			return fmt.Errorf("message %d of the conversation has no texts in from and value", i+1)
		}
		role, ok := roles[from]
		if !ok {
			return fmt.Errorf("message %d of the conversation is from %.40q: use human, gpt or system", i+1, from)
		}
		text, err := json.Marshal(struct {
			Role    string `json:"role"`
			Content string `json:"content"`
		}{role, value})
		if err != nil {
			return err
		}
		r.Messages, known = append(r.Messages, text), append(known, role)
	}
	if err := r.split(known); err != nil {
		return err
	}
	r.Messages = nil
	return r.output(o)
}

func (r *Record) mooncake(o object) (seconds float64, err error) {
	milliseconds, err := o.time("timestamp", 1000)
	if err != nil {
		return 0, err
	}
	if r.PromptTokens, err = o.tokens("input_length", 1); err != nil {
		return 0, err
	}
	if r.OutputTokens, err = o.tokens("output_length", 1); err != nil {
		return 0, err
	}
	if !o.has("hash_ids") {
		return milliseconds, nil
	}
	if err := json.Unmarshal(o["hash_ids"], &r.Blocks); err != nil {
		return 0, errors.New("hash_ids is not a list of whole numbers from 0 on")
	}
	if want := (r.PromptTokens + BlockTokens - 1) / BlockTokens; len(r.Blocks) != want {
		return 0, fmt.Errorf("hash_ids has %d blocks, but input_length %d has %d of %d tokens", len(r.Blocks), r.PromptTokens, want, BlockTokens)
	}
	return milliseconds, nil
}

// burst reads a row of BurstGPT, in which a request that failed has no response tokens.
func (r *Record) burst(o object) (seconds float64, err error) {
	if seconds, err = o.time("Timestamp", 1); err != nil {
		return 0, err
	}
	if r.PromptTokens, err = o.tokens("Request tokens", 0); err != nil {
		return 0, err
	}
	if r.OutputTokens, err = o.tokens("Response tokens", 0); err != nil {
		return 0, err
	}
	if r.PromptTokens == 0 || r.OutputTokens == 0 {
		return 0, errSkip
	}
	return seconds, nil
}

// time reads a time, and returns it in seconds.
func (o object) time(key string, perSecond float64) (float64, error) {
	x, err := o.number(key)
	if err == nil && x/perSecond > maxSeconds {
		err = fmt.Errorf("%s is %.40s: that is too far", key, o[key])
	}
	return x / perSecond, err
}
