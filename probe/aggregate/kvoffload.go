package aggregate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/window"
	"github.com/vobs/vobs/schema"
)

// transferDirection is one direction between the GPU and the offload tier.
type transferDirection struct {
	path string
	done string // as in "nothing was loaded"
	// The flat families.
	bytes, seconds, size metrics.ID
	// matches reports whether a transfer_type of the deprecated families is in this
	// direction.
	matches func(transferType string) bool
}

// The deprecated families' label is SOURCE_to_DESTINATION with the names of the media:
// CPU_to_GPU and GPU_to_CPU, on other devices NPU_to_CPU and the like.
var (
	loads = transferDirection{"engine.kv_offload.load", "loaded", metrics.OffloadLoadBytes, metrics.OffloadLoadTime, metrics.OffloadLoadSize, func(t string) bool {
		return strings.HasPrefix(t, "CPU_to_") && t != "CPU_to_CPU" || strings.HasSuffix(t, "_to_GPU") && t != "GPU_to_GPU"
	}}
	stores = transferDirection{"engine.kv_offload.store", "stored", metrics.OffloadStoreBytes, metrics.OffloadStoreTime, metrics.OffloadStoreSize, func(t string) bool {
		return strings.HasSuffix(t, "_to_CPU") && t != "CPU_to_CPU" || strings.HasPrefix(t, "GPU_to_") && t != "GPU_to_GPU"
	}}
)

// The metrics whose presence shows that the parts of KV offloading exist.
var (
	offloadMetrics = []metrics.ID{
		metrics.OffloadLoadBytes, metrics.OffloadLoadTime, metrics.OffloadLoadSize, metrics.OffloadStoreBytes, metrics.OffloadStoreTime, metrics.OffloadStoreSize,
		metrics.OffloadOldBytes, metrics.OffloadOldTime, metrics.OffloadOldSize, metrics.OffloadLookupSync, metrics.OffloadLookupAsync, metrics.OffloadAllocationFailures,
		metrics.OffloadStoresSkipped,
	}
	cpuMetrics  = []metrics.ID{metrics.OffloadCPUPinned, metrics.OffloadCPUPinnedWrite, metrics.OffloadCPUPinnedRead, metrics.OffloadCPUAllocation}
	tierMetrics = []metrics.ID{
		metrics.TierQueries, metrics.TierHits, metrics.TierReadBytes, metrics.TierReadTime, metrics.TierWriteBytes, metrics.TierWriteTime, metrics.TierPromotionFailures,
		metrics.TierCascadeFailures, metrics.TierActivePromotions, metrics.TierActiveCascades, metrics.TierPinnedWrite, metrics.TierPinnedRead, metrics.TierLookupSync,
		metrics.TierLookupAsync, metrics.TierBackpressureLatency, metrics.TierStoresDropped, metrics.TierBlocksDropped,
	}
)

// noTierMetrics is the reason for missing figures of tiers.
const noTierMetrics = "the engine exports no vllm:kv_offload_tiering families: its offloading has one tier, or it is older than August 2026"

