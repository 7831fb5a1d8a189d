package ab

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/sampler/gpu"
)

func TestPlan(t *testing.T) {
	text := func(steps []Step) string {
		var s strings.Builder
		for _, step := range steps {
			s.WriteString(string(step.Side))
		}
		return s.String()
	}
	steps := Plan(ABBA, 4, 1, 0)
	if got := text(steps); got != "AB"+"ABBAABBA" {
		t.Errorf("%s", got)
	}
	for i, s := range steps[2:] {
		if s.Position != i+1 || s.Pair != i/2+1 {
			t.Errorf("%d: %+v", i, s)
		}
	}
	if steps[0].Pair != 0 || steps[1].Position != 0 {
		t.Errorf("a warm-up counts: %+v", steps[:2])
	}
	a, again, b := text(Plan(Random, 40, 0, 1)), text(Plan(Random, 40, 0, 1)), text(Plan(Random, 40, 0, 2))
	if a != again || a == b {
		t.Error("the random order does not depend on the seed alone")
	}
	for _, pair := range slices.Collect(slices.Chunk([]byte(a), 2)) {
		if p := string(pair); p != "AB" && p != "BA" {
			t.Errorf("a pair is %s", p)
		}
	}
	if !strings.Contains(a, "BAAB") && !strings.Contains(a, "ABAB") {
		t.Errorf("%s is not random", a)
	}
}

func TestParse(t *testing.T) {
	for s, want := range map[string]Settle{"": {}, "5s": {Pause: 5 * time.Second}, "idle": {Idle: true}, "60C": {Idle: true, Celsius: 60}} {
		if got, err := ParseSettle(s); err != nil || got.Pause != want.Pause || got.Idle != want.Idle || got.Celsius != want.Celsius {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"5", "-1s", "hot", "C", "-5C", "1000C", "60F"} {
		if _, err := ParseSettle(s); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
	if _, err := ParseOrder("baab"); err == nil {
		t.Error("an unknown order is accepted")
	}
}

func TestSettle(t *testing.T) {
	busy, idle, hot, cool := 0.5, 0.0, 80, 50
	reads, told := 0, 0
	s := Settle{Idle: true, Celsius: 60, read: func() []gpu.DeviceStatus {
		reads++
		if reads == 1 {
			return []gpu.DeviceStatus{{Utilization: &busy, Temperature: &hot}}
		}
		return []gpu.DeviceStatus{{Utilization: &idle, Temperature: &cool}, {}} // the second one reports nothing
	}}
	if err := s.wait(t.Context(), func(string) { told++ }); err != nil || reads != 2 || told != 1 {
		t.Errorf("%v after %d readings", err, reads)
	}
	for _, c := range []struct {
		celsius int
		device  gpu.DeviceStatus
		want    string
	}{
		{0, gpu.DeviceStatus{Utilization: &busy, Temperature: &cool}, "GPU 0 is busy (50 %)"},
		{60, gpu.DeviceStatus{Utilization: &idle, Temperature: &hot}, "GPU 0 is at 80 °C"},
		{0, gpu.DeviceStatus{Utilization: &idle, Temperature: &hot}, ""},
		{60, gpu.DeviceStatus{Utilization: &idle, Temperature: &cool}, ""},
	} {
		s := Settle{Celsius: c.celsius}
		if got := s.unsettled([]gpu.DeviceStatus{c.device}); got != c.want {
			t.Errorf("%+v: %q, want %q", c, got, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	hang := Settle{Idle: true, read: func() []gpu.DeviceStatus {
		cancel()
		select {}
	}}
	if err := hang.wait(ctx, nil); !errors.Is(err, ErrStopped) {
		t.Errorf("a driver that hangs: %v", err)
	}
}

func TestResetPrefixCache(t *testing.T) {
	var requests []string
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests = append(requests, r.Method+" "+r.URL.Path)
		w.WriteHeader(status)
	}))
	defer server.Close()
	if err := resetPrefixCache(t.Context(), server.URL+"/"); err != nil {
		t.Error(err)
	}
	status = http.StatusNotFound
	if err := resetPrefixCache(t.Context(), server.URL); err == nil || !strings.Contains(err.Error(), "VLLM_SERVER_DEV_MODE") {
		t.Errorf("404: %v", err)
	}
	if want := []string{"POST /reset_prefix_cache", "POST /reset_prefix_cache"}; !slices.Equal(requests, want) {
		t.Errorf("%q", requests)
	}
}
