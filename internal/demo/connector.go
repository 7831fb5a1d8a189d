package demo

import (
	"container/list"
	"math"
)

// bytesPerToken is the KV of one token of an 8B model in 16 bits.
const bytesPerToken = 128 << 10

// Offload is KV offloading to host memory, as by vLLM's OffloadingConnector: every full
// block is copied to the host, and loaded from there if it is needed again and no longer
// on the GPU. The request waits for that, deferred.
type Offload struct {
	Blocks         int     // that host memory has room for
	BytesPerSecond float64 // of the link; loads wait for each other
}

// Transfer is the transfer of a prompt's KV from a prefill server, as by vLLM's
// NixlConnector with kv_load_failure_policy=recompute: every request waits for it,
// deferred.
type Transfer struct {
	Base           float64 // seconds before the first byte
	BytesPerSecond float64 // of each transfer
	FailedShare    float64 // of the transfers
	Timeout        float64 // seconds after which a transfer fails
}

// transfer is one load or store of a KV connector.
type transfer struct {
	load    bool
	failed  bool
	bytes   int
	blocks  int
	seconds float64
}

// offloadTier is the host's side of Offload: an LRU cache of blocks.
type offloadTier struct {
	Offload
	index    map[blockKey]*list.Element
	order    *list.List // of blockKey, the least recently used first
	loadFree float64    // when the link has done all loads
}

func newOffloadTier(o Offload) *offloadTier {
	return &offloadTier{Offload: o, index: make(map[blockKey]*list.Element), order: list.New()}
}

// touch puts a block into the tier, or marks it as used, and reports whether it was new.
func (t *offloadTier) touch(k blockKey) bool {
	if e, ok := t.index[k]; ok {
		t.order.MoveToBack(e)
		return false
	}
	for t.order.Len() >= t.Blocks {
		oldest := t.order.Front()
		delete(t.index, oldest.Value.(blockKey))
		t.order.Remove(oldest)
	}
	t.index[k] = t.order.PushBack(k)
	return true
}

// store copies the blocks of r that became full, from the given one on, to the host.
func (e *core) store(r *request, from int) {
	if e.tier == nil {
		return
	}
	blocks := 0
	for i := from; i < r.keyed; i++ {
		if e.tier.touch(r.key(i, e.set.BlockSize)) {
			blocks++
		}
	}
	if blocks > 0 {
		n := blocks * e.set.BlockSize * bytesPerToken
		e.step.transfers = append(e.step.transfers, transfer{bytes: n, blocks: blocks, seconds: float64(n) / e.tier.BytesPerSecond})
	}
}

// startLoad has the KV connector load what it has of r's prompt, into blocks that r holds
// from now on, and reports whether it has anything: then r is deferred.
func (e *core) startLoad(r *request) bool {
	tokens, seconds := 0, 0.0
	switch {
	case e.tier != nil:
		first := r.computed / e.set.BlockSize
		for i := first; i < (r.tokens()-1)/e.set.BlockSize; i++ {
			if _, ok := e.tier.index[r.key(i, e.set.BlockSize)]; !ok {
				break
			}
			e.tier.touch(r.key(i, e.set.BlockSize))
			tokens += e.set.BlockSize
		}
		if tokens == 0 {
			return false
		}
		seconds = float64(tokens*bytesPerToken) / e.tier.BytesPerSecond
		e.tier.loadFree = max(e.tier.loadFree, e.now) + seconds
		r.loadEnd, r.loadFail = e.tier.loadFree, false
	case e.set.Transfer != nil && !r.admitted && r.loadEnd == 0:
		t := e.set.Transfer
		if tokens = r.prompt - 1 - r.computed; tokens <= 0 {
			return false
		}
		seconds = t.Base + float64(tokens*bytesPerToken)/t.BytesPerSecond
		if r.loadFail = e.rng.Float64() < t.FailedShare; r.loadFail {
			seconds = t.Timeout
		}
		r.loadEnd = e.now + seconds
	default:
		return false
	}
	r.loadSize = tokens
	for need := e.blocksFor(r.tokens()) - len(r.blocks); need > 0; need-- { // lookup has found that they fit
		r.blocks = append(r.blocks, e.pool.take())
	}
	e.deferred = append(e.deferred, r)
	return true
}

// nextLoad returns when the next load ends.
func (e *core) nextLoad() float64 {
	next := never
	for _, r := range e.deferred {
		next = min(next, r.loadEnd)
	}
	return next
}

