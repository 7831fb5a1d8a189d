package probe

import "github.com/vobs/vobs/probe/aggregate"

// SetIntrospection sets what the plugin of --instrument reported. The latest call counts.
func (p *Prober) SetIntrospection(i aggregate.Introspection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.introspection = i
}
