package aggregate

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/window"
	"github.com/vobs/vobs/schema"
)

// direction is one way between the GPU and the offload tier.
type direction struct {
	path string
	done string // "nothing was loaded"
	// The flat families.
	bytes, seconds, size metrics.ID
	// ours says whether a transfer_type of the deprecated families is this way.
	ours func(transferType string) bool
}

// The deprecated label is SOURCE_to_DESTINATION, of the media's names: CPU_to_GPU
// and GPU_to_CPU, on other devices as NPU_to_CPU.
var (
	loading = direction{"engine.kv_offload.load", "loaded", metrics.OffloadLoadBytes, metrics.OffloadLoadTime, metrics.OffloadLoadSize, func(t string) bool {
		return strings.HasPrefix(t, "CPU_to_") && t != "CPU_to_CPU" || strings.HasSuffix(t, "_to_GPU") && t != "GPU_to_GPU"
	}}
	storing = direction{"engine.kv_offload.store", "stored", metrics.OffloadStoreBytes, metrics.OffloadStoreTime, metrics.OffloadStoreSize, func(t string) bool {
		return strings.HasSuffix(t, "_to_CPU") && t != "CPU_to_CPU" || strings.HasPrefix(t, "GPU_to_") && t != "GPU_to_GPU"
	}}
)

// Figures that show that there is KV offloading, by the part of the event.
var (
	connectorFigures = []metrics.ID{
		metrics.OffloadLoadBytes, metrics.OffloadLoadTime, metrics.OffloadLoadSize, metrics.OffloadStoreBytes, metrics.OffloadStoreTime, metrics.OffloadStoreSize,
		metrics.OffloadOldBytes, metrics.OffloadOldTime, metrics.OffloadOldSize, metrics.OffloadLookupSync, metrics.OffloadLookupAsync, metrics.OffloadAllocationFailures,
		metrics.OffloadStoresSkipped,
	}
	cpuFigures  = []metrics.ID{metrics.OffloadCPUPinned, metrics.OffloadCPUPinnedWrite, metrics.OffloadCPUPinnedRead, metrics.OffloadCPUAllocation}
	tierFigures = []metrics.ID{
		metrics.TierQueries, metrics.TierHits, metrics.TierReadBytes, metrics.TierReadTime, metrics.TierWriteBytes, metrics.TierWriteTime, metrics.TierPromotionFailures,
		metrics.TierCascadeFailures, metrics.TierActivePromotions, metrics.TierActiveCascades, metrics.TierPinnedWrite, metrics.TierPinnedRead, metrics.TierLookupSync,
		metrics.TierLookupAsync, metrics.TierBackpressureLatency, metrics.TierStoresDropped, metrics.TierBlocksDropped,
	}
)

// offload reads vLLM's own KV offloading.
func (r view) offload() *schema.KVOffload {
	const path = "engine.kv_offload"
	if !r.everExported(slices.Concat(connectorFigures, cpuFigures, tierFigures, []metrics.ID{metrics.PromotionAllocationFailures})...) {
		r.Notes.Missing(path, "KV offloading is off: the engine exports no vllm:kv_offload families")
		return nil
	}
	if r.stage != "" {
		// vllm-omni issue 4802: what is between two such statistics is lost.
		r.Notes.Doubt(schema.CodeKVOffloadUndercounted, schema.Warning, "vllm-omni takes the scheduler's statistics at most once a second, and may lose what KV offloading counted in between: its totals may be too low; bytes per second of transfer time, hit rates and mean sizes hold", &schema.Evidence{Field: "engine.stage", Value: r.stage})
	}
	o := &schema.KVOffload{
		Load:               r.transfers(loading),
		Store:              r.transfers(storing),
		LookupDelaySeconds: r.lookupDelay(path+".lookup_delay_seconds", metrics.OffloadLookupSync, metrics.OffloadLookupAsync, ""),
		AllocationFailures: r.count(path+".allocation_failures", metrics.OffloadAllocationFailures),
		Tiers:              r.tiers(path + ".tiers"),
	}
	if r.everExported(metrics.OffloadStoresSkipped) {
		o.StoresSkipped = r.count(path+".stores_skipped", metrics.OffloadStoresSkipped)
	} else {
		r.Notes.Missing(path+".stores_skipped", "the engine exports it with a store_threshold of 2 or more only")
	}
	if r.everExported(cpuFigures...) {
		o.CPUPinned = &schema.CPUPinned{
			Usage: r.gauge(path+".cpu_pinned.usage", metrics.OffloadCPUPinned),
			Write: r.gauge(path+".cpu_pinned.write", metrics.OffloadCPUPinnedWrite),
			Read:  r.gauge(path+".cpu_pinned.read", metrics.OffloadCPUPinnedRead),
		}
	} else {
		r.Notes.Missing(path+".cpu_pinned", "the engine exports no vllm:kv_offload_cpu families: it is older than June 2026, or does not offload to the CPU's memory")
	}
	o.CPUAllocationChunks = r.distribution(path+".cpu_allocation_chunks", metrics.OffloadCPUAllocation)
	if r.everExported(metrics.PromotionAllocationFailures) {
		o.PromotionAllocationFailures = r.count(path+".promotion_allocation_failures", metrics.PromotionAllocationFailures)
	} else {
		r.Notes.Missing(path+".promotion_allocation_failures", noTiers)
	}
	return o
}

