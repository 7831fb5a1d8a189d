package proc

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/sampler/internal/open"
)

// Listener is a listening socket that a process holds.
type Listener struct {
	// PID is the process. A socket that several processes share (a parent opened it
	// before it forked) is listed once for each.
	PID int
	// Network is "tcp" (IPv4), "tcp6" or "unix" (a stream socket).
	Network string
	// Addr is the IP address, or the path of a unix socket ("@name" in the abstract
	// namespace). The unspecified addresses, 0.0.0.0 and ::, are returned as they are.
	Addr string
	// Port is the TCP port; 0 for a unix socket.
	Port int
}

// Errors of [Sockets.Owner].
var (
	// ErrNoListener means that nothing listens on the address.
	ErrNoListener = errors.New("nothing listens there")
	// ErrOwnerHidden means that something listens, but no process that vobs may
	// inspect holds the socket: it belongs to another user (the error is then an
	// fs.ErrPermission too), or is in another pid namespace.
	ErrOwnerHidden = errors.New("the listening process is not visible")
	// ErrSearching means that something listens, and not all processes have been searched
	// for it yet: a later call goes on.
	ErrSearching = errors.New("not all processes have been searched for it yet")
)

// socketTables are the tables below /proc/net and their parsers.
var socketTables = [...]struct {
	name  string
	parse func([]byte, []netSocket) ([]netSocket, error)
}{{"tcp", parseTCPTable}, {"tcp6", parseTCPTable}, {"unix", parseUnixTable}}

// Sockets maps the listening sockets of a host to the processes that hold them. The kernel
// has no such map: the descriptors of processes have to be read, each with a system call
// (some 3 µs), and the tables of sockets, whose reading takes as long as there are slots for
// connections. So
//
//   - a table is read once for all who ask within tableAge;
//   - the descriptors of a process are read again only if a socket is wanted that did not
//     listen yet when they were read, or after maxHeldAge if the process is asked for;
//   - a search takes the likely processes first, and ends with the first one that holds the
//     socket and its ancestors;
//   - searches have an allowance of descriptors, which they earn as time passes.
//
// Sockets may be used by several goroutines at once. If a file of /proc hangs, it behaves
// like a [Tree].
type Sockets struct {
	table      *Table
	interfaces func() ([]net.Addr, error)
	wait       func() time.Duration // as in NewSockets
	unlimited  bool                 // searches have no allowance

	gate       gate // for the following
	files      map[string]*socketFile
	generation int // readings of tables that had a new socket
	held       map[int]*heldSockets
	holders    map[uint64][]int // pids, by inode; they may have ended
	order      searchOrder
	allowance  float64 // descriptors
	earnedAt   time.Time
}

// socketFile is a table of sockets as it was last read.
type socketFile struct {
	readAt  time.Time
	err     error
	sockets map[uint64]*netSocket // by inode
	newest  int                   // highest generation of its sockets
}

// heldSockets are the listening sockets that a process holds.
type heldSockets struct {
	startTicks uint64
	generation int // when its descriptors were read; later sockets may be missing
	readAt     time.Time
	inodes     map[uint64]bool
	err        error // why its descriptors cannot be read
}

// searchOrder is in which order processes are searched, and how far the search has come.
type searchOrder struct {
	round      int // of the table
	rows       []*row
	next       int // those before it hold no wanted socket of generation or before
	generation int
}

const (
	// tableAge is the age up to which a table of sockets is shared.
	tableAge = 40 * time.Millisecond
	// maxHeldAge is the age up to which it is taken for granted that a process holds the
	// sockets that it held.
	maxHeldAge = 10 * time.Second
	// firstAllowance is how many descriptors searches may read at once, and the most that is
	// saved up: some 15 ms of CPU time. They earn earnedPerSecond, which takes 0.1 % of a
	// core. perProcess is what a process costs in addition to its descriptors.
	firstAllowance  = 4000
	earnedPerSecond = 300
	perProcess      = 5
)

