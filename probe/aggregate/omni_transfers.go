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

// transferEdge is the path on which a replica of one stage hands its output to a replica of
// another stage.
type transferEdge struct{ fromStage, fromReplica, toStage, toReplica string }

func (e transferEdge) String() string {
	return fmt.Sprintf("%s/%s to %s/%s", e.fromStage, e.fromReplica, e.toStage, e.toReplica)
}

func compareEdges(a, b transferEdge) int {
	return cmp.Or(compareLabels(a.fromStage, b.fromStage), compareLabels(a.fromReplica, b.fromReplica),
		compareLabels(a.toStage, b.toStage), compareLabels(a.toReplica, b.toReplica))
}

// transferMetric is one of the metrics of an edge.
type transferMetric struct {
	id    metrics.ID
	field string
	into  func(*schema.OmniTransfer) **schema.Distribution
}

// transferMetrics are the size and then the parts of the latency, in the order of time.
var transferMetrics = []transferMetric{
	{metrics.OmniTransferSize, "size_bytes", func(t *schema.OmniTransfer) **schema.Distribution { return &t.SizeBytes }},
	{metrics.OmniTransferTx, "tx_seconds", func(t *schema.OmniTransfer) **schema.Distribution { return &t.TxSeconds }},
	{metrics.OmniTransferInFlight, "in_flight_seconds", func(t *schema.OmniTransfer) **schema.Distribution { return &t.InFlightSeconds }},
	{metrics.OmniTransferRx, "rx_seconds", func(t *schema.OmniTransfer) **schema.Distribution { return &t.RxSeconds }},
}

// omniTransfers returns the figures of each edge. Each part of the latency has a count of
// its own: builds leave out what they cannot assign to a replica, and some do not record the
// sending at all (vllm-omni PR 3576).
func (v view) omniTransfers() []schema.OmniTransfer {
	edges := map[transferEdge]map[metrics.ID][]*window.Metric{}
	reasons := map[metrics.ID]string{}
	for _, tm := range transferMetrics {
		found, why := v.metricsOf(tm.id)
		reasons[tm.id] = why
		for _, m := range found {
			e := transferEdge{m.Labels.Get("from_stage"), m.Labels.Get("from_replica"), m.Labels.Get("to_stage"), m.Labels.Get("to_replica")}
			if edges[e] == nil {
				edges[e] = map[metrics.ID][]*window.Metric{}
			}
			edges[e][tm.id] = append(edges[e][tm.id], m)
		}
	}
	if len(edges) == 0 {
		for _, tm := range transferMetrics {
			if why := reasons[tm.id]; why != "" {
				v.Notes.Missing("omni.transfers", why)
				return nil
			}
		}
	}
	out := []schema.OmniTransfer{}
	var doubts []string
	for i, e := range slices.SortedFunc(maps.Keys(edges), compareEdges) {
		t, doubt := v.omniTransfer(fmt.Sprintf("omni.transfers.%d.", i), e, edges[e], reasons)
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
		v.Notes.Doubt(schema.CodeTransfersIncomplete, schema.Info, "the mean latency of a transfer is the sum of the means of the parts that were recorded: "+message, nil)
	}
	return out
}

// omniTransfer returns the figures of one edge, and what casts doubt on its latency.
func (v view) omniTransfer(path string, e transferEdge, found map[metrics.ID][]*window.Metric, reasons map[metrics.ID]string) (t schema.OmniTransfer, doubt string) {
	t = schema.OmniTransfer{FromStage: e.fromStage, FromReplica: e.fromReplica, ToStage: e.toStage, ToReplica: e.toReplica}
	sum := 0.0
	var has, lacks []string
	counts := map[int64]bool{}
	for _, tm := range transferMetrics {
		why := reasons[tm.id]
		if why == "" && len(found[tm.id]) == 0 {
			why = "the engine has no sample of " + tm.id.CanonicalName() + " for this edge"
		}
		d := v.distributionOf(path+tm.field, found[tm.id], why, tm.id)
		*tm.into(&t) = d
		switch {
		case tm.id == metrics.OmniTransferSize:
		case d == nil:
			lacks = append(lacks, tm.field)
		default:
			sum += float64(*d.Mean)
			counts[d.Count] = true
			has = append(has, fmt.Sprintf("%d of %s", d.Count, tm.field))
		}
	}
	switch {
	case len(has) == 0:
		v.Notes.Missing(path+"latency_mean_seconds", "none of its parts (tx, in flight, rx) was recorded on this edge")
		return t, ""
	case len(lacks) > 0:
		doubt = fmt.Sprintf("from %s without %s", e, strings.Join(lacks, " and "))
	case len(counts) > 1:
		doubt = fmt.Sprintf("from %s over %s", e, strings.Join(has, ", "))
	}
	t.LatencyMeanSeconds = schema.F(sum)
	return t, doubt
}