const noTiers = "the engine exports no vllm:kv_offload_tiering families: its offloading has one tier, or it is older than August 2026"

// transfers reads one direction.
func (r view) transfers(d direction) *schema.KVTransfer {
	gather := func(flat, old metrics.ID) ([]*window.Metric, string, metrics.ID) {
		named := flat
		groups, why := r.selectMetrics(func(e *endpointRecord) metrics.ID {
			if r.byOldNames(e, d) {
				named = old
				return old
			}
			return flat
		}, func(g *window.Metric) bool { return g.Desc.Metric() == flat || d.ours(g.By) })
		return groups, why, named
	}
	t := &schema.KVTransfer{}
	groups, why, _ := gather(d.bytes, metrics.OffloadOldBytes)
	t.Bytes = r.sumOf(d.path+".bytes", groups, why)
	groups, why, _ = gather(d.seconds, metrics.OffloadOldTime)
	if why == "" {
		t.Seconds = schema.F(gains(groups))
	} else {
		r.Notes.Missing(d.path+".seconds", why)
	}
	groups, why, named := gather(d.size, metrics.OffloadOldSize)
	t.SizeBytes = r.distributionOf(d.path+".size_bytes", groups, why, metrics.CanonicalName(named))
	if why == "" {
		t.Operations = schema.Ptr(int64(window.MergeHistograms(groups).Count))
	} else {
		r.Notes.Missing(d.path+".operations", why)
	}
	switch busy := d.path + ".gigabytes_per_second_busy"; {
	case t.Bytes == nil || t.Seconds == nil:
		r.Notes.Missing(busy, "of bytes and seconds one is not known")
	case *t.Seconds > 0:
		t.GigabytesPerSecondBusy = schema.F(float64(*t.Bytes) / float64(*t.Seconds) / 1e9)
	case *t.Bytes > 0:
		r.Notes.Missing(busy, "the engine tells no time for what was "+d.done)
	default:
		r.Notes.Missing(busy, "nothing was "+d.done)
	}
	seconds, _ := r.activeSeconds()
	switch wall := d.path + ".gigabytes_per_second_wall"; {
	case t.Bytes == nil:
		r.Notes.Missing(wall, "the bytes are not known")
	case seconds <= 0:
		r.Notes.Missing(wall, "the window has no length")
	default:
		t.GigabytesPerSecondWall = schema.F(float64(*t.Bytes) / seconds / 1e9)
	}
	return t
}

