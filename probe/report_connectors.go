package probe

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vobs/vobs/schema"
)

// connectors reads the KV connectors that export metrics, but for offloading.
func (r view) connectors() []schema.KVConnector {
	var out []schema.KVConnector
	for _, c := range []struct {
		name, title string
		figures     []figure
		read        func(path string, c *schema.KVConnector)
	}{
		{"nixl", "NIXL", []figure{nixlTransferTime, nixlPostTime, nixlBytes, nixlDescriptors, nixlFailedTransfers, nixlFailedNotifications, nixlExpiredRequests}, r.nixl},
		{"mooncake_store", "Mooncake's store", []figure{mooncakeTime, mooncakeCalls, mooncakeKeys, mooncakeBytes, mooncakeFailedKeys}, r.mooncake},
		{"hf3fs", "3FS", []figure{hf3fsSaveTime, hf3fsLoadTime, hf3fsFailedSaves, hf3fsFailedLoads}, r.hf3fs},
		{"hisparse", "HiSparse", []figure{hisparseHits, hisparseMisses, hisparseBytes}, r.hisparse},
	} {
		if !r.had(c.figures...) {
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
	c.Transfers = r.distribution(path+"transfers", nixlTransferTime)
	c.SizeBytes = r.distribution(path+"size_bytes", nixlBytes)
	if groups, why := r.groups(nixlBytes); why == "" {
		c.Bytes = schema.Ptr(int64(merge(groups).sum))
	} else {
		r.Notes.Missing(path+"bytes", why)
	}
	c.Failures = r.count(path+"failures", nixlFailedTransfers)
	c.PostSeconds = r.distribution(path+"post_seconds", nixlPostTime)
	c.Descriptors = r.distribution(path+"descriptors", nixlDescriptors)
	c.FailedNotifications = r.count(path+"failed_notifications", nixlFailedNotifications)
	c.ExpiredRequests = r.count(path+"expired_requests", nixlExpiredRequests)
}

// mooncake reads the operations on Mooncake's store: load_get and save_put, which
// move KV, save_exists and lookup_exists, which ask. Their status is ok or error.
func (r view) mooncake(path string, c *schema.KVConnector) {
	names := r.labelled(mooncakeTime, mooncakeCalls, mooncakeKeys, mooncakeBytes, mooncakeFailedKeys)
	c.Operations = []schema.KVOperation{}
	for i, name := range slices.Sorted(maps.Keys(names)) {
		path := fmt.Sprintf("%soperations.%d.", path, i)
		of := func(field string, f figure, wanted func(*group) bool) *int64 {
			groups, why := r.gather(func(*record) figure { return f }, func(g *group) bool { return g.by == name && wanted(g) })
			return r.whole(path+field, groups, why)
		}
		all := func(*group) bool { return true }
		o := schema.KVOperation{Operation: name}
		o.Count = of("count", mooncakeCalls, all)
		o.Failures = of("failures", mooncakeCalls, failed)
		o.Keys = of("keys", mooncakeKeys, all)
		o.Bytes = of("bytes", mooncakeBytes, all)
		o.FailedKeys = of("failed_keys", mooncakeFailedKeys, all)
		groups, why := r.groupsBy(mooncakeTime, name)
		o.Seconds = r.spread(path+"seconds", groups, why, nameOf(mooncakeTime))
		c.Operations = append(c.Operations, o)
	}
	moves := func(g *group) bool { return strings.HasSuffix(g.by, "_put") || strings.HasSuffix(g.by, "_get") }
	move := func(f figure, wanted func(*group) bool) ([]*group, string) {
		return r.gather(func(*record) figure { return f }, func(g *group) bool { return moves(g) && wanted(g) })
	}
	groups, why := move(mooncakeTime, func(*group) bool { return true })
	c.Transfers = r.spread(path+"transfers", groups, why, nameOf(mooncakeTime))
	groups, why = move(mooncakeBytes, func(*group) bool { return true })
	c.Bytes = r.whole(path+"bytes", groups, why)
	groups, why = move(mooncakeCalls, failed)
	c.Failures = r.whole(path+"failures", groups, why)
}

func failed(g *group) bool { return g.labels.Get("status") != "ok" }

// hf3fs reads 3FS's connector, which times what succeeded and counts what failed.
func (r view) hf3fs(path string, c *schema.KVConnector) {
	var all []*group
	unknown := ""
	failures, failuresUnknown := int64(0), false
	for i, o := range []struct {
		name         string
		time, failed figure
	}{{"load", hf3fsLoadTime, hf3fsFailedLoads}, {"save", hf3fsSaveTime, hf3fsFailedSaves}} {
		path := fmt.Sprintf("%soperations.%d.", path, i)
		op := schema.KVOperation{Operation: o.name}
		groups, why := r.groups(o.time)
		op.Seconds = r.spread(path+"seconds", groups, why, nameOf(o.time))
		all, unknown = append(all, groups...), cmp.Or(unknown, why)
		if op.Failures = r.count(path+"failures", o.failed); op.Failures != nil {
			failures += *op.Failures
		}
		failuresUnknown = failuresUnknown || op.Failures == nil
		if why == "" && op.Failures != nil {
			op.Count = schema.Ptr(int64(merge(groups).count) + *op.Failures)
		} else {
			r.Notes.Missing(path+"count", "of calls that succeeded and failed one is not known")
		}
		for _, field := range []string{"keys", "bytes", "failed_keys"} {
			r.Notes.Missing(path+field, "the connector of 3FS exports no such figure")
		}
		c.Operations = append(c.Operations, op)
	}
	c.Transfers = r.spread(path+"transfers", all, unknown, nameOf(hf3fsLoadTime))
	if !failuresUnknown {
		c.Failures = &failures
	} else {
		r.Notes.Missing(path+"failures", "of failed loads and saves one is not known")
	}
}

func (r view) hisparse(path string, c *schema.KVConnector) {
	c.Bytes = r.count(path+"bytes", hisparseBytes)
	hits, why := r.counter(hisparseHits)
	misses, whyMisses := r.counter(hisparseMisses)
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
