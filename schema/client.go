package schema

// Client holds the figures of a load generator: what its requests saw.
type Client struct {
	// The load generator: `vobs load`, `vllm bench serve`, `guidellm`, `aiperf` or `inference-perf`.
	Tool string `json:"tool"`
	// Its requests.
	Requests *ClientRequests `json:"requests"`
	// The tokens of completed requests.
	Tokens *ClientTokens `json:"tokens"`
	// Latencies of completed requests.
	LatencySeconds *ClientLatency `json:"latency_seconds" unit:"seconds" better:"lower"`
	// The client's mean latencies less the engine's, over the same requests, those of the warm-up included: the time in the network, in the server's front end and in the client.
	EngineDifferenceSeconds *ClientDifference `json:"engine_difference_seconds" unit:"seconds" better:"lower"`
	// The requests that were sent first. No other figure here has them, except those of `engine_difference_seconds`; the engine's figures have them. Null if there were none.
	Warmup *ClientWarmup `json:"warmup"`
	// Time from the first request's intended start to the end of the last one.
	DurationSeconds *Float `json:"duration_seconds" kind:"duration" unit:"seconds"`
	// Rates over that time, or over the steady part of it: see `over`.
	Throughput *ClientThroughput `json:"throughput"`
	// The latency targets that goodput counts, as `ttft=500ms,itl=50ms`; null without any.
	SLO *string `json:"slo"`
	// Completed requests per second that met all targets of `slo`.
	Goodput *Float `json:"goodput" kind:"ratio" unit:"requests/second" better:"higher"`
	// The search for the highest rate that meets the targets; null without `--find-max`.
	FindMax *ClientFindMax `json:"find_max"`
	// What the load generator was told to do, by its own names.
	Settings map[string]any `json:"settings"`
}

// FillLists replaces nil settings and lists by empty ones, and numbers without a JSON form in them by nil.
func (c *Client) FillLists() {
	if c.FindMax != nil {
		c.FindMax.fillLists()
	}
	if c.Settings == nil {
		c.Settings = map[string]any{}
	}
	for name, v := range c.Settings {
		c.Settings[name] = finite(v)
	}
}

// ClientRequests counts a load generator's requests.
type ClientRequests struct {
	// Requests that were sent.
	Started *int64 `json:"started" kind:"counter" unit:"requests"`
	// Those that were answered completely.
	Completed *int64 `json:"completed" kind:"counter" unit:"requests"`
	// Those that failed, by the kind of failure.
	Failed map[string]int64 `json:"failed" schema:"nullable" kind:"counter" unit:"requests" better:"lower"`
	// Those that the client cancelled on purpose.
	Cancelled *int64 `json:"cancelled" kind:"counter" unit:"requests"`
}

// ClientTokens counts the tokens of a load generator's completed requests.
type ClientTokens struct {
	// Prompt tokens.
	Prompt *int64 `json:"prompt" kind:"counter" unit:"tokens"`
	// Generated tokens.
	Generation *int64 `json:"generation" kind:"counter" unit:"tokens"`
	// Where the counts come from: `usage`, the server's own counts; `chunks`, the chunks of the streams, of which one may hold several tokens; `tokenizer`, the client's tokenizer; `tool`, the load generator does not say.
	From *string `json:"from" enum:"usage,chunks,tokenizer,tool"`
}

// ClientLatency holds the latency distributions that a load generator saw, under vLLM's
// metric names.
type ClientLatency struct {
	// From the intended time of sending to the first token.
	TimeToFirstToken *ClientDistribution `json:"time_to_first_token"`
	// Between two chunks of a stream.
	InterTokenLatency *ClientDistribution `json:"inter_token_latency"`
	// Time per token after the first, of each request.
	TimePerOutputToken *ClientDistribution `json:"time_per_output_token"`
	// From the intended time of sending to the end of the answer.
	E2ERequestLatency *ClientDistribution `json:"e2e_request_latency"`
	// From the intended time of sending to that at which the request was sent.
	SendLateness *ClientDistribution `json:"send_lateness"`
}

// ClientDifference holds the means of a load generator's latencies less those of the engine's.
// A mean is exact on both sides. A difference is null unless both have as many observations.
type ClientDifference struct {
	// Of the time to first token. The engine's begins when the front end has the request.
	TimeToFirstToken *Float `json:"time_to_first_token" kind:"difference"`
	// Of the inter-token latency.
	InterTokenLatency *Float `json:"inter_token_latency" kind:"difference"`
	// Of the time per output token.
	TimePerOutputToken *Float `json:"time_per_output_token" kind:"difference"`
	// Of the end-to-end latency.
	E2ERequestLatency *Float `json:"e2e_request_latency" kind:"difference"`
}

// ClientWarmup holds the figures of the requests that a load generator sent before those that
// it counts.
type ClientWarmup struct {
	// Its requests.
	Requests *ClientRequests `json:"requests"`
	// The tokens of completed requests.
	Tokens *ClientTokens `json:"tokens"`
	// Mean latencies of completed requests.
	LatencySeconds *ClientMeans `json:"latency_seconds" unit:"seconds" better:"neither"`
}

// ClientMeans holds the means of a load generator's latencies.
type ClientMeans struct {
	// As in `client.latency_seconds`.
	TimeToFirstToken *ClientMean `json:"time_to_first_token"`
	// As in `client.latency_seconds`.
	InterTokenLatency *ClientMean `json:"inter_token_latency"`
	// As in `client.latency_seconds`.
	TimePerOutputToken *ClientMean `json:"time_per_output_token"`
	// As in `client.latency_seconds`.
	E2ERequestLatency *ClientMean `json:"e2e_request_latency"`
}

// ClientMean is the mean of observations of a load generator.
type ClientMean struct {
	// Number of observations.
	Count int64 `json:"count" kind:"counter" unit:"observations" better:"neither"`
	// Mean.
	Mean Float `json:"mean" kind:"mean"`
}

// ClientDistribution summarises observations of a load generator. Percentiles are those of
// the observations, not estimates from wide buckets.
type ClientDistribution struct {
	// Number of observations.
	Count *int64 `json:"count" kind:"counter" unit:"observations" better:"neither"`
	// Mean.
	Mean *Float `json:"mean" kind:"mean"`
	// Median.
	P50 *Float `json:"p50" kind:"percentile"`
	// 90th percentile.
	P90 *Float `json:"p90" kind:"percentile"`
	// 95th percentile.
	P95 *Float `json:"p95" kind:"percentile"`
	// 99th percentile.
	P99 *Float `json:"p99" kind:"percentile"`
	// Highest observation.
	Max *Float `json:"max" kind:"peak"`
	// The interval in which the 99th percentile of the load lies with a confidence of 95 %; null instead of the second number if there are too few observations.
	P99Interval *Bounds `json:"p99_interval" kind:"bound" better:"neither"`
}

// ClientThroughput holds the rates of a load generator's completed requests.
type ClientThroughput struct {
	// Completed requests per second.
	RequestsPerSecond *Float `json:"requests_per_second" kind:"ratio" unit:"requests/second" better:"higher"`
	// Their prompt tokens per second.
	PromptTokensPerSecond *Float `json:"prompt_tokens_per_second" kind:"ratio" unit:"tokens/second" better:"higher"`
	// Their generated tokens per second.
	GenerationTokensPerSecond *Float `json:"generation_tokens_per_second" kind:"ratio" unit:"tokens/second" better:"higher"`
	// What the rates are over: `steady`, the time in which the load was at its level, without ramp, warm-up and end; `all`, `client.duration_seconds`.
	Over *string `json:"over" enum:"steady,all"`
}