// byOldNames says whether a direction is read by the deprecated families at one
// endpoint: where the flat ones have no sample, or were not there when counting
// began and the deprecated ones were, or vanished. Since June 2026 flat series
// come with the first event, while the deprecated ones stand at 0 from the start,
// and go on doing so where the offload tier is not the CPU's memory.
func (r view) byOldNames(e *endpointRecord, d direction) bool {
	flat := []metrics.ID{d.bytes, d.seconds, d.size}
	old := []metrics.ID{metrics.OffloadOldBytes, metrics.OffloadOldTime, metrics.OffloadOldSize}
	flatThere, flatWhole, oldThere, oldGained := false, true, false, false
	for _, g := range e.Counters.Metrics {
		switch f := g.Desc.Metric(); {
		case g.Engine.Stage != r.stage:
		case slices.Contains(flat, f):
			flatThere = true
			flatWhole = flatWhole && e.whyUnusable(g) == "" && (!e.Counters.HasBaseline || e.Counters.InBaseline[g.Desc])
		case slices.Contains(old, f) && d.ours(g.By):
			oldThere = true
			oldGained = oldGained || g.Total > 0 || g.Count > 0
		}
	}
	switch {
	case flatThere && oldThere:
		return !flatWhole && oldGained
	case flatThere || oldThere:
		return oldThere
	}
	return !slices.ContainsFunc(flat, e.Counters.EverExported)
}

func gains(groups []*window.Metric) float64 {
	sum := 0.0
	for _, g := range groups {
		sum += g.Gain()
	}
	return sum
}

// sumOf gives counters added up for the field at path, nil with its reason noted.
func (r view) sumOf(path string, groups []*window.Metric, why string) *int64 {
	if why != "" {
		r.Notes.Missing(path, why)
		return nil
	}
	return schema.Ptr(int64(gains(groups)))
}

// lookupDelay reads the delays of look-ups: with a tier, of those in it.
func (r view) lookupDelay(path string, sync, async metrics.ID, tier string) *schema.LookupDelay {
	one := func(path string, f metrics.ID) *schema.Distribution {
		groups, why := r.groupsBy(f, tier)
		return r.distributionOf(path, groups, why, metrics.CanonicalName(f))
	}
	return &schema.LookupDelay{Sync: one(path+".sync", sync), Async: one(path+".async", async)}
}

// groupsBy gives the groups of one value of the label that splits the figure. A
// family's series come with their first events: where there is none of it, there
// was no event.
func (r view) groupsBy(f metrics.ID, by string) ([]*window.Metric, string) {
	return r.selectMetrics(func(*endpointRecord) metrics.ID { return f }, func(g *window.Metric) bool { return g.By == by })
}

// labelled collects the values of the label that splits some figures, of the
// stage's series.
func (r view) labelled(figures ...metrics.ID) map[string]bool {
	values := map[string]bool{}
	for _, e := range r.endpoints {
		for _, g := range e.Counters.Metrics {
			if g.Engine.Stage == r.stage && slices.Contains(figures, g.Desc.Metric()) {
				values[g.By] = true
			}
		}
	}
	for _, f := range figures {
		for p := range r.gauges.Families[f].States {
			if p.Engine.Stage == r.stage {
				values[p.By] = true
			}
		}
	}
	return values
}

// sampled says whether one of some figures has a series at a value of the label.
func (r view) sampled(by string, figures ...metrics.ID) bool { return r.labelled(figures...)[by] }

// tiers reads the tiers' own figures.
func (r view) tiers(path string) []schema.KVTier {
	if !r.everExported(tierFigures...) {
		r.Notes.Missing(path, noTiers)
		return nil
	}
	out := []schema.KVTier{}
	for name := range r.labelled(tierFigures...) {
		out = append(out, schema.KVTier{Tier: name})
	}
	slices.SortFunc(out, func(a, b schema.KVTier) int {
		index := func(name string) int {
			number, _, _ := strings.Cut(name, ":")
			if n, err := strconv.Atoi(number); err == nil {
				return n
			}
			return 1 << 30 // a name without an index
		}
		return cmp.Or(cmp.Compare(index(a.Tier), index(b.Tier)), cmp.Compare(a.Tier, b.Tier))
	})
	for i := range out {
		r.tier(fmt.Sprintf("%s.%d.", path, i), &out[i])
	}
	return out
}