// kvOffload returns the figures of vLLM's own KV offloading.
func (v view) kvOffload() *schema.KVOffload {
	const path = "engine.kv_offload"
	if !v.everExported(slices.Concat(offloadMetrics, cpuMetrics, tierMetrics, []metrics.ID{metrics.PromotionAllocationFailures})...) {
		v.Notes.Missing(path, v.whyNoOffload())
		return nil
	}
	if v.stage != "" {
		// Source: vllm-omni issue 4802.
		v.Notes.Doubt(schema.CodeKVOffloadUndercounted, schema.Warning, "vllm-omni collects the scheduler's statistics at most once a second and may lose what KV offloading counts in between: its totals may be too low; bytes per second of transfer time, hit rates and mean sizes are not affected", &schema.Evidence{Field: "engine.stage", Value: v.stage})
	}
	o := &schema.KVOffload{
		Load:               v.kvTransfer(loads),
		Store:              v.kvTransfer(stores),
		LookupDelaySeconds: v.lookupDelay(path+".lookup_delay_seconds", metrics.OffloadLookupSync, metrics.OffloadLookupAsync, ""),
		AllocationFailures: v.count(path+".allocation_failures", metrics.OffloadAllocationFailures),
		Tiers:              v.tiers(path + ".tiers"),
	}
	if v.everExported(metrics.OffloadStoresSkipped) {
		o.StoresSkipped = v.count(path+".stores_skipped", metrics.OffloadStoresSkipped)
	} else {
		v.Notes.Missing(path+".stores_skipped", "the engine exports it only with a store_threshold of 2 or more")
	}
	if v.everExported(cpuMetrics...) {
		o.CPUPinned = &schema.CPUPinned{
			Usage: v.gauge(path+".cpu_pinned.usage", metrics.OffloadCPUPinned),
			Write: v.gauge(path+".cpu_pinned.write", metrics.OffloadCPUPinnedWrite),
			Read:  v.gauge(path+".cpu_pinned.read", metrics.OffloadCPUPinnedRead),
		}
	} else {
		v.Notes.Missing(path+".cpu_pinned", "the engine exports no vllm:kv_offload_cpu families: it is older than June 2026, or does not offload to CPU memory")
	}
	o.CPUAllocationChunks = v.distribution(path+".cpu_allocation_chunks", metrics.OffloadCPUAllocation)
	if v.everExported(metrics.PromotionAllocationFailures) {
		o.PromotionAllocationFailures = v.count(path+".promotion_allocation_failures", metrics.PromotionAllocationFailures)
	} else {
		v.Notes.Missing(path+".promotion_allocation_failures", noTierMetrics)
	}
	return o
}

// whyNoOffload returns why there are no figures of vLLM's own KV offloading. Other connectors
// offload too, and some of them export nothing on the server's page (LMCache).
func (v view) whyNoOffload() string {
	why := "the engine exports no vllm:kv_offload families, which vLLM's OffloadingConnector has from 0.16 on"
	if v.everExported(simpleOffloadMetrics...) {
		why += "; the engine offloads with SimpleCPUOffloadConnector: see engine.kv_connectors"
	}
	if unread := v.unreadFamilies(metrics.UnreadConnector); unread != "" {
		why += "; vobs does not read " + unread
	}
	return why
}

