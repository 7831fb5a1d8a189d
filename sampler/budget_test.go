package sampler

import (
	"testing"
	"time"

	"github.com/vobs/vobs/internal/budget"
	"github.com/vobs/vobs/sampler/gpu"
	"github.com/vobs/vobs/sampler/host"
)

// costs are CPU times of what vobs does over and over.
type costs struct {
	start           time.Duration // until the command runs
	memory, slow    time.Duration // the GPUs' rounds
	refresh, search time.Duration // the host's readings and discoveries, without their wake-ups
	poll            time.Duration // of engines, twice a second
}

// simulateAll lets all of vobs live on a clock that only it moves: both governors,
// polls, and the budget above them. look is called at each tick with what
// everything took so far, what the end will take included.
func simulateAll(run time.Duration, c costs, look func(now, spent time.Duration)) (gpuCPU, total, interval time.Duration) {
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
	hostAt, search := h.Next()
	hostAt = max(hostAt, b.Wait())
	pollAt := now
	round := now
	var owed time.Duration
	for now < run {
		t := gpu.Tick{Elapsed: gpu.TickEvery, Running: true}
		for owed += gpu.TickEvery; owed >= interval; owed -= interval {
			t.Rounds++
			t.MemoryCPU += c.memory
			if c.memory > time.Millisecond {
				owed = 0 // the watcher holds after a dear round until the next tick
				break
			}
		}
		now += gpu.TickEvery
		if now-round >= period {
			round, t.Slow, t.SlowCPU = now, true, c.slow
		}
		gpuCPU += t.MemoryCPU + t.SlowCPU
		cpu += t.MemoryCPU + t.SlowCPU + gpu.TickCost
		for hostAt <= now-begin {
			if search {
				cpu += c.search
				h.ChargeDiscovery(hostAt, c.search)
			}
			cpu += c.refresh + host.WakeCost
			h.ChargeRefresh(hostAt, c.refresh)
			hostAt, search = h.Next()
			hostAt = max(hostAt, now-begin+b.Wait())
		}
		for pollAt <= now {
			cpu += c.poll
			pollAt = max(pollAt+500*time.Millisecond, now+b.Wait())
		}
		t.Share = b.GPUShare(gpuCPU)
		interval, period = g.Next(t)
		look(now, cpu+ending+c.slow+c.memory)
	}
	return gpuCPU, cpu + ending + c.slow + c.memory, interval
}

// All of vobs keeps to 1 % of a core: in 5 s, in which the start must be paid, in
// a minute, and in ten hours.
func TestAllOfItKeepsTheBudget(t *testing.T) {
	us, ms := time.Microsecond, time.Millisecond
	for _, c := range []struct {
		name     string
		costs    costs
		from     time.Duration // the budget holds from then on
		interval time.Duration // that is reached in the end, at most
	}{
		{"usual", costs{8 * ms, 40 * us, 150 * us, 100 * us, 500 * us, 250 * us}, 5 * time.Second, 8 * ms},
		{"a slow machine, where spikes come first", costs{16 * ms, 80 * us, 300 * us, 200 * us, ms, 500 * us}, 15 * time.Second, 16 * ms},
		{"a host of thousands of processes", costs{8 * ms, 40 * us, 150 * us, 300 * us, 8 * ms, 250 * us}, 6 * time.Second, 8 * ms},
		{"engines by the dozen", costs{8 * ms, 40 * us, 150 * us, 100 * us, 500 * us, 3 * ms}, 8 * time.Second, 35 * ms},
		{"more engines than can be paid for", costs{8 * ms, 40 * us, 150 * us, 100 * us, 500 * us, 15 * ms}, time.Minute, 60 * ms},
		{"a dear driver", costs{12 * ms, 500 * us, 2500 * us, 100 * us, 500 * us, 250 * us}, 5 * time.Second, 120 * ms},
		{"eight GPUs with a dear driver", costs{28 * ms, 4 * ms, 12 * ms, 100 * us, 500 * us, 250 * us}, time.Minute, 1500 * ms},
		{"a driver that takes a tenth of a second", costs{50 * ms, 100 * ms, 300 * ms, 100 * us, 500 * us, 250 * us}, 5 * time.Minute, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			gpuCPU, total, interval := simulateAll(10*time.Hour, c.costs, func(now, spent time.Duration) {
				// What is due at the same moment is known after it only.
				most := budget.Whole*now.Seconds() + 2*(c.costs.memory+c.costs.slow+c.costs.search+c.costs.poll).Seconds()
				if now >= c.from && spent.Seconds() > most {
					t.Fatalf("after %v all of it took %v: %.3f %% of a core", now, spent, 100*spent.Seconds()/now.Seconds())
				}
			})
			t.Logf("%.3f %% of a core, the GPUs %.3f %%, every %v", total.Seconds()/360, gpuCPU.Seconds()/360, interval)
			if interval > c.interval {
				t.Errorf("the interval is %v, want %v at most", interval, c.interval)
			}
		})
	}
}