// tier fills one tier's figures.
func (r view) tier(path string, t *schema.KVTier) {
	_, kind, _ := strings.Cut(t.Tier, ":")
	primary := kind == "primary" || t.Tier == "primary"
	// A family that is the secondary tiers' own has no series of the primary one.
	secondary := func(field string, f metrics.ID) (groups []*window.Metric, why string) {
		groups, why = r.groupsBy(f, t.Tier)
		if why == "" && primary && len(groups) == 0 {
			why = "the primary tier reads and writes nothing itself"
		}
		if why != "" {
			r.Notes.Missing(path+field, why)
		}
		return groups, why
	}
	count := func(field string, f metrics.ID) *int64 {
		groups, why := r.groupsBy(f, t.Tier)
		return r.sumOf(path+field, groups, why)
	}
	t.Queries = count("queries", metrics.TierQueries)
	t.Hits = count("hits", metrics.TierHits)
	if x, why := ratio(t.Hits, t.Queries, "of queries and hits one is not known", "nothing was asked for"); why == "" {
		t.HitRate = schema.F(x)
	} else {
		r.Notes.Missing(path+"hit_rate", why)
	}
	for _, c := range []struct {
		field string
		f     metrics.ID
		into  **int64
	}{{"read_bytes", metrics.TierReadBytes, &t.ReadBytes}, {"write_bytes", metrics.TierWriteBytes, &t.WriteBytes}} {
		if groups, why := secondary(c.field, c.f); why == "" {
			*c.into = schema.Ptr(int64(gains(groups)))
		}
	}
	for _, c := range []struct {
		field string
		f     metrics.ID
		into  **schema.Float
	}{{"read_seconds", metrics.TierReadTime, &t.ReadSeconds}, {"write_seconds", metrics.TierWriteTime, &t.WriteSeconds}} {
		if groups, why := secondary(c.field, c.f); why == "" {
			*c.into = schema.F(gains(groups))
		}
	}
	t.PromotionFailures = count("promotion_failures", metrics.TierPromotionFailures)
	t.CascadeFailures = count("cascade_failures", metrics.TierCascadeFailures)
	if t.PromotionFailures != nil && t.CascadeFailures != nil {
		t.Failures = schema.Ptr(*t.PromotionFailures + *t.CascadeFailures)
	} else {
		r.Notes.Missing(path+"failures", "of promotions and cascades one is not known")
	}
	t.ActivePromotions = r.gaugeOf(path+"active_promotions", metrics.TierActivePromotions, t.Tier)
	t.ActiveCascades = r.gaugeOf(path+"active_cascades", metrics.TierActiveCascades, t.Tier)
	if r.sampled(t.Tier, metrics.TierLookupSync, metrics.TierLookupAsync) {
		t.LookupDelaySeconds = r.lookupDelay(path+"lookup_delay_seconds", metrics.TierLookupSync, metrics.TierLookupAsync, t.Tier)
	} else {
		r.Notes.Missing(path+"lookup_delay_seconds", "the engine has no sample of it for this tier")
	}
	if r.sampled(t.Tier, metrics.TierPinnedWrite, metrics.TierPinnedRead) {
		t.PrimaryPinned = &schema.PrimaryPinned{
			Write: r.gaugeOf(path+"primary_pinned.write", metrics.TierPinnedWrite, t.Tier),
			Read:  r.gaugeOf(path+"primary_pinned.read", metrics.TierPinnedRead, t.Tier),
		}
	} else {
		r.Notes.Missing(path+"primary_pinned", "the engine has no sample of it for this tier")
	}
	if !r.sampled(t.Tier, metrics.TierBackpressureLatency, metrics.TierStoresDropped, metrics.TierBlocksDropped) {
		r.Notes.Missing(path+"backpressure", "the engine has no sample of it for this tier: it is there where a tier configures back-pressure")
		return
	}
	t.Backpressure = &schema.Backpressure{
		StoreSecondsPerMebibyte: r.gaugeOf(path+"backpressure.store_seconds_per_mebibyte", metrics.TierBackpressureLatency, t.Tier),
		StoresDropped:           count("backpressure.stores_dropped", metrics.TierStoresDropped),
		BlocksDropped:           count("backpressure.blocks_dropped", metrics.TierBlocksDropped),
	}
}
