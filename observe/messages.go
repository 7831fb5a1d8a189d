package observe

import "sync"

// messages are the messages of a run. They can be held back while the event is on its way:
// stderr may be a stopped terminal, or a full pipe.
type messages struct {
	mu   sync.Mutex
	held bool
	late []func()
}

// through returns write, which is put off while messages are held back.
func (m *messages) through(write func(string)) func(string) {
	return func(text string) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.held {
			m.late = append(m.late, func() { write(text) })
			return
		}
		write(text)
	}
}

// hold begins to hold messages back.
func (m *messages) hold() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = true
}

// release writes the messages that were held back, and holds no more.
func (m *messages) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, write := range m.late {
		write()
	}
	m.held, m.late = false, nil
}
