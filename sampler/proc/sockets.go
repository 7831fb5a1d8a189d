package proc

import (
	"cmp"
	"errors"
	"fmt"
	"net"
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
//   - a table is read once for all requests within tableAge;
//   - the descriptors of a process are read again only if a socket is wanted that did not
//     listen yet when they were read, or after maxHeldAge;
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
	maxAge     time.Duration        // of a table of sockets that is shared

	gate       gate   // for the following
	namespace  string // this process's
	noDiag     bool   // sock_diag(7) cannot be used
	files      map[string]*socketFile
	generation int // readings of tables that had a new socket
	held       map[int]*heldSockets
	holders    map[uint64][]int // pids, by inode; they may have ended
	progress   progress
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
	process    Process
	inode      uint64 // of its entry in /proc; 0: not known yet
	generation int    // when its descriptors were read; later sockets may be missing
	readAt     time.Time
	inodes     map[uint64]bool
	links      int    // descriptors
	namespace  string // the network namespace of the process, if ListenersOf has read it
	err        error  // why its descriptors cannot be read
}

const (
	// tableAge is the age up to which a table of sockets is shared.
	tableAge = 40 * time.Millisecond
	// maxHeldAge is the age up to which it is taken for granted that a process holds the
	// sockets that it held.
	maxHeldAge = 30 * time.Second
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
		table: table, interfaces: net.InterfaceAddrs, wait: wait, maxAge: tableAge, gate: newGate(),
		files: map[string]*socketFile{}, held: map[int]*heldSockets{}, holders: map[uint64][]int{},
		allowance: firstAllowance, earnedAt: time.Now(),
	}
}

// Table returns the table of the processes that are searched.
func (s *Sockets) Table() *Table { return s.table }

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

func (s *Sockets) listenersOf(pid int) (found []Listener, err error) {
	root := s.table.procRoot
	var buf [4096]byte
	stat, err := readStat(root, pid, buf[:])
	if err != nil {
		return nil, fmt.Errorf("reading the descriptors of process %d: %w", pid, err)
	}
	s.ownNamespace()
	h := s.held[pid]
	if h != nil && (h.process.StartTicks != stat.startTicks || time.Since(h.readAt) > maxHeldAge) {
		h = nil
	}
	namespace := ""
	if h != nil {
		namespace = h.namespace
	}
	if namespace == "" {
		// If the link may not be read, treat the process as a namespace of its own.
		if namespace, err = os.Readlink(procPath(root, pid, "ns/net")); err != nil {
			namespace, err = strconv.Itoa(pid), nil
		}
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
	if h == nil || h.generation < newest {
		h = s.read(stat)
	}
	h.namespace = namespace
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
	if old != nil && time.Since(old.readAt) <= s.maxAge {
		return old
	}
	f := &socketFile{readAt: time.Now(), sockets: map[uint64]*netSocket{}}
	var sockets []netSocket
	sockets, f.err = s.readTable(namespace, dir, name, parse)
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

// readTable reads a table of sockets: from sock_diag(7) if it is one of TCP sockets of this
// process's own network namespace and the kernel has that, otherwise from its file.
func (s *Sockets) readTable(namespace, dir, name string, parse func([]byte, []netSocket) ([]netSocket, error)) ([]netSocket, error) {
	if name != "unix" && !s.noDiag && namespace != "" && namespace == s.namespace && isProcFS(s.table.procRoot) {
		if sockets, err := diagListeners(name == "tcp6"); err == nil {
			return sockets, nil
		}
		s.noDiag = true
	}
	return readSockets(filepath.Join(dir, name), parse)
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
// the process. A kernel thread holds none.
func (s *Sockets) read(stat stat) *heldSockets {
	h := &heldSockets{process: processOf(stat), generation: s.generation, readAt: time.Now()}
	pid := stat.pid
	s.held[pid] = h
	if stat.kernel {
		return h
	}
	dir := procPath(s.table.procRoot, pid, "fd")
	fds, err := listNames(dir)
	if err != nil {
		h.err = err
		return h
	}
	h.links = len(fds)
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
