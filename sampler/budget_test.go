package sampler

import (
	"testing"
	"time"

	"github.com/vobs/vobs/internal/budget"
	"github.com/vobs/vobs/sampler/gpu"
	"github.com/vobs/vobs/sampler/host"
)

// costs holds the CPU times of what vobs does.
type costs struct {
	start              time.Duration // until the command runs
	memory, slow       time.Duration // rounds of the GPUs
	refresh, discovery time.Duration // readings and discoveries of the host, without wake-ups
	poll               time.Duration // of the engines, twice a second
}

// simulate runs both governors, polls of engines and the budget of the whole process on a
// simulated clock. It calls check at each tick with the CPU time spent so far, including
// what the end will take. It returns the CPU time of the GPUs, that of everything, and the
// last interval of the memory readings.
func simulate(run time.Duration, c costs, check func(now, spent time.Duration)) (gpuCPU, total, interval time.Duration) {
	const ending = 5 * time.Millisecond
	const begin = 15 * time.Millisecond
	now, cpu := begin, c.start
	b := budget.New(func() (time.Duration, time.Duration) { return now, cpu })
	g, h := &gpu.Governor{}, host.NewGovernor(host.DefaultInterval)

	cpu += c.memory + c.slow
	gpuCPU += c.memory + c.slow
	g.Reserve(c.slow)
	b.Reserve(c.slow + c.memory)
	interval, period := g.Next(gpu.Tick{Slow: true, SlowCPU: c.slow, Rounds: 1, MemoryCPU: c.memory, Share: b.GPUShare(gpuCPU)})
	hostAt, discover := h.Next()
	hostAt = max(hostAt, b.Wait())
	pollAt := now
	round := now
	var owed time.Duration
	for now < run {
		t := gpu.Tick{Elapsed: gpu.TickInterval, Running: true}
		for owed += gpu.TickInterval; owed >= interval; owed -= interval {
			t.Rounds++
			t.MemoryCPU += c.memory
			if c.memory > time.Millisecond {
				owed = 0 // the watcher pauses after an expensive round until the next tick
				break
			}
		}
		now += gpu.TickInterval
		if now-round >= period {
			round, t.Slow, t.SlowCPU = now, true, c.slow
		}
		gpuCPU += t.MemoryCPU + t.SlowCPU
		cpu += t.MemoryCPU + t.SlowCPU + gpu.TickCost
		for hostAt <= now-begin {
			if discover {
				cpu += c.discovery
				h.ChargeDiscovery(hostAt, c.discovery)
			}
			cpu += c.refresh + host.WakeCost
			h.ChargeRefresh(hostAt, c.refresh)
			hostAt, discover = h.Next()
			hostAt = max(hostAt, now-begin+b.Wait())
		}
		for pollAt <= now {
			cpu += c.poll
			pollAt = max(pollAt+500*time.Millisecond, now+b.Wait())
		}
		t.Share = b.GPUShare(gpuCPU)
		interval, period = g.Next(t)
		check(now, cpu+ending+c.slow+c.memory)
	}
	return gpuCPU, cpu + ending + c.slow + c.memory, interval
}

// All of vobs together stays within 1 % of a core: over 5 s, which must cover the start,
// over a minute, and over ten hours.
func TestWholeKeepsTheBudget(t *testing.T) {
	us, ms := time.Microsecond, time.Millisecond
	for _, c := range []struct {
		name     string
		costs    costs
		from     time.Duration // when the budget must hold
		interval time.Duration // upper bound of the interval at the end
	}{
		{"usual", costs{8 * ms, 40 * us, 150 * us, 100 * us, 500 * us, 250 * us}, 5 * time.Second, 8 * ms},
		{"a slow machine, where spikes take precedence", costs{16 * ms, 80 * us, 300 * us, 200 * us, ms, 500 * us}, 15 * time.Second, 16 * ms},
		{"a host of thousands of processes", costs{8 * ms, 40 * us, 150 * us, 300 * us, 8 * ms, 250 * us}, 6 * time.Second, 8 * ms},
		{"dozens of engines", costs{8 * ms, 40 * us, 150 * us, 100 * us, 500 * us, 3 * ms}, 8 * time.Second, 35 * ms},
		{"more engines than the budget covers", costs{8 * ms, 40 * us, 150 * us, 100 * us, 500 * us, 15 * ms}, time.Minute, 60 * ms},
		{"an expensive driver", costs{12 * ms, 500 * us, 2500 * us, 100 * us, 500 * us, 250 * us}, 5 * time.Second, 120 * ms},
		{"eight GPUs with an expensive driver", costs{28 * ms, 4 * ms, 12 * ms, 100 * us, 500 * us, 250 * us}, time.Minute, 1500 * ms},
		{"a driver that takes a tenth of a second", costs{50 * ms, 100 * ms, 300 * ms, 100 * us, 500 * us, 250 * us}, 5 * time.Minute, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			gpuCPU, total, interval := simulate(10*time.Hour, c.costs, func(now, spent time.Duration) {
				// The cost of what is due at the same time is known only afterwards.
				limit := budget.Whole*now.Seconds() + 2*(c.costs.memory+c.costs.slow+c.costs.discovery+c.costs.poll).Seconds()
				if now >= c.from && spent.Seconds() > limit {
					t.Fatalf("after %v everything took %v: %.3f %% of a core", now, spent, 100*spent.Seconds()/now.Seconds())
				}
			})
			t.Logf("%.3f %% of a core, the GPUs %.3f %%, every %v", total.Seconds()/360, gpuCPU.Seconds()/360, interval)
			if interval > c.interval {
				t.Errorf("the interval is %v, want %v at most", interval, c.interval)
			}
		})
	}
}
