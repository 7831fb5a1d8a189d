package probe

import "testing"

// A server is local if its address is a loopback one, or if it started during the run.
func TestEndpointIsLocal(t *testing.T) {
	for _, c := range []struct {
		address string
		started bool
		want    bool
	}{
		{"http://127.0.0.1:1", false, true},
		{"unix:///s.sock", false, true},
		{"http://192.0.2.1:1", false, false},
		{"http://192.0.2.1:1", true, true}, // listens on one of this host's other addresses only
	} {
		tgt := target(t, c.address)
		tgt.Started = c.started
		if got := (&endpoint{target: tgt}).isLocal(); got != c.want {
			t.Errorf("%+v: isLocal is %v", c, got)
		}
	}
}
