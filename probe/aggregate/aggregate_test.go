package aggregate

import (
	"errors"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/vllm/config"
	"github.com/vobs/vobs/probe/window"
)

// purityInput returns an Input with one endpoint that had these pages, an unread address
// and an introspection.
func purityInput(t *testing.T, pages ...string) Input {
	t.Helper()
	began := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }
	in := Input{Active: &window.ActiveTime{}, Started: at(0), Ended: at(10)}
	for i := range 4 {
		in.Active.Add(at(2*i), at(2*i+1), at(0), true)
	}
	e := Endpoint{
		Name: "http://127.0.0.1:8000/metrics", Local: true,
		Base: BaseScraped, BaseAt: at(-1), FirstAt: at(-1), FullAt: at(11), LastAt: at(11), Final: FinalUnsettled,
		Scrapes: 12, Errors: 1, MaxGap: time.Second, Latencies: []time.Duration{3, 1, 2}, ActiveAtFull: 4,
		LastError: errors.New("timeout"), FailedAt: at(5), LastCounted: errors.New("timeout"),
		MaxNumSeqs: 8,
		Answers: Answers{
			Version:    Answer{Asked: true, Answered: true, Reason: "no /version"},
			ServerInfo: Answer{Asked: true, Answered: true, Values: config.Values{"max_num_seqs": int64(16), "quantization": config.Disabled{}}},
		},
	}
	e.Counters, in.Gauges = readPages(t, false, fullPages(pages...)...)
	in.Endpoints = []Endpoint{e}
	in.Others = []Unread{{Name: "http://10.0.0.1:8000/metrics", Given: true, LastError: errors.New("refused")}}
	in.Introspection = Introspection{
		Enabled: true, Reason: "one worker reported nothing", Backends: [][]string{{"x.FlashAttentionBackend"}}, DataParallelSizes: []int64{2},
		Cores: []CoreConfig{
			{Index: 0, Values: config.Values{"max_num_seqs": int64(16), "num_gpu_blocks": int64(100)}},
			{Index: 1, Values: config.Values{"max_num_seqs": int64(8), "num_gpu_blocks": int64(100)}},
		},
	}
	return in
}

// Aggregate is pure: the same Input yields the same Output every time, and it does not
// change.
func TestAggregateIsPure(t *testing.T) {
	omniPage := func(name string) string {
		text, err := os.ReadFile("../../testdata/omni/" + name + ".prom")
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for name, pages := range map[string][]string{
		"two engines":  {testkit.Recorded(t, "serve_dp2_pre"), testkit.Recorded(t, "serve_dp2_post")},
		"speculation":  {testkit.Recorded(t, "serve_ngram_pre"), testkit.Recorded(t, "serve_ngram_post")},
		"offloading":   {offloadPage(t, "tiers_pre"), offloadPage(t, "tiers_mid"), offloadPage(t, "tiers_post")},
		"KV connector": {offloadPage(t, "connectors_pre"), offloadPage(t, "connectors_post")},
		"vllm-omni":    {omniPage("now_pre"), omniPage("now_mid"), omniPage("now_post")},
	} {
		t.Run(name, func(t *testing.T) {
			for _, base := range []Base{BaseScraped, BaseZero} { // introspection covers the second
				in, same := purityInput(t, pages...), purityInput(t, pages...)
				in.Endpoints[0].Base, same.Endpoints[0].Base = base, base
				first := Aggregate(in)
				if first.Engine == nil || len(first.Notes.Validity) == 0 {
					t.Fatalf("no engine, or no notes: %+v", first.Notes)
				}
				for range 5 { // maps are iterated in another order each time
					if diff := cmp.Diff(first, Aggregate(in)); diff != "" {
						t.Fatalf("the Output differs: %s", diff)
					}
				}
				if !reflect.DeepEqual(in, same) {
					t.Error("the Input changed")
				}
			}
		})
	}
	none := Input{Others: []Unread{{Name: "http://10.0.0.1:8000/metrics", LastError: errors.New("refused")}}, Introspection: purityInput(t).Introspection}
	if diff := cmp.Diff(Aggregate(none), Aggregate(none)); diff != "" {
		t.Errorf("without an engine, the Output differs: %s", diff)
	}
}
