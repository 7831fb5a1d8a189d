package truth

import (
	"container/heap"
	"time"
)

// simulation is engines and their client on one timeline. It is driven by events; advance
// lets everything happen until an instant.
type simulation struct {
	now     time.Duration // since the simulation began
	events  eventQueue
	number  int // of events so far
	servers []*server
	client  *client
	// epoch is the wall time at which the simulation began.
	epoch time.Time
}

// event is something that happens at an instant; of two at one instant, the one that was
// planned first comes first.
type event struct {
	at     time.Duration
	number int
	run    func()
}

type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].number < q[j].number
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *eventQueue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}

// after plans an event.
func (s *simulation) after(d time.Duration, run func()) {
	s.number++
	heap.Push(&s.events, event{s.now + max(d, 0), s.number, run})
}

// advance lets everything happen up to an instant.
func (s *simulation) advance(to time.Duration) {
	for len(s.events) > 0 && s.events[0].at <= to {
		e := heap.Pop(&s.events).(event)
		s.now = e.at
		e.run()
	}
	s.now = max(s.now, to)
}

// server is one API server process with its engines, at one address. It is restarted as a
// whole.
type server struct {
	sim     *simulation
	index   int    // of all servers
	address string // host:port
	engines []*engine
	up      bool
	life    int // number of the process
	// started is when the present process started.
	started time.Duration
	// Requests that the process has answered.
	completions, refused, modelsQueries int

	facts *serverFacts // nil in a simulation that only serves pages
}

// cpuShare is how much of a core a server's process uses from its start on.
const cpuShare = 0.3

// cpuSeconds returns process_cpu_seconds_total.
func (s *server) cpuSeconds() float64 { return cpuShare * (s.sim.now - s.started).Seconds() }

// startTime returns process_start_time_seconds.
func (s *server) startTime() float64 {
	// Two processes hardly ever start at the same hundredth of a second.
	offset := time.Duration(s.index) * 30 * time.Millisecond
	return float64(s.sim.epoch.Add(s.started-offset).UnixNano()) / 1e9
}

// start brings up a new process. Its start time lies before the moment it answers.
func (s *server) start(started time.Duration) {
	s.life++
	s.up, s.started = true, started
	s.completions, s.refused, s.modelsQueries = 0, 0, 0
	s.recordUp(1)
	if s.facts != nil {
		s.facts.starts = append(s.facts.starts, started)
	}
}

// kill ends the process at once.
func (s *server) kill() {
	s.up = false
	for _, e := range s.engines {
		e.kill()
	}
	s.recordUp(0)
	if s.facts != nil {
		s.facts.kills = append(s.facts.kills, s.sim.now)
	}
}

func (s *server) recordUp(up float64) {
	if s.facts != nil {
		s.facts.up.set(s.sim.now, up)
	}
}

// engines returns the engines of all servers.
func (s *simulation) engines() (all []*engine) {
	for _, server := range s.servers {
		all = append(all, server.engines...)
	}
	return all
}
