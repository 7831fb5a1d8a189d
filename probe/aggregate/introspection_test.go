package aggregate

import "testing"

// Introspection covers the command's own engines: neither one that was there before nor
// one that started meanwhile on another host.
func TestIntrospectionCovers(t *testing.T) {
	v := view{}
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
		if got := v.introspectionCovers(&endpoint{Endpoint: Endpoint{Base: c.base, Local: c.local}}); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	if v.at("0").introspectionCovers(&endpoint{Endpoint: Endpoint{Base: BaseZero, Local: true}}) {
		t.Error("with several stages, it is unknown which one the plugin reported on")
	}
}
