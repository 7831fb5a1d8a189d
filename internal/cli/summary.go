package cli

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/vobs/vobs/internal/diagnose"
	"github.com/vobs/vobs/internal/render"
	"github.com/vobs/vobs/schema"
)

// maxReasons is how many missing groups the summary explains at most.
const maxReasons = 4

// summarize returns an event in about a dozen lines, for a terminal of a width in characters; 0
// means that the width is unknown. Only curves are fitted to it.
func summarize(e *schema.GenerationObservability, width int) string {
	table := render.Table{Columns: []render.Column{{Key: "name", MinWidth: 12}, {Key: "text"}}}
	line := func(name, text string) { table.Add(render.String(name), render.String(text)) }
	for i := range e.GPUs {
		line(fmt.Sprintf("GPU %d", e.GPUs[i].Index), gpuText(&e.GPUs[i])+
			sparkline(e, fmt.Sprintf("gpus.%d.memory_used_bytes", i), 0, "memory", width))
	}
	if g := e.Engine; g != nil {
		engineLines(g, line, func(name string, top float64, label string) string { return sparkline(e, name, top, label, width) })
	}
	if text := clientText(e.Client); text != "" {
		line("client", text)
	}
	if text := differenceText(e.Client); text != "" {
		line("difference", text)
	}
	if text := efficiencyText(e.Efficiency); text != "" {
		line("efficiency", text)
	}
	if h := e.Host; h != nil {
		var parts []string
		if x, ok := h.TreeCPUSeconds.Value(); ok {
			parts = append(parts, fmt.Sprintf("%.1f CPU-seconds", x))
		}
		if h.TreePeakRSSBytes != nil {
			parts = append(parts, "peak RSS "+render.Bytes(*h.TreePeakRSSBytes))
		}
		if e.LoadavgPre != nil && e.LoadavgPost != nil {
			parts = append(parts, fmt.Sprintf("load %.2f → %.2f", float64(e.LoadavgPre[0]), float64(e.LoadavgPost[0])))
		}
		line("host", strings.Join(parts, ", "))
	}
	if d := e.Diagnosis; d != nil && (d.BindingResource.Code != schema.BindingUnknown || len(d.Findings) > 0) {
		line("diagnosis", diagnose.Headline(d))
	}
	for _, v := range e.Validity {
		line(string(v.Severity), v.Message)
	}
	for _, u := range headlineReasons(e) {
		line("missing", u.Field+": "+u.Reason)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "vobs: %s after %.2f s\n", render.Ending(e.Run), float64(e.Run.DurationSeconds))
	_ = table.WriteText(&b, render.TextOptions{Indent: 2, NoTitles: true, Multiline: true}) // a strings.Builder has no errors
	return b.String()
}

func gpuText(g *schema.GPU) string {
	parts := []string{g.Name}
	if g.PeakBytes != nil {
		text := "peak " + render.Bytes(*g.PeakBytes)
		if g.MemoryTotalBytes != nil {
			text += " of " + render.Bytes(*g.MemoryTotalBytes)
		}
		if at, ok := g.PeakAtSeconds.Value(); ok {
			text += fmt.Sprintf(" at %.1f s", at)
		}
		parts = append(parts, text)
	}
	if g.JobPeakBytes != nil {
		parts = append(parts, render.Bytes(*g.JobPeakBytes)+" by the command")
	}
	if g.Utilization != nil {
		parts = append(parts, fmt.Sprintf("%.0f %% utilization", 100*float64(g.Utilization.Mean)))
	}
	if x, ok := g.EnergyJoules.Value(); ok {
		parts = append(parts, fmt.Sprintf("%.0f J", x))
	}
	if x, ok := g.ThrottledFraction.Value(); ok && x > 0 {
		parts = append(parts, fmt.Sprintf("throttled %.1f %% (%s)", 100*x, strings.Join(g.ThrottleReasons, ", ")))
	}
	return strings.Join(parts, ", ")
}