// NewSockets returns the sockets of the host whose processes are in the table. wait, if not
// nil, returns how long to pause until the CPU time that vobs has spent fits its budget:
// meanwhile searches earn nothing. It reads nothing.
func NewSockets(table *Table, wait func() time.Duration) *Sockets {
	return &Sockets{
		table: table, interfaces: net.InterfaceAddrs, wait: wait, gate: newGate(),
		files: map[string]*socketFile{}, held: map[int]*heldSockets{}, holders: map[uint64][]int{},
		allowance: firstAllowance, earnedAt: time.Now(),
	}
}

// Table returns the table of the processes that are searched.
func (s *Sockets) Table() *Table { return s.table }

// newUnlimited returns sockets whose searches read whatever they need.
func newUnlimited(procRoot string) *Sockets {
	s := NewSockets(NewTable(procRoot), nil)
	s.unlimited = true
	return s
}

// enter reserves the sockets for the caller, until s.gate.leave is called.
func (s *Sockets) enter() error {
	if err := s.gate.enter(); err != nil {
		return fmt.Errorf("reading the sockets in %s: %w", s.table.procRoot, err)
	}
	return nil
}

// ListenersOf returns the sockets on which the given processes listen (those whose
// value in pids is true): TCP over IPv4 and IPv6, and unix stream sockets. Each
// process's descriptors are matched with the tables of its own network namespace. A
// process that has ended is left out. If some processes may not be inspected, it
// returns the sockets of the others and an error. The result is sorted by process,
// network, address and port.
func (s *Sockets) ListenersOf(pids map[int]bool) ([]Listener, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.gate.leave()
	var found []Listener
	var errs []error
	for _, pid := range slices.Sorted(trueKeys(pids)) {
		listeners, err := s.listenersOf(pid)
		if err != nil && !gone(err) {
			errs = append(errs, err)
		}
		found = append(found, listeners...)
	}
	slices.SortFunc(found, func(a, b Listener) int {
		return cmp.Or(cmp.Compare(a.PID, b.PID), cmp.Compare(a.Network, b.Network),
			cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.Port, b.Port))
	})
	return found, errors.Join(errs...)
}

// ListenersOf is [Sockets.ListenersOf] without any earlier readings.
func ListenersOf(procRoot string, pids map[int]bool) ([]Listener, error) {
	return newUnlimited(procRoot).ListenersOf(pids)
}

func (s *Sockets) listenersOf(pid int) (found []Listener, err error) {
	root := s.table.procRoot
	var buf [4096]byte
	stat, err := readStat(root, pid, buf[:])
	if err != nil {
		return nil, fmt.Errorf("reading the descriptors of process %d: %w", pid, err)
	}
	// If the link may not be read, treat the process as a namespace of its own.
	namespace, err := os.Readlink(procPath(root, pid, "ns/net"))
	if err != nil {
		namespace = strconv.Itoa(pid)
	}
	var files []*socketFile
	newest, missing := 0, 0
	for _, table := range socketTables {
		f := s.file(namespace, filepath.Join(root, strconv.Itoa(pid), "net"), table.name, table.parse)
		switch {
		case gone(f.err):
			missing++ // the kernel lacks it (no IPv6), or the process has ended
		case f.err != nil:
			err = fmt.Errorf("reading the sockets of process %d: %w", pid, f.err)
		}
		files, newest = append(files, f), max(newest, f.newest)
	}
	if err != nil || missing == len(socketTables) {
		for _, table := range socketTables {
			delete(s.files, namespace+"/"+table.name) // an end halfway must not hide the others' tables
		}
		return nil, err
	}
	h := s.held[pid]
	if h == nil || h.startTicks != stat.startTicks || h.generation < newest || time.Since(h.readAt) > maxHeldAge {
		h = s.read(pid, stat.startTicks)
	}
	if h.err != nil {
		return nil, fmt.Errorf("reading the descriptors of process %d: %w", pid, h.err)
	}
	for i, f := range files {
		for inode := range h.inodes {
			if socket := f.sockets[inode]; socket != nil {
				l := Listener{PID: pid, Network: socketTables[i].name, Addr: socket.path, Port: socket.port}
				if socket.ip.IsValid() {
					l.Addr = socket.ip.String()
				}
				found = append(found, l)
			}
		}
	}
	return found, nil
}

