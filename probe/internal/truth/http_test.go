package truth

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/scrape"
)

// TestFiguresOverHTTP is TestFigures with fewer and shorter runs, in real time and over
// TCP: `make e2e-truth`, and a part of `make check-long`.
func TestFiguresOverHTTP(t *testing.T) {
	if !testkit.Long() {
		t.Skip("SKIPPED: it takes a minute: make e2e-truth")
	}
	const runs = 20
	var all report
	var mix mixture
	for i := range runs {
		sc := newScenario(seed+1, i, 500*time.Millisecond, 4*time.Second)
		p, err := sc.play(func(n *network) scrape.DialFunc { return overTCP(t, n) })
		if err != nil {
			t.Fatalf("%v: %v", sc, err)
		}
		all.addRun(t, p, &mix)
	}
	t.Logf("seed %d, %v\n%s", seed+1, mix, all.table())
	all.check(t, seed+1, 1) // real time makes the runs differ a little
}

// overTCP serves a network on ports of this host. The reader dials the addresses of the
// simulation, so that it takes the servers for remote ones: their CPU time is this test's.
func overTCP(t *testing.T, n *network) scrape.DialFunc {
	ports := map[string]string{}
	for i, server := range n.sim.servers {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports[server.address] = l.Addr().String()
		n.serving.Go(func() { _ = n.httpd[i].Serve(l) })
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if !n.isUp(address) {
			return nil, refused(network)
		}
		return (&net.Dialer{}).DialContext(ctx, network, ports[address])
	}
}