// clientText returns what a load generator measured: requests, the time to the first token, and
// tokens per second.
func clientText(c *schema.Client) string {
	if c == nil {
		return ""
	}
	var parts []string
	if q := c.Requests; q != nil {
		if q.Completed != nil {
			parts = append(parts, fmt.Sprintf("%d completed", *q.Completed))
		}
		failed := int64(0)
		for _, n := range q.Failed {
			failed += n
		}
		if q.Failed != nil {
			parts = append(parts, fmt.Sprintf("%d failed", failed))
		}
	}
	if l := c.LatencySeconds; l != nil && l.TimeToFirstToken != nil {
		p50, hasP50 := l.TimeToFirstToken.P50.Value()
		p99, hasP99 := l.TimeToFirstToken.P99.Value()
		switch {
		case hasP50 && hasP99:
			parts = append(parts, fmt.Sprintf("TTFT p50 %s, p99 %s", render.Seconds(p50), render.Seconds(p99)))
		case hasP50:
			parts = append(parts, "TTFT p50 "+render.Seconds(p50))
		}
	}
	if t := c.Throughput; t != nil {
		if x, ok := t.GenerationTokensPerSecond.Value(); ok {
			parts = append(parts, fmt.Sprintf("%.1f tokens/s", x))
		}
	}
	if len(parts) == 0 {
		return c.Tool
	}
	return c.Tool + ": " + strings.Join(parts, ", ")
}

