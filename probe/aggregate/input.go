package aggregate

import (
	"time"

	"github.com/vobs/vobs/internal/vllm/config"
	"github.com/vobs/vobs/probe/window"
)

// SettleTimeout is the longest wait for the last observations after the command's end.
const SettleTimeout = 2 * time.Second

// Input is what was read of the engines over one run. Aggregate does not change it.
type Input struct {
	// Endpoints are those whose figures count, in the event's order.
	Endpoints []Endpoint
	// Others are the known addresses that are in no figure.
	Others []Unread
	// Silent are those of Others where vLLM answered without its samples.
	Silent []Endpoint
	// Gauges are those of all endpoints, by [Endpoint.Index].
	Gauges *window.Gauges
	// Active is the time in which an endpoint worked.
	Active *window.ActiveTime
	// Started and Ended are the command's.
	Started, Ended time.Time
	// Introspection is what the plugin of --instrument reported.
	Introspection Introspection
}

// Base is what an endpoint's counters count from.
type Base int

const (
	// BaseNone means that nothing has been read yet.
	BaseNone Base = iota
	// BaseScraped is a page read before the command started.
	BaseScraped
	// BaseZero means that the process started inside the run.
	BaseZero
	// BaseLate is the first page read inside the run of a process that is older: what
	// it counted before that page is lost.
	BaseLate
)

// Final is how the last full page of an endpoint was read, as the event names it in
// engine.window.final.
type Final string

// The ways to read the last full page, the most trustworthy first.
const (
	FinalSettled      Final = "settled"
	FinalFiles        Final = "files"
	FinalUnsettled    Final = "unsettled"
	FinalBeforeSignal Final = "before_signal"
	FinalLastGood     Final = "last_good"
)

// Endpoint is the record of one address over the run.
type Endpoint struct {
	// Index is the endpoint's number in [Input.Gauges].
	Index int
	// Name is the address as the event shows it.
	Name string
	// Files reports whether prometheus_client's shared files were read, not a server.
	Files bool
	// GaugesFromFiles reports whether the polled gauges of a server were read from such files.
	GaugesFromFiles bool
	// Local reports whether its server runs on this host.
	Local bool
	// Foreign reports whether a server that was there before the command once
	// answered where the command's own was expected.
	Foreign bool

	Base Base
	// BaseAt is when counters count from, FirstAt the first reading, FullAt the last
	// full page, LastAt the last reading of any kind.
	BaseAt, FirstAt, FullAt, LastAt time.Time
	// BaseWritten and FullWritten are the times between which the pages at BaseAt and FullAt
	// were written: a late answer leaves open when that was.
	BaseWritten, FullWritten [2]time.Time
	Final                    Final
	// Scrapes counts successful readings, Errors those that failed while the engine was up.
	Scrapes, Errors int64
	// MaxGap is the longest time between two successful readings.
	MaxGap time.Duration
	// Latencies are the wall times of the latest requests.
	Latencies []time.Duration
	// ScrapeShare is the share of one core that polls took of the server, if that is more
	// than their budget; 0 otherwise.
	ScrapeShare float64
	// AtBase and AtFull are the requests on the page that counters count from and on the
	// last full page. An engine that started inside the run began without any.
	AtBase, AtFull window.Load
	// ActiveAtFull is the active time up to the last full page, in seconds.
	ActiveAtFull float64

	// LastError is the last failure, at FailedAt; Refused reports whether it was a
	// refused connection.
	LastError error
	FailedAt  time.Time
	Refused   bool
	// LastCounted is the last failure that Errors counts.
	LastCounted error
	// Partial is why the last reading of files is incomplete; nil if it is not.
	Partial error

	// MaxNumSeqs is --max-num-seqs in the server's command line; 0 if unknown.
	MaxNumSeqs int
	// MaxNumBatchedTokens is --max-num-batched-tokens there; 0 if unknown.
	MaxNumBatchedTokens int
	// KVRole is the server's kv_role, as vLLM writes it: kv_producer, kv_consumer or kv_both;
	// "" if unknown. MixedKVRoles reports whether files are read that servers with different
	// roles may write.
	KVRole       string
	MixedKVRoles bool
	// Version is the server's answer at /version; "" if unknown.
	Version string
	// Answers are what the server returned of its configuration.
	Answers Answers
	// Changes describes what differs between the engines that answered at the address one
	// after the other, in the event's own terms.
	Changes []string
	// ReplacedKVTokens is what the caches of the engines held that have been replaced.
	ReplacedKVTokens window.KVTokens
	// Counters are read, never changed.
	Counters *window.Counters
	// TokenCurves are the rates of tokens over the run; they are read, too.
	TokenCurves *window.TokenCurves
}

// source returns the endpoint's source as the event names it.
func (e *Endpoint) source() string {
	if e.Files {
		return "multiprocess"
	}
	return "http"
}

// gaugesFrom returns the source of the polled gauges as the event names it.
func (e *Endpoint) gaugesFrom() string {
	if e.GaugesFromFiles {
		return "multiprocess"
	}
	return e.source()
}

// Answers are a server's answers about its configuration. If files are read, they are
// those of the servers whose engines write the files.
type Answers struct {
	Version, Models, ServerInfo Answer
}

// Answer is one answer of a server about its configuration.
type Answer struct {
	// Asked reports whether the query was sent, Answered whether a response came, of
	// whatever status.
	Asked, Answered bool
	// Values are the settings in the response; nil if there are none.
	Values config.Values
	// Reported are all settings in a response of /server_info in the JSON form.
	Reported config.Reported
	// AsText reports whether /server_info came as text, which has fewer settings.
	AsText bool
	// KVRole is the kv_role in /server_info; "" if it has none.
	KVRole string
	// Reason is why there are no values; "" if there are.
	Reason string
}

// Unread is an address that is in no figure.
type Unread struct {
	Name string
	// Given reports whether the user gave it by --metrics-url.
	Given bool
	// Foreign is as in [Endpoint].
	Foreign bool
	// LastError is the last failure; nil if there was no request.
	LastError error
}
