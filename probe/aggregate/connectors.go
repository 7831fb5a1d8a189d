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

// connectors reads the KV connectors that export metrics, but for offloading.
func (r view) connectors() []schema.KVConnector {
	var out []schema.KVConnector
	for _, c := range []struct {
		name, title string
		figures     []metrics.ID
		read        func(path string, c *schema.KVConnector)
	}{
		{"nixl", "NIXL", []metrics.ID{metrics.NixlTransferTime, metrics.NixlPostTime, metrics.NixlBytes, metrics.NixlDescriptors, metrics.NixlFailedTransfers, metrics.NixlFailedNotifications, metrics.NixlExpiredRequests}, r.nixl},
		{"mooncake_store", "Mooncake's store", []metrics.ID{metrics.MooncakeTime, metrics.MooncakeCalls, metrics.MooncakeKeys, metrics.MooncakeBytes, metrics.MooncakeFailedKeys}, r.mooncake},
		{"hf3fs", "3FS", []metrics.ID{metrics.HF3FSSaveTime, metrics.HF3FSLoadTime, metrics.HF3FSFailedSaves, metrics.HF3FSFailedLoads}, r.hf3fs},
		{"hisparse", "HiSparse", []metrics.ID{metrics.HisparseHits, metrics.HisparseMisses, metrics.HisparseBytes}, r.hisparse},
	} {
		if !r.everExported(c.figures...) {
			continue
		}
		path := fmt.Sprintf("engine.kv_connectors.%d.", len(out))
		k := schema.KVConnector{Name: c.name}
		c.read(path, &k)
		// The reasons of what was tried stand before these.
		for _, field := range []struct {
			name    string
			missing bool
		}{
			{"transfers", k.Transfers == nil}, {"bytes", k.Bytes == nil}, {"failures", k.Failures == nil},
			{"post_seconds", k.PostSeconds == nil}, {"size_bytes", k.SizeBytes == nil}, {"descriptors", k.Descriptors == nil},
			{"failed_notifications", k.FailedNotifications == nil}, {"expired_requests", k.ExpiredRequests == nil},
			{"cache", k.Cache == nil}, {"operations", k.Operations == nil},
		} {
			if field.missing {
				r.Notes.Missing(path+field.name, "the connector of "+c.title+" exports no such figure")
			}
		}
		out = append(out, k)
	}
	if out == nil {
		r.Notes.Missing("engine.kv_connectors", "no KV connector exports metrics (NIXL, Mooncake's store, 3FS and HiSparse do)")
	}
	return out
}

func (r view) nixl(path string, c *schema.KVConnector) {
	c.Transfers = r.distribution(path+"transfers", metrics.NixlTransferTime)
	c.SizeBytes = r.distribution(path+"size_bytes", metrics.NixlBytes)
	if groups, why := r.metricsOf(metrics.NixlBytes); why == "" {
		c.Bytes = schema.Ptr(int64(window.MergeHistograms(groups).Sum))
	} else {
		r.Notes.Missing(path+"bytes", why)
	}
	c.Failures = r.count(path+"failures", metrics.NixlFailedTransfers)
	c.PostSeconds = r.distribution(path+"post_seconds", metrics.NixlPostTime)
	c.Descriptors = r.distribution(path+"descriptors", metrics.NixlDescriptors)
	c.FailedNotifications = r.count(path+"failed_notifications", metrics.NixlFailedNotifications)
	c.ExpiredRequests = r.count(path+"expired_requests", metrics.NixlExpiredRequests)
}

