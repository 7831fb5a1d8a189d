package host

import (
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
)

// The memory of treeSamples does not grow over ten hours of readings once a second.
func TestSampleMemoryBounded(t *testing.T) {
	var s treeSamples
	now := time.Now()
	add := func(times int) {
		for range times {
			now = now.Add(time.Second)
			s.add(now, 5, nil)
		}
	}
	add(100)
	before := testkit.Heap()
	add(36000)
	if after := testkit.Heap(); after > before+testkit.MaxGrowth {
		t.Errorf("after 100 readings %d bytes were reachable, after 36100 %d", before, after)
	}
}
