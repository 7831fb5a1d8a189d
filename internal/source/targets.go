package source

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/vobs/vobs/internal/vllm"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/probe/exposition"
	"github.com/vobs/vobs/probe/scrape"
)

// A Prometheus server adds the labels of a target to all series of its page: job and instance, and
// others such as pod, from its service discovery and relabelling. If the page has a label of that
// name, it is renamed to exported_NAME (honor_labels in the scrape configuration). The page is the
// engine's own again without the one and with the other name.

// usualLabels are the labels of a target where no series shows which it has: a selector may have
// matchers that only an engine's own series fulfil.
var usualLabels = []string{"job", "instance", "namespace", "pod", "container", "service", "endpoint", "node", "cluster", "prometheus", "prometheus_replica"}

// exportedPrefix begins the names of an engine's labels that the target has too.
const exportedPrefix = "exported_"

// target is one target of a server.
type target struct {
	labels []exposition.Label // sorted by name
	series []*series          // of its page
	// up and duration are what Prometheus records of its scrapes; nil if it was not read.
	up, duration *series
	own          map[*series]*exposition.Labels // their labels on the target's page
}

// errScrape is the error of a scrape that failed.
var errScrape = errors.New("a scrape by Prometheus failed: up is 0")

// targetsOf groups series by their targets, and leaves out the targets without vLLM's metrics.
func targetsOf(all []*series) []*target {
	var targets []*target
	byInstance := map[[2]string][]*target{}
	find := func(labels []exposition.Label) *target {
		id := [2]string{labelIn(labels, "job"), labelIn(labels, "instance")}
		for _, t := range byInstance[id] {
			if slices.Equal(t.labels, labels) {
				return t
			}
		}
		t := &target{labels: labels, own: map[*series]*exposition.Labels{}}
		targets = append(targets, t)
		byInstance[id] = append(byInstance[id], t)
		return t
	}
	for _, s := range all {
		switch s.name {
		case upName:
			find(s.labels).up = s
		case durationName:
			find(s.labels).duration = s
		}
	}
	for _, s := range all { // of the process, unless there are several on the page
		if s.name == metrics.ProcessStartName && owner(byInstance, s) == nil {
			find(s.labels)
		}
	}
	for _, s := range all {
		if s.name == upName || s.name == durationName {
			continue
		}
		t := owner(byInstance, s)
		if t == nil {
			t = find(slices.DeleteFunc(slices.Clone(s.labels), func(l exposition.Label) bool { return !slices.Contains(usualLabels, l.Name) }))
		}
		labels, err := t.ownLabels(s)
		if err != nil {
			continue
		}
		t.series = append(t.series, s)
		t.own[s] = labels
	}
	return slices.DeleteFunc(targets, func(t *target) bool {
		return !slices.ContainsFunc(t.series, func(s *series) bool {
			m, ok := metrics.Lookup(s.name)
			return ok && m.Desc.IsVLLM()
		})
	})
}

// owner returns the target that a series belongs to: of those whose labels it has, the one with
// most labels; nil if there is none.
func owner(byInstance map[[2]string][]*target, s *series) (best *target) {
	for _, t := range byInstance[[2]string{s.get("job"), s.get("instance")}] {
		has := !slices.ContainsFunc(t.labels, func(l exposition.Label) bool { return s.get(l.Name) != l.Value })
		if has && (best == nil || len(t.labels) > len(best.labels)) {
			best = t
		}
	}
	return best
}

// ownLabels returns the labels that a series of the target has on the target's page.
func (t *target) ownLabels(s *series) (*exposition.Labels, error) {
	var own []exposition.Label
	for _, l := range s.labels {
		if labelIn(t.labels, l.Name) != "" {
			continue
		}
		if name, ok := strings.CutPrefix(l.Name, exportedPrefix); ok && labelIn(t.labels, name) != "" {
			l.Name = name
		}
		own = append(own, l)
	}
	return exposition.NewLabels(own)
}

// labelIn returns the value of a label; "" if there is none.
func labelIn(labels []exposition.Label, name string) string {
	for _, l := range labels {
		if l.Name == name {
			return l.Value
		}
	}
	return ""
}

// times returns the times of the target's scrapes that returned a page, in milliseconds of Unix
// time: all samples of a page have the time at which its scrape began.
func (t *target) times() []int64 {
	seen := map[int64]bool{}
	for _, s := range t.series {
		for _, x := range s.samples {
			seen[x.at] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// recordings returns the pages of targets, by their addresses.
func recordings(targets []*target) (out []probe.Recording) {
	slices.SortFunc(targets, func(a, b *target) int { return strings.Compare(fmt.Sprint(a.labels), fmt.Sprint(b.labels)) })
	instances := map[string]int{}
	for _, t := range targets {
		instances[labelIn(t.labels, "instance")]++
	}
	for _, t := range targets {
		r := t.recording()
		if instances[r.Target.URL.Host] > 1 {
			r.Target.URL.Fragment = t.otherLabels()
		}
		out = append(out, r)
	}
	return out
}

// recording returns the target's pages. No series shows the scheme and the path of the address that
// they were scraped at.
func (t *target) recording() probe.Recording {
	address := &url.URL{Scheme: "http", Host: labelIn(t.labels, "instance"), Path: vllm.MetricsPath}
	r := probe.Recording{Target: scrape.Target{Origin: scrape.FromFlag, URL: address}}
	for _, ms := range t.times() {
		page := probe.RecordedPage{At: time.UnixMilli(ms).UTC(), Fill: func(page *exposition.Page) { t.fill(page, ms) }}
		if t.duration != nil {
			if seconds, ok := t.duration.at(ms); ok && seconds > 0 {
				page.Latency = time.Duration(seconds * float64(time.Second))
			}
		}
		r.Pages = append(r.Pages, page)
	}
	if t.up != nil {
		for _, x := range t.up.samples {
			if x.value == 0 {
				r.Pages = append(r.Pages, probe.RecordedPage{At: time.UnixMilli(x.at).UTC(), Err: errScrape})
			}
		}
	}
	slices.SortStableFunc(r.Pages, func(a, b probe.RecordedPage) int { return a.At.Compare(b.At) })
	return r
}

// fill appends the samples of the page that was scraped at a time.
func (t *target) fill(page *exposition.Page, ms int64) {
	for _, s := range t.series {
		if value, ok := s.at(ms); ok {
			page.Samples = append(page.Samples, exposition.Sample{Name: s.name, Labels: t.own[s], Value: value})
		}
	}
}

// otherLabels returns the target's labels beside instance, to tell apart targets of one instance.
func (t *target) otherLabels() string {
	var others []string
	for _, l := range t.labels {
		if l.Name != "instance" {
			others = append(others, l.Name+"="+l.Value)
		}
	}
	return strings.Join(others, ",")
}
