package schema

// ClientFindMax is the search for the highest rate that meets latency targets: `vobs load
// --find-max`.
type ClientFindMax struct {
	// The highest rate that meets the targets of `client.slo`; null if no step met them.
	Rate *Float `json:"rate" kind:"ratio" unit:"requests/second" better:"higher"`
	// Whether fresh runs at this rate, each with requests of its own, confirm it: three together met the targets, and none of them is proven to miss them.
	Confirmed bool `json:"confirmed"`
	// The highest rate that is proven to meet the targets, and the lowest that is proven to miss them; null for one that there is not.
	Proven *Bounds `json:"proven" kind:"bound" unit:"requests/second" better:"neither"`
	// The step between two rates of the search, relative to the lower one.
	Resolution *Float `json:"resolution" kind:"configuration" unit:"fraction"`
	// Why the search ended: `resolution`, the next higher rate misses the targets; `client`, it misses them because the client is too slow; `max_rate`, the highest allowed rate meets them; `lowest_rate`, the lowest rate that a step can judge misses them; `interrupted`; `error`, the server could not be measured any more.
	StoppedBy string `json:"stopped_by" enum:"resolution,client,max_rate,lowest_rate,interrupted,error"`
	// The steps, in their order.
	Steps []ClientFindMaxStep `json:"steps"`
}

// ClientFindMaxStep is a step of the search: an open loop at one rate.
type ClientFindMaxStep struct {
	// Its rate.
	Rate Float `json:"rate" kind:"configuration" unit:"requests/second" better:"neither"`
	// The seed of its requests.
	Seed int64 `json:"seed" kind:"identity"`
	// Whether it was a fresh run to confirm the rate.
	Confirms bool `json:"confirms"`
	// Requests that were judged: those sent, without the warm-up and a tenth for the start with an empty server.
	Requests int64 `json:"requests" kind:"counter" unit:"requests" better:"neither"`
	// Whether it met the targets.
	Met bool `json:"met"`
	// Whether that is proven, with an error probability of about 5 %; otherwise the step ended at its limit, and the shares decided.
	Proven bool `json:"proven"`
	// Whether the requests under way grew without end.
	Overload bool `json:"overload"`
	// Whether it missed the targets because the client sent requests too late.
	ClientLate bool `json:"client_late"`
	// The shares of requests that met each target.
	Shares []ClientFindMaxShare `json:"shares"`
	// How long it lasted, until all its requests had ended.
	Seconds Float `json:"seconds" kind:"duration" unit:"seconds"`
}

// ClientFindMaxShare is the share of a step's requests that met one target. Requests that failed
// met none.
type ClientFindMaxShare struct {
	// The target, as `ttft=500ms@p99`.
	Target string `json:"target"`
	// The share.
	Met Float `json:"met" kind:"ratio" unit:"fraction" better:"higher"`
	// Its interval with a confidence of 95 %, which takes account of how requests depend on each other.
	Interval *Bounds `json:"interval" kind:"bound" unit:"fraction" better:"neither"`
}

// fillLists replaces nil lists by empty ones.
func (f *ClientFindMax) fillLists() {
	fill(&f.Steps)
	for i := range f.Steps {
		fill(&f.Steps[i].Shares)
	}
}