// mooncake reads the operations on Mooncake's store: load_get and save_put, which
// move KV, save_exists and lookup_exists, which ask. Their status is ok or error.
func (r view) mooncake(path string, c *schema.KVConnector) {
	names := r.labelled(metrics.MooncakeTime, metrics.MooncakeCalls, metrics.MooncakeKeys, metrics.MooncakeBytes, metrics.MooncakeFailedKeys)
	c.Operations = []schema.KVOperation{}
	for i, name := range slices.Sorted(maps.Keys(names)) {
		path := fmt.Sprintf("%soperations.%d.", path, i)
		of := func(field string, f metrics.ID, wanted func(*window.Metric) bool) *int64 {
			groups, why := r.selectMetrics(func(*endpointRecord) metrics.ID { return f }, func(g *window.Metric) bool { return g.By == name && wanted(g) })
			return r.sumOf(path+field, groups, why)
		}
		all := func(*window.Metric) bool { return true }
		o := schema.KVOperation{Operation: name}
		o.Count = of("count", metrics.MooncakeCalls, all)
		o.Failures = of("failures", metrics.MooncakeCalls, failed)
		o.Keys = of("keys", metrics.MooncakeKeys, all)
		o.Bytes = of("bytes", metrics.MooncakeBytes, all)
		o.FailedKeys = of("failed_keys", metrics.MooncakeFailedKeys, all)
		groups, why := r.groupsBy(metrics.MooncakeTime, name)
		o.Seconds = r.distributionOf(path+"seconds", groups, why, metrics.CanonicalName(metrics.MooncakeTime))
		c.Operations = append(c.Operations, o)
	}
	moves := func(g *window.Metric) bool { return strings.HasSuffix(g.By, "_put") || strings.HasSuffix(g.By, "_get") }
	move := func(f metrics.ID, wanted func(*window.Metric) bool) ([]*window.Metric, string) {
		return r.selectMetrics(func(*endpointRecord) metrics.ID { return f }, func(g *window.Metric) bool { return moves(g) && wanted(g) })
	}
	groups, why := move(metrics.MooncakeTime, func(*window.Metric) bool { return true })
	c.Transfers = r.distributionOf(path+"transfers", groups, why, metrics.CanonicalName(metrics.MooncakeTime))
	groups, why = move(metrics.MooncakeBytes, func(*window.Metric) bool { return true })
	c.Bytes = r.sumOf(path+"bytes", groups, why)
	groups, why = move(metrics.MooncakeCalls, failed)
	c.Failures = r.sumOf(path+"failures", groups, why)
}

func failed(g *window.Metric) bool { return g.Labels.Get("status") != "ok" }

// hf3fs reads 3FS's connector, which times what succeeded and counts what failed.
func (r view) hf3fs(path string, c *schema.KVConnector) {
	var all []*window.Metric
	unknown := ""
	failures, failuresUnknown := int64(0), false
	for i, o := range []struct {
		name         string
		time, failed metrics.ID
	}{{"load", metrics.HF3FSLoadTime, metrics.HF3FSFailedLoads}, {"save", metrics.HF3FSSaveTime, metrics.HF3FSFailedSaves}} {
		path := fmt.Sprintf("%soperations.%d.", path, i)
		op := schema.KVOperation{Operation: o.name}
		groups, why := r.metricsOf(o.time)
		op.Seconds = r.distributionOf(path+"seconds", groups, why, metrics.CanonicalName(o.time))
		all, unknown = append(all, groups...), cmp.Or(unknown, why)
		if op.Failures = r.count(path+"failures", o.failed); op.Failures != nil {
			failures += *op.Failures
		}
		failuresUnknown = failuresUnknown || op.Failures == nil
		if why == "" && op.Failures != nil {
			op.Count = schema.Ptr(int64(window.MergeHistograms(groups).Count) + *op.Failures)
		} else {
			r.Notes.Missing(path+"count", "of calls that succeeded and failed one is not known")
		}
		for _, field := range []string{"keys", "bytes", "failed_keys"} {
			r.Notes.Missing(path+field, "the connector of 3FS exports no such figure")
		}
		c.Operations = append(c.Operations, op)
	}
	c.Transfers = r.distributionOf(path+"transfers", all, unknown, metrics.CanonicalName(metrics.HF3FSLoadTime))
	if !failuresUnknown {
		c.Failures = &failures
	} else {
		r.Notes.Missing(path+"failures", "of failed loads and saves one is not known")
	}
}

func (r view) hisparse(path string, c *schema.KVConnector) {
	c.Bytes = r.count(path+"bytes", metrics.HisparseBytes)
	hits, why := r.counter(metrics.HisparseHits)
	misses, whyMisses := r.counter(metrics.HisparseMisses)
	if why == "" {
		why = whyMisses
	}
	if why != "" {
		r.Notes.Missing(path+"cache", why)
		return
	}
	c.Cache = &schema.CacheHits{Queries: hits + misses, Hits: hits}
	if x, why := ratio(&c.Cache.Hits, &c.Cache.Queries, "", "nothing was looked up"); why == "" {
		c.Cache.HitRate = schema.F(x)
	} else {
		r.Notes.Missing(path+"cache.hit_rate", why)
	}
}
