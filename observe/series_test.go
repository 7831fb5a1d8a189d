package observe

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/curve"
	"github.com/vobs/vobs/schema"
)

// However many curves and however long the run, the group stays within its size.
func TestSeriesSize(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	for _, curves := range []int{1, 7, 9, 21, 60, 200} {
		for _, duration := range []time.Duration{time.Millisecond, 29 * time.Second, 31 * time.Second, 5 * time.Minute, 40 * time.Hour} {
			var figures []curve.Figure
			for i := range curves {
				var c curve.Curve
				scale := math.Pow10(random.IntN(24) - 12)
				for at := time.Duration(0); at < duration; at += max(duration/300, time.Millisecond) {
					c.Add(at, scale*random.Float64())
				}
				figures = append(figures, curve.Figure{Name: fmt.Sprintf("gpus.%d.memory_used_bytes", i), Group: curve.Group{Curves: []curve.Curve{c}}})
			}
			s := series(figures, duration)
			e := &schema.GenerationObservability{Series: s}
			with, err := e.Encode(schema.Full)
			if err != nil {
				t.Fatal(err)
			}
			e.Series = nil
			without, err := e.Encode(schema.Full)
			if err != nil {
				t.Fatal(err)
			}
			size := len(with) - len(without) + len("null")
			n := len(s.Curves[0].Max)
			if size > maxSeriesBytes {
				t.Errorf("%d curves over %v take %d bytes", curves, duration, size)
			}
			if n > curve.MaxSlots || float64(n)*float64(s.SlotSeconds) < duration.Seconds() || float64(n-1)*float64(s.SlotSeconds) > duration.Seconds() {
				t.Errorf("%d curves over %v: %d slots of %v s", curves, duration, n, s.SlotSeconds)
			}
			if want := min(curves, 73); len(s.Curves) < want && len(s.Curves) < 60 {
				t.Errorf("%d curves of %d", len(s.Curves), curves)
			}
			if curves <= 7 && duration == 29*time.Second && n != 116 {
				t.Errorf("%d curves over %v have only %d slots", curves, duration, n)
			}
		}
	}
}

func TestSeries(t *testing.T) {
	var a, b, late curve.Curve
	a.Add(100*time.Millisecond, 12345)
	a.Add(600*time.Millisecond, 0.5)
	b.AddSpan(0, 500*time.Millisecond, 2)
	late.Add(2*time.Second, 1)
	one := func(name string, c curve.Curve) curve.Figure {
		return curve.Figure{Name: name, Group: curve.Group{Curves: []curve.Curve{c}}}
	}
	figures := []curve.Figure{one("a", a), one("b", b), one("late", late)}
	e := &schema.GenerationObservability{Series: series(figures, 700*time.Millisecond)}
	text, err := e.Encode(schema.Full)
	if err != nil {
		t.Fatal(err)
	}
	const want = `"series":{"slot_seconds":0.25,"curves":[{"name":"a","max":[12340,null,0.5],"mean":[12340,null,0.5]},{"name":"b","max":[2,2,null],"mean":[2,2,null]}]}`
	if got := seriesText(text); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for name, s := range map[string]*schema.Series{
		"no figure": series(nil, time.Second), "no duration": series(figures, 0), "no reading in the run": series([]curve.Figure{one("late", late)}, time.Second),
	} {
		if s != nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// seriesText returns the group series of an event's text.
func seriesText(event []byte) string {
	_, rest, _ := bytes.Cut(event, []byte(`"efficiency":null,`))
	text, _, _ := bytes.Cut(rest, []byte(`,"diagnosis":`))
	return string(text)
}
