package demo

// Frontend is the CPU time of the API server, whose one thread does everything in order of
// arrival: in seconds.
type Frontend struct {
	Request     float64 // each request: HTTP, validation
	PromptToken float64 // tokenizing
	Output      float64 // each sequence's output of a step: detokenizing, a chunk of the stream
}

// usualFrontend is an API server that keeps up.
var usualFrontend = Frontend{Request: 0.4e-3, PromptToken: 0.5e-6, Output: 25e-6}

// frontend is the API server's thread.
type frontend struct {
	cost Frontend
	free float64 // when it has done all that it was given
	done float64 // CPU seconds of what is not in work any more
	todo []span  // what it was given, in order
}

// span is a time at which the thread works.
type span struct{ from, to float64 }

// work queues something for the thread, and returns the time at which it is done.
func (f *frontend) work(at, seconds float64) float64 {
	begin := max(f.free, at)
	f.free = begin + seconds
	f.todo = append(f.todo, span{begin, f.free})
	return f.free
}

// cpu returns the CPU time used until now, which must not decrease from call to call.
func (f *frontend) cpu(now float64) float64 {
	for len(f.todo) > 0 && f.todo[0].to <= now {
		f.done += f.todo[0].to - f.todo[0].from
		f.todo = f.todo[1:]
	}
	if len(f.todo) == 0 {
		return f.done
	}
	return f.done + max(0, now-f.todo[0].from)
}

// arrive passes the requests that have arrived by then through the API server.
func (e *core) arrive(by float64) {
	for e.clients.next() <= by {
		r := e.clients.take()
		f := &e.front.cost
		r.queued = e.front.work(r.arrival, f.Request+f.PromptToken*float64(r.prompt))
		e.incoming = append(e.incoming, r)
		e.all = append(e.all, r)
	}
}

// respond passes the step's outputs through the API server.
func (e *core) respond() {
	st := &e.step
	st.at = e.now
	if e.front == nil {
		return
	}
	if st.outputs > 0 {
		st.at = e.front.work(e.now, e.front.cost.Output*float64(st.outputs))
	} else {
		st.at = max(e.now, e.front.free)
	}
	for _, r := range st.firstTokens {
		r.firstSeen = st.at
	}
	for _, r := range st.finished {
		r.finished = st.at
		e.clients.answered(r, st.at)
	}
}