// trueKeys yields the keys whose value is true.
func trueKeys(m map[int]bool) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for k, v := range m {
			if v && !yield(k) {
				return
			}
		}
	}
}

// file returns a table of sockets of a network namespace, in a directory that shows it, read
// at most tableAge ago.
func (s *Sockets) file(namespace, dir, name string, parse func([]byte, []netSocket) ([]netSocket, error)) *socketFile {
	key := namespace + "/" + name
	old := s.files[key]
	if old != nil && time.Since(old.readAt) <= tableAge {
		return old
	}
	f := &socketFile{readAt: time.Now(), sockets: map[uint64]*netSocket{}}
	var sockets []netSocket
	sockets, f.err = readSockets(filepath.Join(dir, name), parse)
	next := s.generation + 1
	for i := range sockets {
		socket := &sockets[i]
		socket.generation = next
		if old != nil {
			if known := old.sockets[socket.inode]; known != nil {
				socket.generation = known.generation
			}
		}
		s.generation, f.newest = max(s.generation, socket.generation), max(f.newest, socket.generation)
		f.sockets[socket.inode] = socket
	}
	s.files[key] = f
	return f
}

// readSockets reads one table. The kernel returns a table of many records in pieces,
// so this takes several reads.
func readSockets(path string, parse func([]byte, []netSocket) ([]netSocket, error)) ([]netSocket, error) {
	data, err := ReadFile(path, MaxTableFile)
	if err != nil {
		return nil, err
	}
	sockets, err := parse(data, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return sockets, nil
}

// read reads which of the sockets in the tables a process holds. It needs the right to trace
// the process.
func (s *Sockets) read(pid int, startTicks uint64) *heldSockets {
	h := &heldSockets{startTicks: startTicks, generation: s.generation, readAt: time.Now()}
	s.held[pid] = h
	s.allowance -= perProcess
	dir := procPath(s.table.procRoot, pid, "fd")
	fds, err := listNames(dir)
	if err != nil {
		h.err = err
		return h
	}
	s.allowance -= float64(len(fds))
	var buf [128]byte
	for _, name := range fds {
		n, err := unix.Readlink(filepath.Join(dir, name), buf[:])
		if err != nil {
			continue // closed in the meantime
		}
		inode, ok := parseSocketLink(buf[:n])
		if !ok || !s.listens(inode) {
			continue
		}
		if h.inodes == nil {
			h.inodes = make(map[uint64]bool)
		}
		h.inodes[inode] = true
		if !slices.Contains(s.holders[inode], pid) {
			s.holders[inode] = append(s.holders[inode], pid)
		}
	}
	return h
}

// listens reports whether a socket is in one of the tables.
func (s *Sockets) listens(inode uint64) bool {
	for _, f := range s.files {
		if f.sockets[inode] != nil {
			return true
		}
	}
	return false
}

// listNames returns the names in a directory, in no particular order.
func listNames(dir string) ([]string, error) {
	fd, err := open.Directory(dir)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	f := os.NewFile(uintptr(fd), dir)
	defer f.Close()
	return f.Readdirnames(-1)
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

// OwnerOf is [Sockets.Owner] without any earlier readings. It reads whatever it needs.
func OwnerOf(procRoot string, ip netip.Addr, port int) (pid int, err error) {
	return newUnlimited(procRoot).Owner(ip, port)
}

func (s *Sockets) owner(ip netip.Addr, port int) (int, error) {
	root := s.table.procRoot
	namespace, _ := os.Readlink(filepath.Join(root, "self/ns/net")) // shared with processes in it
	var sockets []*netSocket
	for _, table := range socketTables[:2] {
		f := s.file(namespace, filepath.Join(root, "net"), table.name, table.parse)
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
	snapshot, err := s.table.current()
	if err != nil {
		return 0, err
	}
	s.sort(snapshot)
	s.earn()
	holds := func(h *heldSockets) bool {
		return slices.ContainsFunc(sockets, func(socket *netSocket) bool { return h.inodes[socket.inode] })
	}
	newest := 0
	var holder *row
	for _, socket := range sockets {
		newest = max(newest, socket.generation)
		for _, pid := range s.holders[socket.inode] {
			i, alive := snapshot.byPID[pid]
			if !alive || holder != nil && pid == 1 {
				continue
			}
			r := &snapshot.rows[i]
			h := s.held[pid]
			if h != nil && h.startTicks == r.StartTicks && time.Since(h.readAt) > maxHeldAge {
				h = s.read(pid, r.StartTicks)
			}
			if h != nil && h.startTicks == r.StartTicks && holds(h) && (holder == nil || holder.PID == 1 || r.StartTicks < holder.StartTicks) {
				holder = r
			}
		}
	}
	if holder == nil || holder.PID == 1 {
		r, err := s.search(newest, holds)
		switch {
		case r != nil:
			holder = r
		case holder == nil && err != nil:
			return 0, err
		}
	}
	if holder == nil {
		return 0, s.whyHidden(sockets[0])
	}
	// Those that inherited the socket are further down.
	for r, depth := holder, 0; depth < maxAncestors; depth++ {
		i, known := snapshot.byPID[r.PPID]
		if !known || r.PPID <= 1 {
			break
		}
		r = &snapshot.rows[i]
		if holds(s.upToDate(r, newest)) {
			holder = r
		}
	}
	return holder.PID, nil
}

// search returns the first process in the order of the search that holds a socket. The error
// is ErrSearching if the allowance does not suffice.
func (s *Sockets) search(newest int, holds func(*heldSockets) bool) (*row, error) {
	o := &s.order
	if o.generation < newest {
		o.next, o.generation = 0, newest
	}
	for i := o.next; i < len(o.rows); i++ {
		r := o.rows[i]
		h := s.held[r.PID]
		if h == nil || h.startTicks != r.StartTicks || h.generation < newest {
			if s.allowance <= 0 && !s.unlimited {
				return nil, ErrSearching
			}
			h = s.read(r.PID, r.StartTicks)
		}
		if holds(h) {
			return r, nil
		}
		if i == o.next && h.generation >= o.generation {
			o.next++
		}
	}
	return nil, nil
}

// upToDate returns the sockets that a process holds, up to a generation.
func (s *Sockets) upToDate(r *row, generation int) *heldSockets {
	h := s.held[r.PID]
	if h == nil || h.startTicks != r.StartTicks || h.generation < generation {
		h = s.read(r.PID, r.StartTicks)
	}
	return h
}

// sort sorts the processes for a search: those with several threads first, as a server of an
// engine has dozens, then the youngest first. Pid 1 comes last, and kernel threads hold no
// sockets. It forgets what processes that have ended held.
func (s *Sockets) sort(snapshot *snapshot) {
	if s.order.round == snapshot.round {
		return
	}
	rows := make([]*row, 0, len(snapshot.rows))
	for i := range snapshot.rows {
		if r := &snapshot.rows[i]; !r.kernel {
			rows = append(rows, r)
		}
	}
	rank := func(r *row) int {
		switch {
		case r.PID == 1:
			return 2
		case r.threads > 1:
			return 0
		}
		return 1
	}
	slices.SortFunc(rows, func(a, b *row) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.StartTicks, a.StartTicks), cmp.Compare(b.PID, a.PID))
	})
	s.order = searchOrder{round: snapshot.round, rows: rows}
	for pid, h := range s.held {
		if i, alive := snapshot.byPID[pid]; !alive || snapshot.rows[i].StartTicks != h.startTicks {
			delete(s.held, pid)
		}
	}
	for inode, pids := range s.holders {
		pids = slices.DeleteFunc(pids, func(pid int) bool { return s.held[pid] == nil })
		if s.holders[inode] = pids; len(pids) == 0 {
			delete(s.holders, inode)
		}
	}
}

// earn adds what the time since the last call has earned.
func (s *Sockets) earn() {
	now := time.Now()
	if s.wait == nil || s.wait() == 0 {
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
