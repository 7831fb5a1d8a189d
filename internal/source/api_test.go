package source

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vobs/vobs/probe/exposition"
)

// began is when the windows of the tests begin.
var began = time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)

// at returns a time that many seconds after began.
func at(seconds float64) time.Time { return began.Add(time.Duration(seconds * float64(time.Second))) }

// fakePrometheus serves the HTTP API over what it has "scraped". Its answers have the form of those
// of Prometheus 2.42.
type fakePrometheus struct {
	t   *testing.T
	url string

	mu     sync.Mutex
	series map[string]*stored // by labels
	// handle, if set, answers a request instead, unless it returns false.
	handle   func(w http.ResponseWriter, r *http.Request) bool
	requests []*http.Request // with their forms parsed
	warnings string          // a JSON array
}

type stored struct {
	labels map[string]string
	points []sample
}

func newFakePrometheus(t *testing.T) *fakePrometheus {
	t.Helper()
	f := &fakePrometheus{t: t, series: map[string]*stored{}}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

// scrape stores a page of a target as Prometheus does: it adds the target's labels, and renames the
// page's own labels of these names.
func (f *fakePrometheus) scrape(seconds float64, target map[string]string, page string) {
	f.t.Helper()
	var parsed exposition.Page
	if err := exposition.NewParser(nil).Parse([]byte(page), &parsed); err != nil {
		f.t.Fatal(err)
	}
	for _, s := range parsed.Samples {
		labels := map[string]string{"__name__": s.Name}
		for _, l := range s.Labels.Pairs() {
			name := l.Name
			if target[name] != "" {
				name = "exported_" + name
			}
			labels[name] = l.Value
		}
		maps.Copy(labels, target)
		f.store(seconds, labels, s.Value)
	}
	f.own(seconds, target, "up", 1)
	f.own(seconds, target, "scrape_duration_seconds", 0.008)
	f.own(seconds, target, "scrape_samples_scraped", float64(len(parsed.Samples)))
}

// own stores a sample of Prometheus's own about a scrape.
func (f *fakePrometheus) own(seconds float64, target map[string]string, name string, value float64) {
	labels := maps.Clone(target)
	labels["__name__"] = name
	f.store(seconds, labels, value)
}

func (f *fakePrometheus) store(seconds float64, labels map[string]string, value float64) {
	key := fmt.Sprint(labels)
	if f.series[key] == nil {
		f.series[key] = &stored{labels: labels}
	}
	s := f.series[key]
	s.points = append(s.points, sample{at(seconds).UnixMilli(), value})
}

var rangeSelector = regexp.MustCompile(`^\{(.*),__name__=~"((?:[^"\\]|\\.)*)"\}\[(\d+)ms\]$`)
var matcher = regexp.MustCompile(`(\w+)="([^"]*)"`)

func (f *fakePrometheus) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := r.ParseForm(); err != nil {
		f.t.Error(err)
	}
	f.requests = append(f.requests, r)
	if f.handle != nil && f.handle(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/api/v1/query":
		f.query(w, r)
	case "/api/v1/label/job/values":
		jobs := map[string]bool{}
		for _, s := range f.series {
			if s.labels["__name__"] == "vllm:num_requests_running" {
				jobs[strconv.Quote(s.labels["job"])] = true
			}
		}
		fmt.Fprintf(w, `{"status":"success","data":[%s]}`, strings.Join(slices.Sorted(maps.Keys(jobs)), ","))
	default:
		http.NotFound(w, r)
	}
}

func (f *fakePrometheus) query(w http.ResponseWriter, r *http.Request) {
	m := rangeSelector.FindStringSubmatch(r.Form.Get("query"))
	end, err := strconv.ParseFloat(r.Form.Get("time"), 64)
	if m == nil || err != nil {
		apiError(w, http.StatusBadRequest, "bad_data", "invalid parameter \"query\": parse error")
		return
	}
	length, _ := strconv.ParseInt(m[3], 10, 64)
	name := regexp.MustCompile("^(?:" + m[2] + ")$")
	to := int64(math.Round(end * 1e3))
	var results []string
	for _, key := range slices.Sorted(maps.Keys(f.series)) {
		s := f.series[key]
		matches := name.MatchString(s.labels["__name__"])
		for _, want := range matcher.FindAllStringSubmatch(m[1], -1) {
			matches = matches && s.labels[want[1]] == want[2]
		}
		var points []string
		for _, p := range s.points {
			if p.at >= to-length && p.at <= to {
				points = append(points, fmt.Sprintf(`[%s,"%s"]`, strconv.FormatFloat(float64(p.at)/1e3, 'f', -1, 64), strconv.FormatFloat(p.value, 'g', -1, 64)))
			}
		}
		if matches && len(points) > 0 {
			var labels []string
			for _, name := range slices.Sorted(maps.Keys(s.labels)) {
				labels = append(labels, fmt.Sprintf("%q:%q", name, s.labels[name]))
			}
			results = append(results, fmt.Sprintf(`{"metric":{%s},"values":[%s]}`, strings.Join(labels, ","), strings.Join(points, ",")))
		}
	}
	more := ""
	if f.warnings != "" {
		more = `,"warnings":` + f.warnings
	}
	fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[%s]}%s}`, strings.Join(results, ","), more)
}

// apiError answers as the API does.
func apiError(w http.ResponseWriter, status int, kind, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"status":"error","errorType":%q,"error":%q}`, kind, message)
}
