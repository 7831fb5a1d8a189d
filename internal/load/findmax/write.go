package findmax

import (
	"fmt"
	"io"
	"strconv"

	"github.com/vobs/vobs/internal/render"
	"github.com/vobs/vobs/schema"
)

// Schema returns the result as the event has it. seed returns the seed of a step.
func (r *Result) Schema(o *Options, seed func(step int) int64) *schema.ClientFindMax {
	out := &schema.ClientFindMax{
		Confirmed: r.Confirmed, Proven: &schema.Bounds{}, Resolution: schema.F(o.Resolution),
		StoppedBy: string(r.StoppedBy), Steps: []schema.ClientFindMaxStep{},
	}
	if r.Rate > 0 {
		out.Rate = schema.F(r.Rate)
	}
	if r.ProvenMet > 0 {
		out.Proven[0] = schema.F(r.ProvenMet)
	}
	if r.ProvenMissed > 0 {
		out.Proven[1] = schema.F(r.ProvenMissed)
	}
	for _, s := range r.Steps {
		step := schema.ClientFindMaxStep{
			Rate: schema.Float(s.Rate), Seed: seed(s.Number), Confirms: s.Confirms, Requests: int64(s.Judged), Met: s.Met, Proven: s.Proven,
			Overload: s.Overload, ClientLate: s.ClientLate, Seconds: schema.Float(s.Seconds), Shares: []schema.ClientFindMaxShare{},
		}
		for i, share := range s.Shares {
			step.Shares = append(step.Shares, schema.ClientFindMaxShare{
				Target: o.Targets[i].Name, Met: schema.Float(share.Met), Interval: &schema.Bounds{schema.F(share.Low), schema.F(share.High)},
			})
		}
		out.Steps = append(out.Steps, step)
	}
	return out
}

// WriteText writes the steps as a table, and the result below it.
func (r *Result) WriteText(w io.Writer, o *Options) error {
	table := &render.Table{}
	for _, key := range []string{"step", "requests/s", "requests", "time"} {
		table.Columns = append(table.Columns, render.Column{Key: key, Right: true})
	}
	for _, target := range o.Targets {
		table.Columns = append(table.Columns, render.Column{Key: "met " + target.Name, Right: true})
	}
	table.Columns = append(table.Columns, render.Column{Key: "SLO"})
	for _, s := range r.Steps {
		cells := []render.Cell{
			render.String(strconv.Itoa(s.Number)), render.String(rateText(s.Rate)), render.String(strconv.Itoa(s.Judged)),
			render.String(render.Seconds(s.Seconds)),
		}
		for _, share := range s.Shares {
			cells = append(cells, render.String(fmt.Sprintf("%.1f %% (%.1f to %.1f)", 100*share.Met, 100*share.Low, 100*share.High)))
		}
		table.Add(append(cells, render.String(s.text()))...)
	}
	if len(r.Steps) > 0 {
		if err := table.WriteText(w, render.TextOptions{}); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "\n%s\n", r.text(o))
	return err
}

// text returns what the step has shown.
func (s *StepResult) text() string {
	text := "missed"
	if s.Met {
		text = "met"
	}
	switch {
	case s.Overload:
		text += ": overload"
	case s.ClientLate && !s.Met:
		text += ": late client"
	}
	if !s.Proven {
		text += ", unproven"
	}
	if s.Confirms {
		text += ", fresh run"
	}
	return text
}

// text returns the result as sentences.
func (r *Result) text(o *Options) string {
	text := "no rate is known to meet the SLO"
	if r.Rate > 0 {
		text = rateText(r.Rate) + " requests/s met the SLO"
		if r.Confirmed {
			text += fmt.Sprintf(", confirmed by %d fresh runs", Confirmations)
		} else {
			text += ", unconfirmed"
		}
	}
	switch r.StoppedBy {
	case Client:
		if r.Rate > 0 {
			text += "; above,"
		} else {
			text += ":"
		}
		text += " the client sends too late: the client is the limit, not the server"
	case Resolved:
		text += fmt.Sprintf("; %s did not", rateText(r.Rate*(1+o.Resolution)))
	case AtHighest:
		text += "; it is the highest allowed rate: the server may take more"
	case AtLowest:
		text += fmt.Sprintf(": %s requests/s did not, and lower ones are not tried", rateText(r.lowestRun()))
	case Interrupted:
		text += "; interrupted"
	case Failed:
		text += "; ended by an error"
	}
	switch {
	case r.ProvenMet > 0 && r.ProvenMissed > 0:
		text += fmt.Sprintf("\nproven: %s requests/s meet it, %s miss it", rateText(r.ProvenMet), rateText(r.ProvenMissed))
	case r.ProvenMet > 0:
		text += fmt.Sprintf("\nproven: %s requests/s meet it; nothing is proven to miss it", rateText(r.ProvenMet))
	case r.ProvenMissed > 0:
		text += fmt.Sprintf("\nproven: %s requests/s miss it; nothing is proven to meet it", rateText(r.ProvenMissed))
	case len(r.Steps) > 0:
		text += "\nnothing is proven: steps need more requests"
	}
	return text
}

func (r *Result) lowestRun() float64 {
	lowest := 0.0
	for _, s := range r.Steps {
		if lowest == 0 || s.Rate < lowest {
			lowest = s.Rate
		}
	}
	return lowest
}

// String returns the progress as the beginning of a line.
func (p Progress) String() string {
	text := fmt.Sprintf("step %d at %s requests/s", p.Step.Number, rateText(p.Step.Rate))
	if p.Step.Confirms {
		text += " (fresh run)"
	}
	if p.Low > 0 {
		text += ", met so far " + rateText(p.Low)
	}
	if p.High > 0 {
		text += ", missed " + rateText(p.High)
	}
	return text
}

// Line returns a step and what it has shown as a line.
func (s *StepResult) Line(o *Options) string {
	text := fmt.Sprintf("step %d at %s requests/s: %d requests in %s", s.Number, rateText(s.Rate), s.Judged, render.Seconds(s.Seconds))
	for i, share := range s.Shares {
		text += fmt.Sprintf(", %.1f %% with %s", 100*share.Met, o.Targets[i].Name)
	}
	return text + ": " + s.text()
}

// rateText returns a rate with four digits.
func rateText(rate float64) string {
	text := strconv.FormatFloat(rate, 'g', 4, 64)
	if rate >= 1000 {
		text = strconv.FormatFloat(rate, 'f', 0, 64)
	}
	return text
}