// unreadFamilies lists the families about a subject that a page has and that are not read.
func (v view) unreadFamilies(subject metrics.Subject) string {
	const shown = 3
	found := map[string]bool{}
	for _, e := range v.endpoints {
		for family := range e.Counters.Unread {
			if family.Subject == subject {
				found[family.Name] = true
			}
		}
	}
	names := slices.Sorted(maps.Keys(found))
	if len(names) > shown {
		names = append(names[:shown], fmt.Sprintf("%d more families", len(names)-shown))
	}
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// kvTransfer returns the figures of one direction.
func (v view) kvTransfer(d transferDirection) *schema.KVTransfer {
	// selectEither selects a flat family, or the deprecated one at endpoints that it is read
	// from. read is one of the families that were read.
	selectEither := func(flat, old metrics.ID) (found []*window.Metric, why string, read metrics.ID) {
		read = flat
		found, why = v.selectMetrics(func(e *endpoint) metrics.ID {
			if v.usesDeprecated(e, d) {
				read = old
				return old
			}
			return flat
		}, func(m *window.Metric) bool { return m.Desc.Metric() == flat || d.matches(m.LabelValue) })
		return found, why, read
	}
	t := &schema.KVTransfer{}
	found, why, _ := selectEither(d.bytes, metrics.OffloadOldBytes)
	t.Bytes = v.countOf(d.path+".bytes", found, why)
	found, why, _ = selectEither(d.seconds, metrics.OffloadOldTime)
	if why == "" {
		t.Seconds = schema.F(gainOf(found))
	} else {
		v.Notes.Missing(d.path+".seconds", why)
	}
	found, why, read := selectEither(d.size, metrics.OffloadOldSize)
	t.SizeBytes = v.distributionOf(d.path+".size_bytes", found, why, read)
	if why == "" {
		t.Operations = schema.Ptr(int64(window.MergeHistograms(found).Count))
	} else {
		v.Notes.Missing(d.path+".operations", why)
	}
	switch busy := d.path + ".gigabytes_per_second_busy"; {
	case t.Bytes == nil || t.Seconds == nil:
		v.Notes.Missing(busy, "the bytes or the seconds are unknown")
	case *t.Seconds > 0:
		t.GigabytesPerSecondBusy = schema.F(float64(*t.Bytes) / float64(*t.Seconds) / 1e9)
	case *t.Bytes > 0:
		v.Notes.Missing(busy, "the engine reports no time for what was "+d.done)
	default:
		v.Notes.Missing(busy, "nothing was "+d.done)
	}
	seconds, _ := v.activeSeconds()
	switch wall := d.path + ".gigabytes_per_second_wall"; {
	case t.Bytes == nil:
		v.Notes.Missing(wall, "the bytes are unknown")
	case seconds <= 0:
		v.Notes.Missing(wall, emptyWindow)
	default:
		t.GigabytesPerSecondWall = schema.F(float64(*t.Bytes) / seconds / 1e9)
	}
	return t
}

// usesDeprecated reports whether a direction is read from the deprecated families at one
// endpoint: if the flat ones have no sample, or if they cannot be counted over the whole
// window and the deprecated ones moved. Since June 2026 flat series appear with the first
// event, while the deprecated ones are at 0 from the start, and stay there if the offload
// tier is not CPU memory.
func (v view) usesDeprecated(e *endpoint, d transferDirection) bool {
	flat := []metrics.ID{d.bytes, d.seconds, d.size}
	old := []metrics.ID{metrics.OffloadOldBytes, metrics.OffloadOldTime, metrics.OffloadOldSize}
	hasFlat, flatUsable, hasOld, oldMoved := false, true, false, false
	for _, m := range e.Counters.Metrics() {
		switch id := m.Desc.Metric(); {
		case m.Engine.Stage != v.stage:
		case slices.Contains(flat, id):
			hasFlat = true
			flatUsable = flatUsable && e.whyUnusable(m) == "" && !e.Counters.MissedBaseline(m.Desc)
		case slices.Contains(old, id) && d.matches(m.LabelValue):
			hasOld = true
			oldMoved = oldMoved || m.Moved()
		}
	}
	switch {
	case hasFlat && hasOld:
		return !flatUsable && oldMoved
	case hasFlat || hasOld:
		return hasOld
	}
	return !slices.ContainsFunc(flat, e.Counters.EverExported)
}

// lookupDelay returns the delays of lookups; with a tier, of those in it.
func (v view) lookupDelay(path string, sync, async metrics.ID, tier string) *schema.LookupDelay {
	one := func(path string, id metrics.ID) *schema.Distribution {
		found, why := v.metricsWithLabel(id, tier)
		return v.distributionOf(path, found, why, id)
	}
	return &schema.LookupDelay{Sync: one(path+".sync", sync), Async: one(path+".async", async)}
}

// tiers returns the figures of each tier, by its index.
func (v view) tiers(path string) []schema.KVTier {
	if !v.everExported(tierMetrics...) {
		v.Notes.Missing(path, noTierMetrics)
		return nil
	}
	out := []schema.KVTier{}
	for name := range v.labelValues(tierMetrics...) {
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
		v.fillTier(fmt.Sprintf("%s.%d.", path, i), &out[i])
	}
	return out
}

// fillTier sets the figures of one tier.
func (v view) fillTier(path string, t *schema.KVTier) {
	count := func(field string, id metrics.ID) *int64 {
		found, why := v.metricsWithLabel(id, t.Tier)
		return v.countOf(path+field, found, why)
	}
	sampled := func(ids ...metrics.ID) bool { return v.labelValues(ids...)[t.Tier] }
	t.Queries = count("queries", metrics.TierQueries)
	t.Hits = count("hits", metrics.TierHits)
	if t.Queries != nil && t.Hits != nil && *t.Hits > *t.Queries {
		why := v.noteImpossible("%s gained %d at tier %s, more than %s, which gained %d", metrics.TierHits.CanonicalName(), *t.Hits, t.Tier, metrics.TierQueries.CanonicalName(), *t.Queries)
		t.Queries, t.Hits = nil, nil
		v.Notes.Missing(path+"queries", why)
		v.Notes.Missing(path+"hits", why)
	}
	if x, why := ratio(t.Hits, t.Queries, "the queries or the hits are unknown", "there were no queries"); why == "" {
		t.HitRate = schema.F(x)
	} else {
		v.Notes.Missing(path+"hit_rate", why)
	}
	v.fillTierTransfers(path, t)
	t.PromotionFailures = count("promotion_failures", metrics.TierPromotionFailures)
	t.CascadeFailures = count("cascade_failures", metrics.TierCascadeFailures)
	if t.PromotionFailures != nil && t.CascadeFailures != nil {
		t.Failures = schema.Ptr(*t.PromotionFailures + *t.CascadeFailures)
	} else {
		v.Notes.Missing(path+"failures", "the failures of promotions or of cascades are unknown")
	}
	t.ActivePromotions = v.gaugeWithLabel(path+"active_promotions", metrics.TierActivePromotions, t.Tier)
	t.ActiveCascades = v.gaugeWithLabel(path+"active_cascades", metrics.TierActiveCascades, t.Tier)
	const noSample = "the engine has no sample of it for this tier"
	if sampled(metrics.TierLookupSync, metrics.TierLookupAsync) {
		t.LookupDelaySeconds = v.lookupDelay(path+"lookup_delay_seconds", metrics.TierLookupSync, metrics.TierLookupAsync, t.Tier)
	} else {
		v.Notes.Missing(path+"lookup_delay_seconds", noSample)
	}
	if sampled(metrics.TierPinnedWrite, metrics.TierPinnedRead) {
		t.PrimaryPinned = &schema.PrimaryPinned{
			Write: v.gaugeWithLabel(path+"primary_pinned.write", metrics.TierPinnedWrite, t.Tier),
			Read:  v.gaugeWithLabel(path+"primary_pinned.read", metrics.TierPinnedRead, t.Tier),
		}
	} else {
		v.Notes.Missing(path+"primary_pinned", noSample)
	}
	if !sampled(metrics.TierBackpressureLatency, metrics.TierStoresDropped, metrics.TierBlocksDropped) {
		v.Notes.Missing(path+"backpressure", noSample+": it has one only if the tier configures back-pressure")
		return
	}
	t.Backpressure = &schema.Backpressure{
		StoreSecondsPerMebibyte: v.gaugeWithLabel(path+"backpressure.store_seconds_per_mebibyte", metrics.TierBackpressureLatency, t.Tier),
		StoresDropped:           count("backpressure.stores_dropped", metrics.TierStoresDropped),
		BlocksDropped:           count("backpressure.blocks_dropped", metrics.TierBlocksDropped),
	}
}

// fillTierTransfers sets what one tier read and wrote. Only secondary tiers have these
// metrics.
func (v view) fillTierTransfers(path string, t *schema.KVTier) {
	_, kind, _ := strings.Cut(t.Tier, ":")
	primary := kind == "primary" || t.Tier == "primary"
	gain := func(field string, id metrics.ID) (x float64, ok bool) {
		found, why := v.metricsWithLabel(id, t.Tier)
		if why == "" && primary && len(found) == 0 {
			why = "the primary tier reads and writes nothing itself"
		}
		if why != "" {
			v.Notes.Missing(path+field, why)
			return 0, false
		}
		return gainOf(found), true
	}
	if x, ok := gain("read_bytes", metrics.TierReadBytes); ok {
		t.ReadBytes = schema.Ptr(int64(x))
	}
	if x, ok := gain("write_bytes", metrics.TierWriteBytes); ok {
		t.WriteBytes = schema.Ptr(int64(x))
	}
	if x, ok := gain("read_seconds", metrics.TierReadTime); ok {
		t.ReadSeconds = schema.F(x)
	}
	if x, ok := gain("write_seconds", metrics.TierWriteTime); ok {
		t.WriteSeconds = schema.F(x)
	}
}
