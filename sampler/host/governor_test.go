package host

import (
	"testing"
	"time"
)

// simulate runs the governor on a simulated clock; cost returns the CPU time of a reading
// and of a discovery at a time. It returns the times of the discoveries, the number of
// readings, and the CPU time used.
func simulate(g *Governor, length time.Duration, cost func(now time.Duration) (refresh, discover time.Duration)) (discoveries []time.Duration, readings int, spent time.Duration) {
	now := time.Duration(0)
	refreshCost, discoverCost := cost(0)
	step := func(discover bool) {
		if discover {
			discoveries = append(discoveries, now)
			spent += discoverCost
			g.ChargeDiscovery(now, discoverCost)
		}
		readings++
		spent += refreshCost + WakeCost
		g.ChargeRefresh(now, refreshCost)
	}
	step(true)
	for {
		at, discover := g.Next()
		if at > length {
			return discoveries, readings, spent
		}
		now = max(now, at)
		refreshCost, discoverCost = cost(now)
		step(discover)
	}
}

func TestGovernor(t *testing.T) {
	const length = 10 * time.Minute
	tests := []struct {
		name              string
		refresh, discover time.Duration
		// bounds
		readings, discoveries [2]int
	}{
		{"a small host", 10 * time.Microsecond, 100 * time.Microsecond, [2]int{2300, 3200}, [2]int{580, 620}},
		{"a busy host of 2000 processes", 50 * time.Microsecond, 2 * time.Millisecond, [2]int{2300, 3200}, [2]int{250, 500}},
		{"expensive discoveries", 50 * time.Microsecond, 24 * time.Millisecond, [2]int{2300, 3200}, [2]int{20, 50}},
		{"a tree of a thousand processes", 3 * time.Millisecond, 5 * time.Millisecond, [2]int{150, 300}, [2]int{60, 130}},
		{"no cost", 0, 0, [2]int{2300, 3200}, [2]int{580, 620}},
	}
	for _, test := range tests {
		g := NewGovernor(DefaultInterval)
		discoveries, readings, spent := simulate(g, length, func(time.Duration) (time.Duration, time.Duration) { return test.refresh, test.discover })
		if share := spent.Seconds() / length.Seconds(); share > cpuShare*1.01 {
			t.Errorf("%s: used %.3f %% of a core", test.name, 100*share)
		}
		if n := len(discoveries); n < test.discoveries[0] || n > test.discoveries[1] {
			t.Errorf("%s: %d discoveries, want %v", test.name, n, test.discoveries)
		}
		if readings < test.readings[0] || readings > test.readings[1] {
			t.Errorf("%s: %d readings, want %v", test.name, readings, test.readings)
		}
	}
}

// Apart from the advance, the budget holds at any time.
func TestGovernorKeepsTheBudget(t *testing.T) {
	for _, discover := range []time.Duration{100 * time.Microsecond, 3 * time.Millisecond, 24 * time.Millisecond, 200 * time.Millisecond} {
		for _, length := range []time.Duration{15 * time.Second, 20 * time.Second, time.Minute, 5 * time.Minute} {
			g := NewGovernor(DefaultInterval)
			_, _, spent := simulate(g, length, func(time.Duration) (time.Duration, time.Duration) { return 20 * time.Microsecond, discover })
			// The first discovery happens whatever it costs, and while the advance is
			// repaid, readings continue with their half of the share.
			share := time.Duration(cpuShare * float64(length))
			if allowed := max(max(startDebt, discover)+share/2, share); spent > allowed+allowed/100 {
				t.Errorf("discoveries of %v: used %v in %v, %v is allowed", discover, spent, length, allowed)
			}
		}
	}
}

// Discoveries are frequent at first, then slow down to one per second.
func TestGovernorQuickStart(t *testing.T) {
	g := NewGovernor(DefaultInterval)
	discoveries, _, _ := simulate(g, 4*time.Second, func(time.Duration) (time.Duration, time.Duration) {
		return 10 * time.Microsecond, 100 * time.Microsecond
	})
	want := []time.Duration{0, 10, 30, 70, 150, 310, 630, 1270, 2270, 3270}
	if len(discoveries) != len(want) {
		t.Fatalf("discoveries at %v, want %d of them", discoveries, len(want))
	}
	for i := range want {
		if discoveries[i] != want[i]*time.Millisecond {
			t.Errorf("discovery %d at %v, want %d ms", i, discoveries[i], int64(want[i]))
		}
	}
}

// Discoveries become rare while they are expensive, and frequent again afterwards.
func TestGovernorFollowsCost(t *testing.T) {
	g := NewGovernor(DefaultInterval)
	discoveries, _, _ := simulate(g, 6*time.Minute, func(now time.Duration) (time.Duration, time.Duration) {
		if now > 2*time.Minute && now < 4*time.Minute {
			return 10 * time.Microsecond, 20 * time.Millisecond
		}
		return 10 * time.Microsecond, 100 * time.Microsecond
	})
	var per [3]int
	for _, at := range discoveries {
		per[min(2, at/(2*time.Minute))]++
	}
	if per[0] < 110 || per[1] > 40 || per[2] < 60 {
		t.Errorf("discoveries in each two minutes: %v, want many, few, many", per)
	}
}