// finishLoads puts the requests whose loads have ended back in front of the queue. After a
// failed transfer the request computes its prompt itself.
func (e *core) finishLoads() {
	var ended []*request
	kept := e.deferred[:0]
	for _, r := range e.deferred {
		if r.loadEnd > e.now {
			kept = append(kept, r)
			continue
		}
		ended = append(ended, r)
		r.loaded = true
		one := transfer{load: true, failed: r.loadFail, bytes: r.loadSize * bytesPerToken, blocks: e.blocksFor(r.loadSize)}
		switch {
		case r.loadFail:
		case e.tier != nil:
			one.seconds = float64(one.bytes) / e.tier.BytesPerSecond
		default:
			one.seconds = e.set.Transfer.Base + float64(one.bytes)/e.set.Transfer.BytesPerSecond
		}
		e.step.transfers = append(e.step.transfers, one)
		if r.loadFail {
			continue
		}
		r.computed += r.loadSize
		if !r.admitted {
			r.external = r.loadSize
		}
		for full := r.computed / e.set.BlockSize; r.keyed < full; r.keyed++ {
			e.pool.remember(r.blocks[r.keyed], r.key(r.keyed, e.set.BlockSize))
		}
	}
	clear(e.deferred[len(kept):])
	e.deferred = kept
	if len(ended) > 0 {
		e.waiting = append(ended, e.waiting...)
	}
}

// The metrics of the two connectors, one child per engine.
type connectorSeries struct {
	loadBytes, loadTime, loadSize    *child // of KV offloading: kv_offload_load_*
	storeBytes, storeTime, storeSize *child
	oldBytes, oldTime, oldSize       [2]*child // the deprecated ones, by direction: load, store
	allocation                       *child

	xferTime, postTime, xferBytes, descriptors *child // of NIXL
	failedTransfers                            *child

	fetch [3]*child // num_requests_kv_fetch_by_stage
}

// fetchStages are the values of the label stage, in the order of vLLM's KV_FETCH_STAGES.
var fetchStages = [...]string{"waiting_to_start", "in_progress", "completed_waiting"}

func offloadSizeBounds() []float64 {
	return []float64{1e6, 5e6, 10e6, 20e6, 40e6, 60e6, 80e6, 100e6, 150e6, 200e6}
}

