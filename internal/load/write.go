package load

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/vobs/vobs/internal/render"
	"github.com/vobs/vobs/schema"
)

// Write writes the result as one line of JSON: an object with the event's group `client`, and
// its keys `validity` and `unavailable` for it.
func (r *Result) Write(w io.Writer) error {
	out := struct {
		Client      *schema.Client       `json:"client"`
		Validity    []schema.Validity    `json:"validity"`
		Unavailable []schema.Unavailable `json:"unavailable"`
	}{r.Client, append([]schema.Validity{}, r.Notes.Validity...), append([]schema.Unavailable{}, r.Notes.Unavailable...)}
	text, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("encoding the result: %w", err)
	}
	_, err = w.Write(append(text, '\n'))
	return err
}

// WriteText writes the result for people.
func (r *Result) WriteText(w io.Writer) error {
	c := r.Client
	summary := &render.Table{Columns: []render.Column{{Key: "what"}, {Key: "figures"}}}
	line := func(name, format string, args ...any) {
		summary.Add(render.String(name), render.String(fmt.Sprintf(format, args...)))
	}
	failed := int64(0)
	for _, n := range c.Requests.Failed {
		failed += n
	}
	line("requests", "%d started, %d completed, %d failed, %d cancelled", *c.Requests.Started, *c.Requests.Completed, failed, *c.Requests.Cancelled)
	for _, kind := range slices.Sorted(maps.Keys(c.Requests.Failed)) {
		line("failed", "%s: %d, the first one: %s", kind, c.Requests.Failed[kind], r.Failures[kind])
	}
	source := ""
	if *c.Tokens.From == "chunks" {
		source = " (chunks: the server sends no usage)"
	}
	prompt := "unknown"
	if c.Tokens.Prompt != nil {
		prompt = fmt.Sprint(*c.Tokens.Prompt)
	}
	line("tokens", "%s prompt, %d generated%s", prompt, *c.Tokens.Generation, source)
	if t := c.Throughput; t != nil {
		over := "the steady part of the run"
		if *t.Over == "all" {
			over = "the whole run"
		}
		text := perSecond(t.RequestsPerSecond) + " requests/s, "
		if t.PromptTokensPerSecond != nil {
			text += perSecond(t.PromptTokensPerSecond) + " prompt tokens/s, "
		}
		line("throughput", "%s%s generated tokens/s over %s", text, perSecond(t.GenerationTokensPerSecond), over)
	}
	if c.Goodput != nil {
		line("goodput", "%s requests/s met %s", perSecond(c.Goodput), *c.SLO)
	}
	if err := summary.WriteText(w, render.TextOptions{NoTitles: true}); err != nil {
		return err
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	table := &render.Table{Columns: []render.Column{{Key: "latency", Title: " "}}}
	for _, key := range []string{"count", "mean", "p50", "p90", "p95", "p99", "p99 interval", "max"} {
		table.Columns = append(table.Columns, render.Column{Key: key, Right: true})
	}
	for _, l := range latencies(c) {
		cells := []render.Cell{render.String(l.title), render.String(fmt.Sprint(*l.d.Count))}
		for _, x := range []*schema.Float{l.d.Mean, l.d.P50, l.d.P90, l.d.P95, l.d.P99} {
			cells = append(cells, render.String(secondsText(x)))
		}
		table.Add(append(cells, render.String(intervalText(l.d.P99Interval)), render.String(secondsText(l.d.Max)))...)
	}
	return table.WriteText(w, render.TextOptions{})
}

func perSecond(f *schema.Float) string {
	x, _ := f.Value()
	if x < 100 {
		return fmt.Sprintf("%.2f", x)
	}
	return fmt.Sprintf("%.0f", x)
}

func secondsText(f *schema.Float) string {
	x, ok := f.Value()
	switch {
	case !ok:
		return "-"
	case x < 0.01:
		return fmt.Sprintf("%.2f ms", 1000*x)
	}
	return render.Seconds(x)
}

// intervalText returns an interval, as "0.9 s to 1.1 s".
func intervalText(b *schema.Bounds) string {
	switch {
	case b == nil || b[0] == nil:
		return "-"
	case b[1] == nil:
		return "from " + secondsText(b[0])
	}
	return secondsText(b[0]) + " to " + secondsText(b[1])
}

// String returns the status as one line.
func (s Status) String() string {
	parts := []string{
		s.Elapsed.Round(time.Second).String(), fmt.Sprintf("%.1f requests/s", s.Rate), fmt.Sprintf("%d running", s.Running),
		fmt.Sprintf("%d completed", s.Completed), fmt.Sprintf("%d failed", s.Failed),
	}
	if s.Of != "" {
		parts = append([]string{s.Of}, parts...)
	}
	if s.TTFT > 0 {
		parts = append(parts, "TTFT "+render.Seconds(s.TTFT.Seconds()))
	}
	if s.Left > 0 {
		parts = append(parts, s.Left.Round(time.Second).String()+" left")
	}
	return strings.Join(parts, ", ")
}

// record is a line of --save-requests. Times are seconds since the start of the run.
type record struct {
	Number           int           `json:"number"`
	Warmup           bool          `json:"warmup"`
	Intended         schema.Float  `json:"intended_seconds"`
	Sent             schema.Float  `json:"sent_seconds"`
	FirstToken       *schema.Float `json:"first_token_seconds"`
	LastToken        *schema.Float `json:"last_token_seconds"`
	End              schema.Float  `json:"end_seconds"`
	PlannedPrompt    *int          `json:"planned_prompt_tokens"`
	PlannedOutput    int           `json:"planned_output_tokens"`
	PromptTokens     *int64        `json:"prompt_tokens"` // null without usage
	GenerationTokens *int64        `json:"generation_tokens"`
	Chunks           int64         `json:"chunks"`
	Failure          *string       `json:"failure"`
	Message          *string       `json:"message"`
	Cancelled        bool          `json:"cancelled"`
	Conversation     *int          `json:"conversation,omitempty"` // of several turns
	Turn             *int          `json:"turn,omitempty"`
}

// Write writes the request as one line of JSON.
func (r *Request) Write(w io.Writer) error {
	out := record{
		Number: r.Number, Warmup: r.Warmup, Chunks: r.Chunks, Cancelled: r.Cancelled, PlannedOutput: r.plan.output,
		Intended: schema.Float(r.Intended.Seconds()), Sent: schema.Float(r.Sent.Seconds()), End: schema.Float(r.End.Seconds()),
	}
	if r.plan.prompt > 0 {
		out.PlannedPrompt = &r.plan.prompt
	}
	if r.Turn > 0 {
		out.Conversation, out.Turn = &r.Conversation, &r.Turn
	}
	if r.Chunks > 0 {
		out.FirstToken, out.LastToken = schema.F(r.First.Seconds()), schema.F(r.Last.Seconds())
	}
	if r.HasUsage {
		out.PromptTokens, out.GenerationTokens = &r.Prompt, &r.Generation
	}
	if r.Failure != "" {
		out.Failure, out.Message = &r.Failure, &r.Message
	}
	text, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("encoding a request: %w", err)
	}
	_, err = w.Write(append(text, '\n'))
	return err
}
