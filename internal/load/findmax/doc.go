// Package findmax finds the highest rate of requests at which a server meets latency targets.
//
// It sends nothing itself: a [Runner] runs a step, which is an open loop at one rate, and a
// [Watch] judges the step as its requests end. [Search] decides which rate comes next.
//
// The rates are a grid: each is higher than the one before by the resolution. The search doubles
// the rate until a step misses the targets, bisects between the last two, and confirms the
// result by fresh runs. A step ends as soon as it is proven that it meets the targets or misses
// them. Without a proof, it ends at its limit, and the shares of requests decide.
package findmax