// registerConnector adds the families of the configured KV connector.
// Sources: vllm/distributed/kv_transfer/kv_connector/v1/offloading/metrics.py,
// vllm/v1/kv_offload/cpu/spec.py and …/kv_connector/v1/nixl/stats.py of 0.32.0.
func (m *metrics) registerConnector(set *Settings, each perEngine) {
	r := &m.reg
	if set.Offload != nil {
		types := [2]string{"CPU_to_GPU", "GPU_to_CPU"}
		old := func(f *family, at func(*engineSeries) *[2]*child) {
			for i, t := range types {
				each(f, func(e *engineSeries, c *child) { at(e)[i] = c }, "transfer_type", t)
			}
		}
		old(r.add(counter, "vllm:kv_offload_total_bytes", "Number of bytes offloaded by KV connector"), func(e *engineSeries) *[2]*child { return &e.oldBytes })
		old(r.add(counter, "vllm:kv_offload_total_time", "Total time measured by all KV offloading operations"), func(e *engineSeries) *[2]*child { return &e.oldTime })
		old(r.addHistogram("vllm:kv_offload_size", "Histogram of KV offload transfer size, in bytes.", offloadSizeBounds()), func(e *engineSeries) *[2]*child { return &e.oldSize })
		each(r.addHistogram("vllm:kv_offload_cpu_allocation_size", "Histogram of the number of CPU chunks requested by each KV offload prepare_store call.", []float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144}),
			func(e *engineSeries, c *child) { e.allocation = c })
		each(r.add(counter, "vllm:kv_offload_load_bytes", "Total bytes loaded from offload storage to GPU."), func(e *engineSeries, c *child) { e.loadBytes = c })
		each(r.add(counter, "vllm:kv_offload_load_time", "Total load time from offload storage to GPU, in seconds."), func(e *engineSeries, c *child) { e.loadTime = c })
		each(r.addHistogram("vllm:kv_offload_load_size", "Histogram of KV offload load operation size, in bytes.", offloadSizeBounds()), func(e *engineSeries, c *child) { e.loadSize = c })
		each(r.add(counter, "vllm:kv_offload_store_bytes", "Total bytes stored from GPU to offload storage."), func(e *engineSeries, c *child) { e.storeBytes = c })
		each(r.add(counter, "vllm:kv_offload_store_time", "Total store time from GPU to offload storage, in seconds."), func(e *engineSeries, c *child) { e.storeTime = c })
		each(r.addHistogram("vllm:kv_offload_store_size", "Histogram of KV offload store operation size, in bytes.", offloadSizeBounds()), func(e *engineSeries, c *child) { e.storeSize = c })
		each(r.add(counter, "vllm:kv_offload_allocation_failure", "Number of KV offload store allocation attempts that failed."), nil)
	}
	if set.Transfer != nil {
		seconds := []float64{.005, .01, .025, .05, .075, .1, .2, .3, .5, .75, 1, 5}
		each(r.addHistogram("vllm:nixl_xfer_time_seconds", "Histogram of transfer duration for NIXL KV Cache transfers.", seconds), func(e *engineSeries, c *child) { e.xferTime = c })
		each(r.addHistogram("vllm:nixl_post_time_seconds", "Histogram of transfer post time for NIXL KV Cache transfers.", append([]float64{.001}, seconds...)), func(e *engineSeries, c *child) { e.postTime = c })
		var sizes []float64
		for i := 1; i < 25; i += 2 {
			sizes = append(sizes, math.Ldexp(1, 10+i))
		}
		each(r.addHistogram("vllm:nixl_bytes_transferred", "Histogram of bytes transferred per NIXL KV Cache transfers.", sizes), func(e *engineSeries, c *child) { e.xferBytes = c })
		each(r.addHistogram("vllm:nixl_num_descriptors", "Histogram of number of descriptors per NIXL  KV Cache transfers.", []float64{10, 20, 30, 50, 75, 100, 200, 400, 1000, 2000, 4000, 10000, 20000, 50000}),
			func(e *engineSeries, c *child) { e.descriptors = c })
		each(r.add(counter, "vllm:nixl_num_failed_transfers", "Number of failed NIXL KV Cache transfers, including handshake and notification failures. NOTE: KV expiry is tracked separately in vllm:nixl_num_kv_expired_reqs."),
			func(e *engineSeries, c *child) { e.failedTransfers = c })
		each(r.add(counter, "vllm:nixl_num_failed_notifications", "Number of failed NIXL KV Cache notifications. Retained for compatibility; these failures are also included in vllm:nixl_num_failed_transfers."), nil)
		each(r.add(counter, "vllm:nixl_num_kv_expired_reqs", "Number of requests that had their KV expire. NOTE: This metric is tracked on the P instance."), nil)
		each(r.add(counter, "vllm:nixl_num_notifications_after_expiry", "Number of completion notifications for requests that were no longer tracked, usually because their KV lease expired. The KV blocks may have been reused before the transfer finished. Counted per notification (one per remote rank), not per request."), nil)
	}
}

// registerFetchStages adds the gauge that vLLM has for KV consumers.
func (m *metrics) registerFetchStages(each perEngine) {
	f := m.reg.add(gauge, "vllm:num_requests_kv_fetch_by_stage", "Number of waiting requests by async KV load stage. Stage labels: 'waiting_to_start' = needs an async KV load that has not started; 'in_progress' = load started and not yet reported finished; 'completed_waiting' = load finished, request not running yet.")
	for i, stage := range fetchStages {
		each(f, func(e *engineSeries, c *child) { e.fetch[i] = c }, "stage", stage)
	}
}

// recordConnector updates one engine's series of its KV connector.
func (m *metrics) recordConnector(rank int, st *stepRecord) {
	s := m.engines[rank]
	if s.fetch[1] == nil {
		return
	}
	s.fetch[1].value = float64(st.loading)
	s.fetch[2].value = float64(st.deferred - st.loading)
	s.externalHits.value += float64(st.extHits)
	for _, t := range st.transfers {
		n, seconds := float64(t.bytes), t.seconds*m.scale
		switch {
		case s.xferTime != nil && t.failed:
			s.failedTransfers.value++
		case s.xferTime != nil:
			s.xferTime.observe(seconds)
			s.postTime.observe(0.4e-3 * m.scale)
			s.xferBytes.observe(n)
			s.descriptors.observe(float64(t.blocks * layers))
		case t.load:
			s.loadBytes.value += n
			s.loadTime.value += seconds
			s.loadSize.observe(n)
			s.oldBytes[0].value += n
			s.oldTime[0].value += seconds
			s.oldSize[0].observe(n)
		default:
			s.storeBytes.value += n
			s.storeTime.value += seconds
			s.storeSize.observe(n)
			s.oldBytes[1].value += n
			s.oldTime[1].value += seconds
			s.oldSize[1].observe(n)
			s.allocation.observe(float64(t.blocks))
		}
	}
}

// layers is the number of layers of the simulated 8B model: NIXL transfers each block's
// part of each layer by itself.
const layers = 32
