package ingest

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/vobs/vobs/schema"
)

// A result is what one run of a load generator measured.
type result struct {
	client *schema.Client
	why    map[string]string // reasons by path below client, for figures and groups that are null
	other  string            // reason for the other nulls

	validity []schema.Validity // what the tool doubts of its figures
}

// newResult returns a result of a tool without any figures. other is the reason for the nulls
// that have none of their own.
func newResult(tool, other string) *result {
	return &result{
		client: &schema.Client{
			Tool:           tool,
			Requests:       &schema.ClientRequests{},
			Tokens:         &schema.ClientTokens{},
			LatencySeconds: &schema.ClientLatency{},
			Throughput:     &schema.ClientThroughput{},
			Settings:       map[string]any{},
		},
		why:   map[string]string{},
		other: other,
	}
}

// engineDifference is the path of what an engine's figures are needed for.
const engineDifference = "engine_difference_seconds"

// missing records why the figure or the group at path, below client, is null. Only the first
// reason for a path is kept.
func (r *result) missing(path, format string, args ...any) {
	if _, known := r.why[path]; !known {
		r.why[path] = fmt.Sprintf(format, args...)
	}
}

// reasons returns a reason for each null, in the order of the event.
func (r *result) reasons() []schema.Unavailable {
	var out []schema.Unavailable
	for _, path := range nulls(reflect.ValueOf(r.client).Elem(), "") {
		if path == engineDifference {
			continue // it is no figure of the tool's: the run computes it
		}
		reason, known := r.why[path]
		for group := path; !known && strings.Contains(group, "."); {
			group = group[:strings.LastIndexByte(group, '.')]
			reason, known = r.why[group]
		}
		switch {
		case known:
		case path == "slo", path == "goodput", path == "find_max", path == "find_max.rate": // not asked for, or there is none
			continue
		case path == "warmup" && r.client.Tool == vobsLoad: // there was none
			continue
		default:
			reason = r.other
		}
		out = append(out, schema.Unavailable{Field: "client." + path, Reason: reason})
	}
	return out
}

// nulls returns the paths of the null figures in a struct, and of its null groups.
func nulls(v reflect.Value, prefix string) []string {
	var out []string
	for i := range v.NumField() {
		field := v.Field(i)
		path := prefix + v.Type().Field(i).Tag.Get("json")
		switch {
		case field.Kind() != reflect.Pointer && field.Kind() != reflect.Map:
		case field.IsNil():
			out = append(out, path)
		case field.Kind() == reflect.Pointer && field.Elem().Kind() == reflect.Struct:
			out = append(out, nulls(field.Elem(), path+".")...)
		}
	}
	return out
}

// A number is a JSON number that may be absent or null.
type number = *float64

// float returns a figure that cannot be negative; nil if it is absent or impossible.
func float(x number) *schema.Float {
	if x == nil || *x < 0 {
		return nil
	}
	return schema.F(*x)
}

// scaled returns x, which cannot be negative, times factor.
func scaled(x number, factor float64) *schema.Float {
	if x == nil {
		return nil
	}
	return float(schema.Ptr(*x * factor))
}

// maxCount is the highest integer up to which a float64 holds all of them.
const maxCount = 1 << 53

// count returns a whole number that is not negative; nil if x is none.
func count(x number) *int64 {
	if x == nil || *x < 0 || *x > maxCount || *x != math.Trunc(*x) {
		return nil
	}
	return schema.Ptr(int64(*x))
}

// nearest returns the whole number nearest to a product of a mean and a count, which is
// exact but for rounding; nil if x is none.
func nearest(x float64) *int64 { return count(schema.Ptr(math.Round(x))) }

// per returns a rate; nil if there is no time.
func per(n *int64, seconds number) *schema.Float {
	if n == nil || seconds == nil || *seconds <= 0 {
		return nil
	}
	return schema.F(float64(*n) / *seconds)
}

// The kinds of failures: at most maxKinds of them, with names of at most maxKindName bytes.
const (
	maxKinds    = 32
	maxKindName = 80
	// unknownKind is the kind of failures that a result only counts.
	unknownKind = "unknown"
)

