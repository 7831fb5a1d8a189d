package schema

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestRounded(t *testing.T) {
	for x, want := range map[float64]string{
		0: "0", 1: "1", 10: "10", 100: "100", 1000: "1e3", 1234: "1234", 12345: "12340", 12355: "12360", 123456: "123500", 1234567: "1235000", 12345678: "1.235e7",
		0.5: "0.5", 0.1234: "0.1234", 0.12345: "0.1235", 0.01234: "0.01234", 0.001234: "0.001234", 0.0001234: "1.234e-4", 0.001: "1e-3", 9.9996: "10",
		1.5: "1.5", 15.25: "15.25", 99.999: "100", 85899345920: "8.59e10", -3.14159: "-3.142", -0.00001: "-1e-5", 1e-10: "0", 8.5e9: "8.5e9",
		math.MaxFloat64: "1.798e308", 999950: "1e6",
	} {
		got, err := json.Marshal(Rounded(x))
		if err != nil || string(got) != want {
			t.Errorf("%v: %s, %v, want %s", x, got, err, want)
		}
	}
	if Round(math.NaN()) != nil || Round(math.Inf(-1)) != nil || Round(math.MaxFloat64) != nil {
		t.Error("what JSON cannot express is not null")
	}
	if text, err := json.Marshal(Rounded(math.NaN())); err != nil || string(text) != "null" {
		t.Errorf("NaN is %s, %v", text, err)
	}
}

// What is written is valid JSON, short, within half a unit of the fourth digit, and stays the
// same when it is written again.
func TestRoundedProperties(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 4))
	for range 100_000 {
		x := (1 + 9*random.Float64()) * math.Pow10(random.IntN(30)-9)
		r := Round(x)
		text, err := json.Marshal(r)
		var back float64
		if err != nil || json.Unmarshal(text, &back) != nil || back != float64(*r) {
			t.Fatalf("%v is %s, which is read as %v", x, text, back)
		}
		if math.Abs(back-x) > 0.000501*x || len(text) > MaxRoundedBytes {
			t.Fatalf("%v is written as %s", x, text)
		}
		if again, _ := json.Marshal(Round(back)); string(again) != string(text) {
			t.Fatalf("%v is written as %s and then as %s", x, text, again)
		}
	}
}

// Empty slots need no reason; a missing group does.
func TestSeriesNulls(t *testing.T) {
	e := exampleEvent(t)
	e.Series = &Series{SlotSeconds: 0.25, Curves: []Curve{{Name: "engine.kv_cache.usage", Max: []*Rounded{Round(0.5), nil}, Mean: []*Rounded{Round(0.25), nil}}}}
	e.Unavailable = slices.DeleteFunc(e.Unavailable, func(u Unavailable) bool { return u.Field == "series" })
	doc := encode(t, e, Full)
	if want := `"series":{"slot_seconds":0.25,"curves":[{"name":"engine.kv_cache.usage","max":[0.5,null],"mean":[0.25,null]}]}`; !strings.Contains(string(doc), want) {
		t.Errorf("the event has no %s", want)
	}
	if got := texts(Validate(doc, Options{Strict: true})); got != "" {
		t.Error(got)
	}
	e.Series = nil
	if got := UnexplainedNulls(e); !slices.Equal(got, []string{"series"}) {
		t.Errorf("without series, %q have no reason", got)
	}
}
