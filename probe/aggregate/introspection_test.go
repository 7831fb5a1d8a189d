package aggregate

import "testing"

// Introspection covers the command's own engines: not one that was there before, nor
// one on another host that came up meanwhile.
func TestIntrospectionCovers(t *testing.T) {
	r := view{}
	for _, c := range []struct {
		base  Base
		local bool
		want  bool
	}{
		{BaseZero, true, true},
		{BaseScraped, true, false},
		{BaseLate, true, false},
		{BaseZero, false, false},
	} {
		if got := r.introspectionCovers(&endpointRecord{Endpoint: Endpoint{Base: c.base, Local: c.local}}); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	if r.at("0").introspectionCovers(&endpointRecord{Endpoint: Endpoint{Base: BaseZero, Local: true}}) {
		t.Error("of several stages it is not known which one the plugin reported")
	}
}