// differenceText returns by how much the client's mean latencies exceed the engine's; "" if that is
// unknown.
func differenceText(c *schema.Client) string {
	if c == nil || c.EngineDifferenceSeconds == nil {
		return ""
	}
	d := c.EngineDifferenceSeconds
	var parts []string
	for _, x := range []struct {
		name  string
		value *schema.Float
	}{{"TTFT", d.TimeToFirstToken}, {"ITL", d.InterTokenLatency}, {"TPOT", d.TimePerOutputToken}, {"E2E", d.E2ERequestLatency}} {
		if seconds, ok := x.value.Value(); ok {
			parts = append(parts, fmt.Sprintf("%s %+.3f ms", x.name, math.Round(1e6*seconds)/1000+0)) // +0: no -0.000
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "client less engine, on average: " + strings.Join(parts, ", ")
}

func efficiencyText(x *schema.Efficiency) string {
	if x == nil {
		return ""
	}
	var parts []string
	add := func(x *schema.Float, format string) {
		if x, ok := x.Value(); ok {
			parts = append(parts, fmt.Sprintf(format, x))
		}
	}
	add(x.GenerationTokensPerSecondPerGPU, "%.1f tokens generated per second and GPU")
	add(x.JoulesPerGenerationToken, "%.3g J per generated token")
	add(x.JoulesPerComputedToken, "%.3g J per computed one")
	add(x.JoulesPerRequest, "%.3g J per request")
	return strings.Join(parts, ", ")
}

// engineLines adds the lines about the engine. draw draws a curve below a line.
func engineLines(g *schema.Engine, line func(name, text string), draw func(curve string, top float64, label string) string) {
	if k := g.KVCache; k != nil && k.Usage != nil {
		var parts []string
		if x, ok := k.Usage.Peak.Value(); ok {
			text := "peak " + render.Percent(x)
			if k.PeakTokens != nil {
				text += fmt.Sprintf(" (%d tokens)", *k.PeakTokens)
			}
			parts = append(parts, text)
		}
		if x, ok := k.Usage.Mean.Value(); ok {
			parts = append(parts, "mean "+render.Percent(x))
		}
		if len(parts) > 0 {
			line("KV cache", strings.Join(parts, ", ")+draw("engine.kv_cache.usage", 1, "usage"))
		}
	}
	if p := g.PrefixCache; p != nil && p.Local != nil {
		if x, ok := p.Local.HitRate.Value(); ok {
			line("prefix cache", fmt.Sprintf("%s of %d tokens hit", render.Percent(x), p.Local.Queries))
		}
	}
	if s := g.Speculative; s != nil {
		if x, ok := s.AcceptanceRate.Value(); ok {
			line("speculation", fmt.Sprintf("%s of %d drafted tokens accepted", render.Percent(x), *s.DraftTokens))
		}
	}
	if q := g.Requests; q != nil && q.Finished != nil {
		total := int64(0)
		for _, n := range q.Finished {
			total += n
		}
		text := fmt.Sprintf("%d finished", total)
		if q.Preemptions != nil {
			text += fmt.Sprintf(", %d preemptions", *q.Preemptions)
		}
		line("requests", text+lostText(g)+requestsText(q)+draw("engine.requests.running", 0, "running"))
	}
	if t := g.Tokens; t != nil && t.Prompt != nil && t.Generation != nil {
		text := fmt.Sprintf("%d prompt, %d generated", *t.Prompt, *t.Generation)
		if x, ok := g.Throughput.GenerationTokensPerSecond.Value(); ok {
			text += fmt.Sprintf(", %.1f generated per second", x)
		}
		line("tokens", text)
	}
	if l := g.LatencySeconds; l != nil {
		latencyLine(line, "TTFT", l.TimeToFirstToken)
		latencyLine(line, "E2E", l.E2ERequestLatency)
	}
}

// lostText describes the requests that did not finish: those that the server refused, and
// those that ended without being recorded.
func lostText(g *schema.Engine) (text string) {
	for _, status := range []string{"4xx", "5xx"} {
		if n := g.HTTP[status]; n > 0 {
			text += fmt.Sprintf(", %d refused (%s)", n, status)
		}
	}
	if n := g.Requests.UnaccountedMin; n != nil && *n > 0 {
		text += fmt.Sprintf(", at least %d not recorded", *n)
	}
	return text
}

// requestsText describes how many requests were running and waiting. A peak of 0 is not
// worth a word, and without a peak the means are.
func requestsText(q *schema.Requests) (text string) {
	if q.Running == nil {
		return ""
	}
	if peak, ok := q.Running.Peak.Value(); ok && peak > 0 {
		text = fmt.Sprintf(", peak %.0f running", peak)
		if q.Waiting != nil && q.Waiting.Peak != nil {
			text += fmt.Sprintf(", %.0f waiting", float64(*q.Waiting.Peak))
		}
	} else if mean, ok := q.Running.Mean.Value(); ok && mean > 0 {
		text = fmt.Sprintf(", on average %.2g running", mean)
	}
	return text
}

func latencyLine(line func(name, text string), name string, d *schema.Distribution) {
	if d == nil {
		return
	}
	mean, _ := d.Mean.Value()
	text := "mean " + render.Seconds(mean)
	for _, q := range []struct {
		name   string
		value  *schema.Float
		bounds *schema.Bounds
	}{{"p50", d.P50Est, d.P50Bounds}, {"p99", d.P99Est, d.P99Bounds}} {
		if about := quantileText(q.value, q.bounds); about != "" {
			text += ", " + q.name + " " + about
		}
	}
	line(name, text)
}

// widestBounds is how wide the bounds of an estimate may be, as a share of the estimate,
// to be called "about" it.
const widestBounds = 0.25

// quantileText describes a quantile by its estimate if its bounds are narrow, and by its
// bounds otherwise; "" if nothing is known. Events of earlier versions have no bounds.
func quantileText(estimate *schema.Float, bounds *schema.Bounds) string {
	x, known := estimate.Value()
	low, _ := bounds.Low()
	high, bounded := bounds.High()
	switch {
	case known && (bounds == nil || bounded && high-low <= widestBounds*x):
		return "about " + render.Seconds(x)
	case bounded:
		return "at most " + render.SecondsAtMost(high)
	case low > 0:
		return "at least " + render.Seconds(low)
	}
	return ""
}

// headlineReasons returns why the groups that a reader looks for first are missing.
func headlineReasons(e *schema.GenerationObservability) []schema.Unavailable {
	var out []schema.Unavailable
	for _, u := range e.Unavailable {
		wanted := slices.Contains([]string{"gpus", "engine", "host"}, u.Field) ||
			e.GPUs != nil && u.Field == "peak_vram_gb" ||
			e.Engine != nil && slices.Contains([]string{"prefix_cache_hit_rate", "kv_cache_usage_perc"}, u.Field)
		if wanted && !slices.ContainsFunc(out, func(o schema.Unavailable) bool { return o.Reason == u.Reason }) && len(out) < maxReasons {
			out = append(out, u)
		}
	}
	return out
}
