package compare

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/vobs/vobs/internal/render"
	"github.com/vobs/vobs/schema"
)

// Write writes the result: as text or Markdown for people, its first line being the verdict,
// as JSON whole, as CSV the metrics alone.
func (r *Result) Write(w io.Writer, f render.Format, text render.TextOptions) error {
	switch f {
	case render.JSON:
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		return enc.Encode(r)
	case render.CSV:
		return r.metricsTable().WriteCSV(w)
	case render.Markdown:
		if _, err := fmt.Fprintf(w, "**%s**\n\n%s\n\n", r.headline(), r.design()); err != nil {
			return err
		}
		if err := r.metricsTable().WriteMarkdown(w); err != nil {
			return err
		}
		if len(r.Comparability) == 0 {
			return nil
		}
		if _, err := fmt.Fprintf(w, "\n%s\n\n", differ); err != nil {
			return err
		}
		return r.differencesTable().WriteMarkdown(w)
	}
	if _, err := fmt.Fprintf(w, "%s\n%s\n\n", r.headline(), r.design()); err != nil {
		return err
	}
	if err := r.metricsTable().WriteText(w, text); err != nil {
		return err
	}
	if len(r.Comparability) == 0 {
		return nil
	}
	if _, err := fmt.Fprintf(w, "\n%s\n\n", differ); err != nil {
		return err
	}
	return r.differencesTable().WriteText(w, text)
}

const differ = "What differs between the sides:"

// headline returns the verdict and the reasons for it.
func (r *Result) headline() string {
	s := string(r.Verdict)
	if len(r.Reasons) > 0 {
		s += ": " + strings.Join(r.Reasons, "; ")
	}
	return render.Printable(s)
}

// design describes the runs that were compared.
func (r *Result) design() string {
	s := fmt.Sprintf("%s against %d", render.Count(r.NewRuns, "run"), r.BaseRuns)
	switch {
	case r.Paired && r.Order.Interleaved:
		s += ", interleaved, in pairs"
	case r.Order.Interleaved:
		s += ", interleaved"
	default:
		s += ", not interleaved"
	}
	if r.HistoryLeftOut > 0 {
		s += fmt.Sprintf("; made in other conditions and left out: %s of the history", render.Count(r.HistoryLeftOut, "run"))
	}
	return s
}

func (r *Result) metricsTable() *render.Table {
	t := &render.Table{Columns: []render.Column{
		{Key: "name", Title: "metric"}, {Key: "gated", Title: "gated"},
		{Key: "base", Right: true}, {Key: "new", Right: true}, {Key: "change", Right: true},
		{Key: "change_low", Title: "90 % from", Right: true}, {Key: "change_high", Title: "to", Right: true},
		{Key: "tolerance", Right: true}, {Key: "p", Right: true}, {Key: "verdict"}, {Key: "runs_needed", Title: "runs needed", Right: true},
	}}
	for _, c := range r.Metrics {
		if c.Base.N == 0 && c.New.N == 0 && !c.Gated {
			continue
		}
		gated := ""
		if c.Gated {
			gated = "yes"
		}
		t.Add(render.String(c.Name), render.Cell{Text: gated, Value: c.Gated},
			amount(c.Base.Median, c.Unit), amount(c.New.Median, c.Unit),
			percent(c.Change), percent(c.ChangeLow), percent(c.ChangeHigh),
			shareCell(c.Tolerance), pCell(c.P), render.String(string(c.Verdict)), count(c.RunsNeeded))
	}
	return t
}

func (r *Result) differencesTable() *render.Table {
	t := &render.Table{Columns: []render.Column{{Key: "field"}, {Key: "base"}, {Key: "new"}, {Key: "severity"}}}
	for _, d := range r.Comparability {
		t.Add(render.String(d.Field), render.String(d.Base), render.String(d.New), render.String(string(d.Severity)))
	}
	return t
}

func amount(x *float64, unit schema.Unit) render.Cell {
	if x == nil {
		return render.Cell{Text: "-"}
	}
	text := ""
	switch unit {
	case schema.UnitBytes:
		text = render.Bytes(int64(*x))
	case schema.UnitGibibytes:
		text = render.Bytes(int64(math.Round(*x * (1 << 30))))
	case schema.UnitSeconds:
		text = render.Seconds(*x)
	case schema.UnitFraction:
		text = render.Percent(*x)
	default:
		text = strconv.FormatFloat(*x, 'g', 5, 64)
	}
	return render.Cell{Text: text, Value: *x}
}

func percent(x *float64) render.Cell {
	if x == nil {
		return render.Cell{Text: "-"}
	}
	return render.Cell{Text: signed(*x), Value: *x}
}

func shareCell(x *float64) render.Cell {
	if x == nil {
		return render.Cell{Text: "-"}
	}
	return render.Cell{Text: render.Percent(*x), Value: *x}
}

// signed formats a fraction as a percentage with its sign; 0.0 % has none.
func signed(x float64) string {
	s := fmt.Sprintf("%+.1f %%", 100*x)
	if s == "+0.0 %" || s == "-0.0 %" {
		return "0.0 %"
	}
	return s
}

func pCell(p *float64) render.Cell {
	if p == nil {
		return render.Cell{Text: "-"}
	}
	return render.Cell{Text: fmt.Sprintf("%.2g", *p), Value: *p}
}

func count(n *int) render.Cell {
	if n == nil {
		return render.Cell{}
	}
	return render.Cell{Text: strconv.Itoa(*n), Value: *n}
}
