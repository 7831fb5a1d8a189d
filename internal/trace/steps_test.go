package trace

import "testing"

// The annotations that vLLM writes, and what only looks like them.
func TestParseStep(t *testing.T) {
	for name, want := range map[string]struct {
		kind                StepKind
		context, generation counts
		tokens              bool
	}{
		"execute_context_2(512)_generation_0(0)":                                             {Prefill, counts{2, 512}, counts{}, true},
		"execute_context_0(0)_generation_8(16)":                                              {Decode, counts{}, counts{8, 16}, true},
		"execute_context_1(100)_generation_3(3)":                                             {Mixed, counts{1, 100}, counts{3, 3}, true},
		"execute_context_1(sq100sk100sqsq10000sqsk10000)_generation_3(sq3sk900sqsq3sqsk900)": {Mixed, counts{1, 100}, counts{3, 3}, true},
		"execute_new_1_cached_4":                                                             {Mixed, counts{requests: 1}, counts{requests: 4}, false},
		"execute_new_0_cached_4":                                                             {Decode, counts{}, counts{requests: 4}, false},
	} {
		s := parseStep([]byte(name))
		if !s.valid || s.kind() != want.kind || s.context != want.context || s.generation != want.generation || s.hasTokens != want.tokens {
			t.Errorf("%s: %+v", name, s)
		}
	}
	for _, name := range []string{
		"execute_context_0(0)_generation_0(0)", "execute_context_", "execute_model", "execute_context_1(1_generation_1(1)", "execute_context_1(x)_generation_1(1)",
		"execute_context_1(1)_generation_1(1)_more", "execute_new_1", "execute_context_99999999999999999999(1)_generation_1(1)",
	} {
		if s := parseStep([]byte(name)); s.valid {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// The annotations of one step on several streams are one step; two steps that are alike are two.
func TestWindows(t *testing.T) {
	w := windowsOf([]step{{start: 10, end: 20}, {start: 0, end: 9}, {start: 4, end: 12}, {start: 30, end: 35, generation: counts{1, 1}}})
	if len(w) != 2 || w[0].start != 0 || w[0].end != 20 || w[0].until != 30 || w[1].until != 35 || !w[1].last {
		t.Errorf("%+v", w)
	}
	// Steps that overlap on different streams, by their ids.
	w = windowsOf([]step{{start: 0, end: 10, id: 1}, {start: 8, end: 20, id: 2}, {start: 9, end: 12, id: 1}})
	if len(w) != 2 || w[0].end != 12 || w[0].until != 8 || w[1].end != 20 {
		t.Errorf("%+v", w)
	}
	if d := distributionOf([]int64{4e9, 1e9, 2e9, 3e9}); *d != (Distribution{2.5, 2, 4, 4}) {
		t.Errorf("%+v", d)
	}
}
