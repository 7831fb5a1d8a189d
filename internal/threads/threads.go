// Package threads creates the threads of a run before its command starts, and keeps the
// run within them.
//
// A command may use up the limit on processes and threads that vobs shares with it: pids.max
// of the cgroup, or RLIMIT_NPROC. The Go runtime aborts the process if it then needs one more
// thread. It never needs one that it already has, because threads that it does not use stay
// parked, and the number that it needs is bounded by what can block at a time:
//
//	at most                                           threads
//	runtime: sysmon and the template thread                 2
//	a goroutine that runs (GOMAXPROCS is 1)                 1
//	the network poller                                      1
//	os/signal: its loop, and one that can take signals, [1]
//	or those with no more to do that are not parked yet     2
//	waiting for the command and its orphans                 1
//	the goroutine that calls NVML                           1
//	a write to a stream or a file of events                 1
//	calls that may hang (see [Enter])              MaxBlocked
//	C: the GPUs' memory, multiprocess files                 2
//
// [1] Without cgo, or if signals were blocked when vobs was executed.
//
// A goroutine that waits for anything else (a channel, a lock, a socket, a pidfd) occupies no
// thread, unless it is locked to one: so whoever locks a goroutine to its thread must be in
// this list.
package threads

import (
	"net"
	"runtime"
	"sync"
	"time"
)

const (
	// MaxBlocked is how many calls that may hang are made at a time.
	MaxBlocked = 5
	// blocking is the number of threads that block or run Go code, except those of the
	// runtime itself: the table above from its second line on.
	blocking = 1 + 1 + 2 + 1 + 1 + 1 + MaxBlocked
	// Max is the most threads that vobs has while a command runs, those of the NVIDIA
	// driver's library excepted.
	Max = ofRuntime + blocking + parked
	// ofRuntime is the number of threads that run no goroutine: the first line.
	ofRuntime = 2
)

// Reserve creates the threads. It is for a process that runs a command, and is called once,
// before anything blocks. From then on one goroutine runs at a time.
func Reserve() {
	// More would cost a thread each, and a wake-up whenever two goroutines can run. vobs uses
	// 1 % of a core. The call also keeps the runtime from reading the cgroup's files, which
	// may hang, to adapt the number.
	runtime.GOMAXPROCS(1)
	if runtime.GOOS == "linux" {
		net.DefaultResolver.PreferGo = true // the C library's resolver blocks a thread for each name
	}
	beginReserve()
	defer endReserve()
	// Goroutines that are locked to their threads at the same time have one each. When they
	// are unlocked, the runtime parks the threads for whoever blocks next.
	var arrived, left sync.WaitGroup
	release := make(chan struct{})
	lock := func() {
		runtime.LockOSThread()
		arrived.Done()
		<-release
		runtime.UnlockOSThread()
	}
	// One thread runs this function, another one may wait for the network already.
	for n := blocking - 2; n > 0; n = ofRuntime + blocking - created() {
		for range n {
			arrived.Add(1)
			left.Go(lock)
		}
		arrived.Wait()
	}
	close(release)
	left.Wait() // until then their threads are not free
}

// created returns the number of threads that the Go runtime has created.
func created() int {
	n, _ := runtime.ThreadCreateProfile(nil)
	return n - noThread
}

// slots has an element for each call between Enter and Leave.
var slots = make(chan struct{}, MaxBlocked)

// Enter waits until fewer than [MaxBlocked] calls that may hang are in progress, and counts
// one more until [Leave]. A goroutine that is between the two must not call Enter again, and
// must not wait for another one that does.
func Enter() { slots <- struct{}{} }

// EnterWithin is Enter, but gives up after limit. It reports whether the call counts.
func EnterWithin(limit time.Duration) bool {
	select {
	case slots <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case slots <- struct{}{}:
		return true
	case <-timer.C:
		return false
	}
}

// Leave ends what Enter began.
func Leave() { <-slots }
