// Package dataset reads files of requests: prompts, chats, conversations, and traces of real
// services with their times.
//
// A file holds one JSON object per line, an array of objects, or a CSV. Its format is that of
// its first record, recognized by its keys. The file may be compressed with gzip. It is read
// as a stream, one record at a time.
package dataset

import "time"

// Format is a format of records.
type Format string

// The formats.
const (
	// Prompts is {"prompt": "text" or [token ids]}, as the custom dataset of `vllm bench serve`
	// (class CustomDataset in vllm/benchmarks/datasets/datasets.py of vLLM 0.32).
	Prompts Format = "prompts"
	// Messages is {"messages": […]} with the messages of OpenAI's chat API.
	Messages Format = "messages"
	// ShareGPT is {"conversations": [{"from": "human", "value": "text"}, …]}.
	ShareGPT Format = "sharegpt"
	// Mooncake is {"timestamp": MILLISECONDS, "input_length", "output_length", "hash_ids"}, as
	// the traces in FAST25-release of github.com/kvcache-ai/Mooncake.
	Mooncake Format = "mooncake"
	// BurstGPT has the columns or keys Timestamp (in seconds), "Request tokens" and "Response
	// tokens", as the files of github.com/HPMLL/BurstGPT.
	BurstGPT Format = "burstgpt"
)

// BlockTokens is how many tokens each of the hash_ids of a Mooncake trace stands for: its
// authors' block size (FAST25-release/README.md).
const BlockTokens = 512

// Timed reports whether the records of a format have times.
func (f Format) Timed() bool { return f == Mooncake || f == BurstGPT }

// Chat reports whether the records of a format are messages of a chat.
func (f Format) Chat() bool { return f == Messages || f == ShareGPT }

// Record is what one request, or one conversation, is made of.
type Record struct {
	// Line is the line on which the record begins.
	Line int
	// Text or IDs is the prompt, for Prompts.
	Text string
	IDs  []int
	// Messages are those of a chat as the file has them, for Messages.
	Messages []Message
	// Turns are the messages that the user's side adds turn by turn, for ShareGPT, and for
	// Messages if Options.Turns is set.
	Turns [][]Message
	// PromptTokens is the length of the prompt, for Mooncake and BurstGPT, and Blocks are its
	// hash_ids, for Mooncake; nil if it has none.
	PromptTokens int
	Blocks       []uint64
	// OutputTokens is the length of the output; 0 if the record has none.
	OutputTokens int
	// At is the time since the first record, for formats with times.
	At time.Duration
}

// Message is a message of a chat, as JSON.
type Message []byte

// MarshalJSON returns the message as it is.
func (m Message) MarshalJSON() ([]byte, error) { return m, nil }
