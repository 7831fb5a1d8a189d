package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// progress is how far a search has come.
type progress struct {
	round      int // of the table
	next       int // the candidates before it hold no wanted socket of generation or before
	generation int
}

// Owner returns the process that listens on a local TCP address in vobs's own
// network namespace. It prefers a socket bound to exactly this address to one bound
// to 0.0.0.0 or ::, which matches addresses of this machine only. An unspecified ip
// stands for the loopback addresses, as it does in dialing.
//
// If several processes hold the socket, Owner returns the ancestor of those it finds: it
// opened the socket and the others inherited it. Pid 1 comes last: with socket
// activation it keeps sockets open that others serve.
//
// The error is ErrNoListener if nothing listens, ErrOwnerHidden if the listening
// process is not visible, and ErrSearching if a later call is needed. If a proxy
// (docker-proxy, a port forwarder) stands in front of the server, Owner returns the proxy.
func (s *Sockets) Owner(ip netip.Addr, port int) (pid int, err error) {
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.gate.leave()
	pid, err = s.owner(ip.Unmap().WithZone(""), port)
	if err != nil {
		return 0, fmt.Errorf("find the process that listens on %s: %w", net.JoinHostPort(ip.String(), strconv.Itoa(port)), err)
	}
	return pid, nil
}

// ownNamespace returns the network namespace of this process; "" if it is unknown.
func (s *Sockets) ownNamespace() string {
	if s.namespace == "" {
		s.namespace, _ = os.Readlink(filepath.Join(s.table.procRoot, "self/ns/net"))
	}
	return s.namespace
}

func (s *Sockets) owner(ip netip.Addr, port int) (int, error) {
	root := s.table.procRoot
	var sockets []*netSocket
	for _, table := range socketTables[:2] {
		f := s.file(s.ownNamespace(), filepath.Join(root, "net"), table.name, table.parse)
		if f.err != nil && !gone(f.err) {
			return 0, f.err
		}
		if gone(f.err) && table.name == "tcp" {
			return 0, fmt.Errorf("%w (%w)", ErrNoProc, f.err)
		}
		for _, socket := range f.sockets {
			if socket.port == port {
				sockets = append(sockets, socket)
			}
		}
	}
	matches := matchListeners(sockets, ip, port, func() bool { return isLocal(ip, s.interfaces) })
	if len(matches) == 0 {
		return 0, ErrNoListener
	}
	return s.holderOf(matches)
}

// matchListeners returns the sockets that a connection to an address would reach:
// those bound to it, otherwise those bound to all addresses. There are several if
// they share the port (SO_REUSEPORT). local reports whether the address is one of
// this machine; it is called only if that matters.
func matchListeners(sockets []*netSocket, ip netip.Addr, port int, local func() bool) []*netSocket {
	var exact, wildcard []*netSocket
	for _, s := range sockets {
		if s.port != port {
			continue
		}
		bound := s.ip.Unmap()
		switch {
		case bound == ip, ip.IsUnspecified() && bound.IsLoopback():
			exact = append(exact, s)
		// :: accepts IPv4 too, unless IPV6_V6ONLY was set, which the table does not show.
		case bound.IsUnspecified() && (bound.Is6() || ip.Is4()):
			wildcard = append(wildcard, s)
		}
	}
	if len(exact) > 0 {
		return exact
	}
	if len(wildcard) > 0 && local() {
		// A socket of the address's own family takes precedence over ::.
		var sameFamily []*netSocket
		for _, s := range wildcard {
			if s.ip.Unmap().Is4() == ip.Is4() {
				sameFamily = append(sameFamily, s)
			}
		}
		if len(sameFamily) > 0 {
			return sameFamily
		}
		return wildcard
	}
	return nil
}

// isLocal reports whether an address is one of this machine.
func isLocal(ip netip.Addr, interfaces func() ([]net.Addr, error)) bool {
	if ip.IsLoopback() || ip.IsUnspecified() {
		return true
	}
	addrs, err := interfaces()
	if err != nil {
		return false
	}
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err == nil && prefix.Addr().Unmap().WithZone("") == ip {
			return true
		}
	}
	return false
}

