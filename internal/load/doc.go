// Package load sends requests to an OpenAI-compatible server and measures what a client
// sees: `vobs load`.
//
// Three rules keep the figures honest. A latency counts from the time at which the request
// was meant to be sent, not from that at which a busy client sent it: otherwise the requests
// that are due while a server stalls would be sent late, and look fast (coordinated omission). How late
// requests were sent is a figure of its own, send_lateness. And tokens are those that the
// server counts in `usage`, because a chunk of a stream may hold several.
//
// A [Plan] is all requests of a run, made from a seed. A [Client] sends one request. [Run]
// sends a plan in a closed or an open loop. A [Result] is what was measured.
package load