// addFailures adds n failures of a kind.
func addFailures(failed map[string]int64, kind string, n int64) {
	kind = strings.ToValidUTF8(kind[:min(len(kind), maxKindName)], "")
	if kind == "" {
		kind = unknownKind
	}
	if _, known := failed[kind]; !known && len(failed) >= maxKinds {
		kind = unknownKind
	}
	if n > 0 {
		failed[kind] += n
	}
}

// total returns the number of failures.
func total(failed map[string]int64) int64 {
	n := int64(0)
	for _, k := range failed {
		n += k
	}
	return n
}

// distribution summarises observations as NumPy does: percentiles are interpolated linearly
// between the two nearest observations. It returns nil without observations. It sorts them.
func distribution(observations []float64) *schema.ClientDistribution {
	n := len(observations)
	if n == 0 {
		return nil
	}
	slices.Sort(observations)
	if observations[0] < 0 {
		return nil
	}
	sum := 0.0
	for _, x := range observations {
		sum += x
	}
	at := func(p float64) *schema.Float {
		position := p / 100 * float64(n-1)
		i := int(position)
		x := observations[i]
		if i+1 < n {
			x += (position - float64(i)) * (observations[i+1] - x)
		}
		return schema.F(x)
	}
	return &schema.ClientDistribution{
		Count: schema.Ptr(int64(n)), Mean: schema.F(sum / float64(n)),
		P50: at(50), P90: at(90), P95: at(95), P99: at(99), Max: schema.F(observations[n-1]),
	}
}

// isEmpty reports whether a distribution has no figures at all.
func isEmpty(d *schema.ClientDistribution) bool { return d == nil || *d == schema.ClientDistribution{} }

// notEmpty returns d, or nil if it has no figures at all.
func notEmpty(d *schema.ClientDistribution) *schema.ClientDistribution {
	if isEmpty(d) {
		return nil
	}
	return d
}

// combine returns one result for those in a file. Counts are added up. Nothing else of several
// results can be: percentiles cannot be merged, and the time between two results is unknown.
func combine(results []*result) *result {
	if len(results) == 1 {
		return results[0]
	}
	all := newResult(results[0].client.Tool, fmt.Sprintf("the file has %d results of this run: percentiles and rates of several cannot be merged", len(results)))
	all.client.LatencySeconds, all.client.Throughput = nil, nil
	requests, tokens := all.client.Requests, all.client.Tokens
	all.client.Settings = results[0].client.Settings
	for i, r := range results {
		from := r.client
		add(&requests.Started, from.Requests.Started, i)
		add(&requests.Completed, from.Requests.Completed, i)
		add(&requests.Cancelled, from.Requests.Cancelled, i)
		add(&tokens.Prompt, from.Tokens.Prompt, i)
		add(&tokens.Generation, from.Tokens.Generation, i)
		switch failed := from.Requests.Failed; {
		case i == 0 && failed != nil:
			requests.Failed = map[string]int64{}
			fallthrough
		case requests.Failed != nil && failed != nil:
			for kind, n := range failed {
				addFailures(requests.Failed, kind, n)
			}
		default:
			requests.Failed = nil
		}
		if i == 0 {
			tokens.From = from.Tokens.From
		} else if tokens.From != nil && (from.Tokens.From == nil || *from.Tokens.From != *tokens.From) {
			tokens.From = schema.Ptr(fromTool)
		}
		for name, value := range all.client.Settings {
			if from.Settings[name] != value {
				delete(all.client.Settings, name) // settings are scalars
			}
		}
	}
	for _, path := range []string{"requests", "tokens"} {
		all.why[path] = fmt.Sprintf("not all of the %d results in the file have it", len(results))
	}
	return all
}

// add adds the n-th number to a sum, which is nil if any of them is.
func add(sum **int64, x *int64, n int) {
	switch {
	case n == 0 && x != nil:
		*sum = schema.Ptr(*x)
	case x == nil || *sum == nil:
		*sum = nil
	default:
		**sum += *x
	}
}

// Values of client.tokens.from.
const (
	fromUsage     = "usage"
	fromTokenizer = "tokenizer"
	fromTool      = "tool"
)

// scalar returns a setting's value if it is a short text, a number or a boolean, and whether
// it is one. null counts as not set.
func scalar(v any) (any, bool) {
	switch v := v.(type) {
	case string:
		return strings.ToValidUTF8(v[:min(len(v), 256)], ""), true
	case float64, bool:
		return v, true
	}
	return nil, false
}