// holderOf returns the process that holds one of the sockets.
func (s *Sockets) holderOf(sockets []*netSocket) (pid int, err error) {
	candidates, round, err := s.table.search()
	if err != nil {
		return 0, err
	}
	s.forgetEnded(candidates, round)
	s.earn()
	holds := func(h *heldSockets) bool {
		return h != nil && slices.ContainsFunc(sockets, func(socket *netSocket) bool { return h.inodes[socket.inode] })
	}
	newest := 0
	var holder *heldSockets
	for _, socket := range sockets {
		newest = max(newest, socket.generation)
		for _, pid := range s.holders[socket.inode] {
			// It may have ended, or have closed the socket.
			h := s.upToDate(pid, newest)
			if holds(h) && (holder == nil || holder.process.PID == 1 || pid != 1 && h.process.StartTicks < holder.process.StartTicks) {
				holder = h
			}
		}
	}
	if holder == nil || holder.process.PID == 1 {
		found, err := s.search(candidates, newest, holds)
		if found == nil && holder == nil && err != nil {
			return 0, err
		}
		if found != nil {
			holder = found
		}
	}
	if holder == nil {
		return 0, s.whyHidden(sockets[0])
	}
	// Those that inherited the socket are further down.
	for parent, depth := holder.process.PPID, 0; parent > 1 && depth < maxAncestors; depth++ {
		h := s.upToDate(parent, newest)
		if h == nil {
			break
		}
		if holds(h) {
			holder = h
		}
		parent = h.process.PPID
	}
	return holder.process.PID, nil
}

// search returns the first candidate that holds a socket. The error is ErrSearching if the
// allowance does not suffice.
func (s *Sockets) search(candidates []candidate, newest int, holds func(*heldSockets) bool) (*heldSockets, error) {
	p := &s.progress
	if p.generation < newest {
		p.next, p.generation = 0, newest
	}
	for i := p.next; i < len(candidates); i++ {
		pid := candidates[i].pid
		h := s.held[pid]
		if h == nil || h.generation < newest {
			if s.allowance <= 0 {
				return nil, ErrSearching
			}
			s.allowance -= perProcess
			if h = s.upToDate(pid, newest); h != nil {
				s.allowance -= float64(h.links)
			}
		}
		if holds(h) {
			return h, nil
		}
		if i == p.next && (h == nil || h.generation >= p.generation) {
			p.next++
		}
	}
	return nil, nil
}

// upToDate returns the sockets that a process holds, up to a generation; nil if the process
// has ended.
func (s *Sockets) upToDate(pid, generation int) *heldSockets {
	var buf [4096]byte
	stat, err := readStat(s.table.procRoot, pid, buf[:])
	if err != nil {
		return nil
	}
	h := s.held[pid]
	if h == nil || h.process.StartTicks != stat.startTicks || h.generation < generation || time.Since(h.readAt) > maxHeldAge {
		return s.read(stat)
	}
	h.process.PPID = stat.ppid
	return h
}

// forgetEnded forgets what processes held that are no longer listed.
func (s *Sockets) forgetEnded(candidates []candidate, round int) {
	if s.progress.round == round {
		return
	}
	s.progress = progress{round: round}
	alive := make(map[int]bool, len(s.held))
	for _, c := range candidates {
		if h := s.held[c.pid]; h != nil && (h.inode == 0 || h.inode == c.inode) {
			h.inode = c.inode
			alive[c.pid] = true
		}
	}
	maps.DeleteFunc(s.held, func(pid int, _ *heldSockets) bool { return !alive[pid] })
	for inode, pids := range s.holders {
		pids = slices.DeleteFunc(pids, func(pid int) bool { return s.held[pid] == nil })
		if s.holders[inode] = pids; len(pids) == 0 {
			delete(s.holders, inode)
		}
	}
}

// earn adds what the time since the last call has earned to the allowance.
func (s *Sockets) earn() {
	now := time.Now()
	if s.allowance < firstAllowance && (s.wait == nil || s.wait() == 0) {
		s.allowance = min(firstAllowance, s.allowance+earnedPerSecond*now.Sub(s.earnedAt).Seconds())
	}
	s.earnedAt = now
}

// whyHidden returns the error for a socket that no visible process holds.
func (s *Sockets) whyHidden(socket *netSocket) error {
	for _, h := range s.held {
		if errors.Is(h.err, fs.ErrPermission) {
			return fmt.Errorf("%w: the socket belongs to user %d, whose processes this user may not inspect (%w)",
				ErrOwnerHidden, socket.uid, fs.ErrPermission)
		}
	}
	return fmt.Errorf("%w: no process in this pid namespace holds the socket", ErrOwnerHidden)
}
