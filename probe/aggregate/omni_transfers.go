package aggregate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/window"
	"github.com/vobs/vobs/schema"
)

// transferEdge is a way on which something is handed from a replica of one stage to one
// of another.
type transferEdge struct{ fromStage, fromReplica, toStage, toReplica string }

func (e transferEdge) String() string {
	return fmt.Sprintf("%s/%s to %s/%s", e.fromStage, e.fromReplica, e.toStage, e.toReplica)
}

func compareEdges(a, b transferEdge) int {
	return cmp.Or(compareLabels(a.fromStage, b.fromStage), compareLabels(a.fromReplica, b.fromReplica),
		compareLabels(a.toStage, b.toStage), compareLabels(a.toReplica, b.toReplica))
}

// transferMetric is one of the figures of an edge.
type transferMetric struct {
	metric metrics.ID
	name   string
	into   func(*schema.OmniTransfer) **schema.Distribution
}

// transferMetrics are the size and then the parts of the latency, in the order of time.
var transferMetrics = []transferMetric{
	{metrics.OmniTransferSize, "size_bytes", func(t *schema.OmniTransfer) **schema.Distribution { return &t.SizeBytes }},
	{metrics.OmniTx, "tx_seconds", func(t *schema.OmniTransfer) **schema.Distribution { return &t.TxSeconds }},
	{metrics.OmniInFlight, "in_flight_seconds", func(t *schema.OmniTransfer) **schema.Distribution { return &t.InFlightSeconds }},
	{metrics.OmniRx, "rx_seconds", func(t *schema.OmniTransfer) **schema.Distribution { return &t.RxSeconds }},
}

// omniTransfers gives each edge its figures. Each part has its own count: builds
// leave out what they cannot assign to a replica, and some record no sending at
// all (vllm-omni PR 3576).
func (r view) omniTransfers() []schema.OmniTransfer {
	edges := map[transferEdge]map[metrics.ID][]*window.Metric{}
	whys := map[metrics.ID]string{}
	for _, h := range transferMetrics {
		groups, why := r.metricsOf(h.metric)
		whys[h.metric] = why
		for _, g := range groups {
			e := transferEdge{g.Labels.Get("from_stage"), g.Labels.Get("from_replica"), g.Labels.Get("to_stage"), g.Labels.Get("to_replica")}
			if edges[e] == nil {
				edges[e] = map[metrics.ID][]*window.Metric{}
			}
			edges[e][h.metric] = append(edges[e][h.metric], g)
		}
	}
	if len(edges) == 0 {
		for _, h := range transferMetrics {
			if why := whys[h.metric]; why != "" {
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
		r.Notes.Doubt(schema.CodeTransfersIncomplete, schema.Info, "the mean latency of a transfer adds up the means of what was recorded: "+message, nil)
	}
	return out
}

// omniTransfer gives the figures of one edge, and says what its latency lacks.
func (r view) omniTransfer(path string, e transferEdge, groups map[metrics.ID][]*window.Metric, whys map[metrics.ID]string) (t schema.OmniTransfer, doubt string) {
	t = schema.OmniTransfer{FromStage: e.fromStage, FromReplica: e.fromReplica, ToStage: e.toStage, ToReplica: e.toReplica}
	sum := 0.0
	var had, lacks []string
	counts := map[int64]bool{}
	for _, h := range transferMetrics {
		why := whys[h.metric]
		if why == "" && len(groups[h.metric]) == 0 {
			why = "the engine has no sample of " + metrics.CanonicalName(h.metric) + " for this edge"
		}
		d := r.distributionOf(path+h.name, groups[h.metric], why, metrics.CanonicalName(h.metric))
		*h.into(&t) = d
		switch {
		case h.metric == metrics.OmniTransferSize:
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
