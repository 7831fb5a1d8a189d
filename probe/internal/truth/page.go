package truth

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// The page has the families, labels and bucket bounds of a page recorded from vLLM 0.32.0,
// testdata/expositions/serve_default_post.prom. Only the values come from the simulation.

// recordedPage is the recorded page, in parts.
type recordedPage struct {
	families []recordedFamily
	bounds   [numHistograms][]float64 // finite upper bounds
}

// recordedFamily is one metric of the recorded page.
type recordedFamily struct {
	head    string // HELP and TYPE
	samples []recordedSample
}

// recordedSample is one line of the recorded page.
type recordedSample struct {
	name, labels, value string // labels with their braces, or ""
}

var recorded = sync.OnceValue(func() *recordedPage {
	_, file, _, _ := runtime.Caller(0)
	page, err := os.ReadFile(filepath.Join(filepath.Dir(file), "../../../testdata/expositions/serve_default_post.prom"))
	if err != nil {
		panic(err)
	}
	return splitPage(string(page))
})

func splitPage(page string) *recordedPage {
	out := &recordedPage{}
	for line := range strings.Lines(page) {
		switch {
		case strings.HasPrefix(line, "# HELP "):
			out.families = append(out.families, recordedFamily{head: line})
			continue
		case strings.HasPrefix(line, "#"):
			out.families[len(out.families)-1].head += line
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		s := recordedSample{name: line[:i], value: strings.TrimSpace(line[i+1:])}
		if j := strings.IndexByte(s.name, '{'); j >= 0 {
			s.name, s.labels = s.name[:j], s.name[j:]
		}
		last := &out.families[len(out.families)-1]
		last.samples = append(last.samples, s)
		for h, name := range histogramNames {
			if bound, err := strconv.ParseFloat(label(s.labels, "le"), 64); s.name == name+"_bucket" && err == nil && !math.IsInf(bound, 1) {
				out.bounds[h] = append(out.bounds[h], bound)
			}
		}
	}
	return out
}

// label returns the value of a label, or "".
func label(labels, name string) string {
	for _, separator := range []string{"{", ","} {
		if _, rest, ok := strings.Cut(labels, separator+name+`="`); ok {
			value, _, _ := strings.Cut(rest, `"`)
			return value
		}
	}
	return ""
}

// setLabel replaces the value of a label that is there.
func setLabel(labels, name, value string) string {
	return regexp.MustCompile(`([{,]`+name+`=")[^"]*`).ReplaceAllString(labels, "${1}"+value)
}

// pageTemplate renders the pages of one server.
type pageTemplate struct {
	families []family
	buffer   bytes.Buffer
}

type family struct {
	head  string
	lines []pageLine
}

// pageLine is a sample, and where its value comes from.
type pageLine struct {
	name, text string // text is the line up to the value
	value      func(*server) float64
	// absent, if set, reports whether the sample is not exported yet.
	absent func(*server) bool
}

// newPageTemplate returns the template of a server's pages.
func newPageTemplate(s *server) *pageTemplate {
	t := &pageTemplate{}
	for _, f := range recorded().families {
		if strings.HasPrefix(f.head, "# HELP http_") {
			continue // in part below; the rest is of no interest to anyone
		}
		out := family{head: f.head}
		if len(f.samples) > 0 && label(f.samples[0].labels, "engine") != "" {
			for _, e := range s.engines { // all samples of an engine, then those of the next
				for _, sample := range f.samples {
					out.lines = append(out.lines, engineLine(s, e, sample))
				}
			}
		} else {
			for _, sample := range f.samples {
				out.lines = append(out.lines, serverLine(sample))
			}
		}
		t.families = append(t.families, out)
	}
	t.families = append(t.families, httpFamily())
	return t
}

// engineLine returns the line of a series of one engine.
func engineLine(s *server, e *engine, r recordedSample) pageLine {
	labels := setLabel(r.labels, "engine", strconv.Itoa(e.label))
	if r.name == "vllm:cache_config_info" {
		labels = cacheConfigLabels(s, e, labels)
	}
	return pageLine{name: r.name, text: r.name + labels + " ", value: engineValue(e, r)}
}

// cacheConfigLabels sets the labels that depend on the engine's settings. num_gpu_blocks
// is the sum over the server's engines, on the series of each; kv_cache_size_tokens is one
// engine's.
func cacheConfigLabels(s *server, e *engine, labels string) string {
	blocks := 0
	for _, other := range s.engines {
		blocks += other.cfg.numGPUBlocks
	}
	for name, value := range map[string]string{
		"block_size": strconv.Itoa(e.cfg.blockSize), "effective_attention_block_size": strconv.Itoa(e.cfg.blockSize),
		"num_gpu_blocks": strconv.Itoa(blocks), "kv_cache_size_tokens": strconv.Itoa(e.cfg.numGPUBlocks * e.cfg.blockSize),
		"enable_prefix_caching": "False",
	} {
		labels = setLabel(labels, name, value)
	}
	return labels
}

func engineValue(e *engine, r recordedSample) func(*server) float64 {
	c := func(f func(c *counters) float64) func(*server) float64 {
		return func(*server) float64 { return f(&e.counters) }
	}
	if strings.HasSuffix(r.name, "_created") {
		return func(s *server) float64 { return s.startTime() }
	}
	for id, name := range histogramNames {
		switch r.name {
		case name + "_bucket":
			i := len(recorded().bounds[id])
			if le, err := strconv.ParseFloat(label(r.labels, "le"), 64); err == nil && !math.IsInf(le, 1) {
				i = slices.Index(recorded().bounds[id], le)
			}
			return c(func(c *counters) float64 { return float64(c.histograms[id].upTo(i)) })
		case name + "_sum":
			return c(func(c *counters) float64 { return c.histograms[id].sum })
		case name + "_count":
			return c(func(c *counters) float64 { return float64(c.histograms[id].count) })
		}
	}
	switch r.name {
	case "vllm:num_requests_running":
		return c(func(c *counters) float64 { return float64(c.running) })
	case "vllm:num_requests_waiting":
		return c(func(c *counters) float64 { return float64(c.waiting) })
	case "vllm:num_requests_waiting_by_reason":
		if label(r.labels, "reason") == "capacity" {
			return c(func(c *counters) float64 { return float64(c.waiting) })
		}
	case "vllm:kv_cache_usage_perc":
		return c(func(c *counters) float64 { return c.usage })
	case "vllm:num_preemptions_total":
		return c(func(c *counters) float64 { return float64(c.preemptions) })
	case "vllm:prompt_tokens_total":
		return c(func(c *counters) float64 { return float64(c.prompt) })
	case "vllm:prompt_tokens_by_source_total":
		if label(r.labels, "source") == "local_compute" {
			return c(func(c *counters) float64 { return float64(c.prompt) })
		}
	case "vllm:generation_tokens_total":
		return c(func(c *counters) float64 { return float64(c.generation) })
	case "vllm:request_success_total":
		if label(r.labels, "finished_reason") == "length" {
			return c(func(c *counters) float64 { return float64(c.finished) })
		}
	case "vllm:cache_config_info", "vllm:engine_sleep_state":
		return constant(r.value)
	}
	return func(*server) float64 { return 0 }
}

func serverLine(r recordedSample) pageLine {
	line := pageLine{name: r.name, text: r.name + r.labels + " ", value: constant(r.value)}
	switch {
	case r.name == "process_start_time_seconds", strings.HasSuffix(r.name, "_created"):
		line.value = func(s *server) float64 { return s.startTime() }
	case r.name == "process_cpu_seconds_total":
		line.value = func(s *server) float64 { return s.cpuSeconds() }
	case strings.HasPrefix(r.name, "vllm:"):
		line.value = func(*server) float64 { return 0 }
	}
	return line
}

func constant(value string) func(*server) float64 {
	v, err := strconv.ParseFloat(value, 64)
	if err != nil {
		panic(fmt.Sprintf("the recorded page has the value %q", value))
	}
	return func(*server) float64 { return v }
}

// httpFamily is http_requests_total. A series appears with its first request.
func httpFamily() family {
	const name = "http_requests_total"
	f := family{head: "# HELP " + name + " Total number of requests by method, status and handler.\n# TYPE " + name + " counter\n"}
	for _, c := range []struct {
		labels string
		n      func(s *server) int
	}{
		{`{handler="/v1/models",method="GET",status="2xx"}`, func(s *server) int { return s.modelsQueries }},
		{`{handler="/v1/completions",method="POST",status="2xx"}`, func(s *server) int { return s.completions }},
		{`{handler="/v1/completions",method="POST",status="4xx"}`, func(s *server) int { return s.refused }},
	} {
		f.lines = append(f.lines, pageLine{
			name: name, text: name + c.labels + " ",
			value:  func(s *server) float64 { return float64(c.n(s)) },
			absent: func(s *server) bool { return c.n(s) == 0 },
		})
	}
	return f
}

// render returns the page; with names, only the samples that have one of them, as
// prometheus_client's restricted registry does. The result is valid until the next call.
func (t *pageTemplate) render(s *server, names []string) []byte {
	t.buffer.Reset()
	for i := range t.families {
		f := &t.families[i]
		if names == nil {
			t.buffer.WriteString(f.head)
		}
		headed := names == nil
		for j := range f.lines {
			line := &f.lines[j]
			if names != nil && !slices.Contains(names, line.name) || line.absent != nil && line.absent(s) {
				continue
			}
			if !headed {
				t.buffer.WriteString(f.head)
				headed = true
			}
			t.buffer.WriteString(line.text)
			t.buffer.Write(appendValue(t.buffer.AvailableBuffer(), line.value(s)))
			t.buffer.WriteByte('\n')
		}
	}
	return t.buffer.Bytes()
}

// appendValue appends a number as Python writes it.
func appendValue(b []byte, v float64) []byte {
	if v == math.Trunc(v) && math.Abs(v) < 1e6 {
		return append(strconv.AppendInt(b, int64(v), 10), '.', '0')
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}
