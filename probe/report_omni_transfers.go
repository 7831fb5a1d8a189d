package probe

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vobs/vobs/schema"
)

// edge is a way on which something is handed from a replica of one stage to one
// of another.
type edge struct{ fromStage, fromReplica, toStage, toReplica string }

func (e edge) String() string {
	return fmt.Sprintf("%s/%s to %s/%s", e.fromStage, e.fromReplica, e.toStage, e.toReplica)
}

func compareEdges(a, b edge) int {
	return cmp.Or(compareLabels(a.fromStage, b.fromStage), compareLabels(a.fromReplica, b.fromReplica),
		compareLabels(a.toStage, b.toStage), compareLabels(a.toReplica, b.toReplica))
}

// hop is one of the figures of an edge.
type hop struct {
	figure figure
	name   string
	into   func(*schema.OmniTransfer) **schema.Distribution
}

// hops are the size and then the parts of the latency, in the order of time.
var hops = []hop{
	{omniTransferSize, "size_bytes", func(t *schema.OmniTransfer) **schema.Distribution { return &t.SizeBytes }},
	{omniTx, "tx_seconds", func(t *schema.OmniTransfer) **schema.Distribution { return &t.TxSeconds }},
	{omniInFlight, "in_flight_seconds", func(t *schema.OmniTransfer) **schema.Distribution { return &t.InFlightSeconds }},
	{omniRx, "rx_seconds", func(t *schema.OmniTransfer) **schema.Distribution { return &t.RxSeconds }},
}

// omniTransfers gives each edge its figures. Each part has its own count: builds
// leave out what they cannot assign to a replica, and some record no sending at
// all (vllm-omni PR 3576).
func (r view) omniTransfers() []schema.OmniTransfer {
	edges := map[edge]map[figure][]*group{}
	whys := map[figure]string{}
	for _, h := range hops {
		groups, why := r.groups(h.figure)
		whys[h.figure] = why
		for _, g := range groups {
			e := edge{g.labels.Get("from_stage"), g.labels.Get("from_replica"), g.labels.Get("to_stage"), g.labels.Get("to_replica")}
			if edges[e] == nil {
				edges[e] = map[figure][]*group{}
			}
			edges[e][h.figure] = append(edges[e][h.figure], g)
		}
	}
	if len(edges) == 0 {
		for _, h := range hops {
			if why := whys[h.figure]; why != "" {
				r.Notes.Missing("omni.transfers", why)
				return nil
			}
		}
	}
	out := []schema.OmniTransfer{}
	var doubts []string
	for i, e := range slices.SortedFunc(maps.Keys(edges), compareEdges) {
		t, doubt := r.omniTransfer(fmt.Sprintf("omni.transfers.%d.", i), e, edges[e], whys)
		if doubt != "" {
			doubts = append(doubts, doubt)
		}
		out = append(out, t)
	}
	if n := len(doubts); n > 0 {
		message := strings.Join(doubts[:min(n, 3)], "; ")
		if n > 3 {
			message += fmt.Sprintf("; and %d more edges", n-3)
		}
		r.Notes.Doubt("transfers_incomplete", schema.Info, "the mean latency of a transfer adds up the means of what was recorded: "+message, nil)
	}
	return out
}

// omniTransfer gives the figures of one edge, and says what its latency lacks.
func (r view) omniTransfer(path string, e edge, groups map[figure][]*group, whys map[figure]string) (t schema.OmniTransfer, doubt string) {
	t = schema.OmniTransfer{FromStage: e.fromStage, FromReplica: e.fromReplica, ToStage: e.toStage, ToReplica: e.toReplica}
	sum := 0.0
	var had, lacks []string
	counts := map[int64]bool{}
	for _, h := range hops {
		why := whys[h.figure]
		if why == "" && len(groups[h.figure]) == 0 {
			why = "the engine has no sample of " + nameOf(h.figure) + " for this edge"
		}
		d := r.spread(path+h.name, groups[h.figure], why, nameOf(h.figure))
		*h.into(&t) = d
		switch {
		case h.figure == omniTransferSize:
		case d == nil:
			lacks = append(lacks, h.name)
		default:
			sum += float64(*d.Mean)
			counts[d.Count] = true
			had = append(had, fmt.Sprintf("%d of %s", d.Count, h.name))
		}
	}
	switch {
	case len(had) == 0:
		r.Notes.Missing(path+"latency_mean_seconds", "neither sending nor flight nor receiving was recorded on this edge")
		return t, ""
	case len(lacks) > 0:
		doubt = fmt.Sprintf("from %s without %s", e, strings.Join(lacks, " and "))
	case len(counts) > 1:
		doubt = fmt.Sprintf("from %s over %s", e, strings.Join(had, ", "))
	}
	t.LatencyMeanSeconds = schema.F(sum)
	return t, doubt
}
