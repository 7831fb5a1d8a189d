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

// Errors of [OwnerOf].
var (
	// ErrNoListener means that nothing listens on the address.
	ErrNoListener = errors.New("nothing listens there")
	// ErrOwnerHidden means that something listens, but no process that vobs may
	// inspect holds the socket: it belongs to another user (the error is then an
	// fs.ErrPermission too), or is in another pid namespace.
	ErrOwnerHidden = errors.New("the listening process is not visible")
)

// socketTables are the tables below /proc/net and their parsers.
var socketTables = [...]struct {
	name  string
	parse func([]byte, []netSocket) ([]netSocket, error)
}{{"tcp", parseTCPTable}, {"tcp6", parseTCPTable}, {"unix", parseUnixTable}}

// ListenersOf returns the sockets on which the given processes listen (those whose
// value in pids is true): TCP over IPv4 and IPv6, and unix stream sockets. Each
// process's descriptors are matched with the tables of its own network namespace. A
// process that has ended is left out. If some processes may not be inspected, it
// returns the sockets of the others and an error. The result is sorted by process,
// network, address and port.
func ListenersOf(procRoot string, pids map[int]bool) ([]Listener, error) {
	var found []Listener
	var errs []error
	tables := make(map[string]map[uint64]Listener) // by network namespace
	for _, pid := range slices.Sorted(trueKeys(pids)) {
		inodes, err := socketInodes(procRoot, pid)
		if err != nil && !gone(err) {
			errs = append(errs, fmt.Errorf("reading the descriptors of process %d: %w", pid, err))
		}
		if len(inodes) == 0 {
			continue
		}
		// If the link may not be read, treat the process as a namespace of its own.
		namespace, err := os.Readlink(procPath(procRoot, pid, "ns/net"))
		if err != nil {
			namespace = strconv.Itoa(pid)
		}
		table, known := tables[namespace]
		if !known {
			table, err = listeningSockets(filepath.Join(procRoot, strconv.Itoa(pid), "net"))
			if err != nil && !gone(err) {
				errs = append(errs, fmt.Errorf("reading the sockets of process %d: %w", pid, err))
			}
			if err == nil { // a process that ended halfway must not hide the others' tables
				tables[namespace] = table
			}
		}
		for inode := range inodes {
			if l, listening := table[inode]; listening {
				l.PID = pid
				found = append(found, l)
			}
		}
	}
	slices.SortFunc(found, func(a, b Listener) int {
		return cmp.Or(cmp.Compare(a.PID, b.PID), cmp.Compare(a.Network, b.Network),
			cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.Port, b.Port))
	})
	return found, errors.Join(errs...)
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

// listeningSockets reads the tables of one network namespace and returns the sockets
// by inode. A table that the kernel lacks (no IPv6) counts as empty.
func listeningSockets(netDir string) (map[uint64]Listener, error) {
	byInode := make(map[uint64]Listener)
	missing := 0
	var lastErr error
	for _, table := range socketTables {
		sockets, err := readSockets(filepath.Join(netDir, table.name), table.parse)
		if gone(err) {
			missing, lastErr = missing+1, err
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, s := range sockets {
			l := Listener{Network: table.name, Addr: s.path, Port: s.port}
			if s.ip.IsValid() {
				l.Addr = s.ip.String()
			}
			byInode[s.inode] = l
		}
	}
	if missing == len(socketTables) {
		return nil, lastErr
	}
	return byInode, nil
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

// socketInodes returns the inodes of the sockets that a process holds open. It needs
// the right to trace the process.
func socketInodes(procRoot string, pid int) (map[uint64]bool, error) {
	dir := procPath(procRoot, pid, "fd")
	fds, err := listNames(dir)
	if err != nil {
		return nil, err
	}
	var inodes map[uint64]bool
	var buf [128]byte
	for _, name := range fds {
		n, err := unix.Readlink(filepath.Join(dir, name), buf[:])
		if err != nil {
			continue // closed in the meantime
		}
		if inode, ok := parseSocketLink(buf[:n]); ok {
			if inodes == nil {
				inodes = make(map[uint64]bool)
			}
			inodes[inode] = true
		}
	}
	return inodes, nil
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

// OwnerOf returns the process that listens on a local TCP address in vobs's own
// network namespace. It prefers a socket bound to exactly this address to one bound
// to 0.0.0.0 or ::, which matches addresses of this machine only. An unspecified ip
// stands for the loopback addresses, as it does in dialing.
//
// If several processes hold the socket, OwnerOf returns the one that started first:
// it opened the socket and the others inherited it. Pid 1 comes last: with socket
// activation it keeps sockets open that others serve.
//
// The error is ErrNoListener if nothing listens, and ErrOwnerHidden if the listening
// process is not visible. If a proxy (docker-proxy, a port forwarder) stands in front
// of the server, OwnerOf returns the proxy.
//
// It reads the descriptors of all processes of the host, some 10 ms on a large one:
// call it occasionally, not periodically.
func OwnerOf(procRoot string, ip netip.Addr, port int) (pid int, err error) {
	return ownerOf(procRoot, ip, port, net.InterfaceAddrs)
}

func ownerOf(procRoot string, ip netip.Addr, port int, interfaces func() ([]net.Addr, error)) (int, error) {
	where := net.JoinHostPort(ip.String(), strconv.Itoa(port))
	ip = ip.Unmap().WithZone("")
	var sockets []netSocket
	for _, table := range socketTables[:2] {
		found, err := readSockets(filepath.Join(procRoot, "net", table.name), table.parse)
		if err != nil && !gone(err) {
			return 0, fmt.Errorf("find the process that listens on %s: %w", where, err)
		}
		if gone(err) && table.name == "tcp" {
			return 0, fmt.Errorf("find the process that listens on %s: %w (%w)", where, ErrNoProc, err)
		}
		sockets = append(sockets, found...)
	}
	matches := matchListeners(sockets, ip, port, func() bool { return isLocal(ip, interfaces) })
	if len(matches) == 0 {
		return 0, fmt.Errorf("find the process that listens on %s: %w", where, ErrNoListener)
	}
	pid, denied, err := holderOf(procRoot, matches)
	if err != nil {
		return 0, fmt.Errorf("find the process that listens on %s: %w", where, err)
	}
	if pid != 0 {
		return pid, nil
	}
	if denied {
		return 0, fmt.Errorf("find the process that listens on %s: %w: the socket belongs to user %d, whose processes this user may not inspect (%w)",
			where, ErrOwnerHidden, matches[0].uid, fs.ErrPermission)
	}
	return 0, fmt.Errorf("find the process that listens on %s: %w: no process in this pid namespace holds the socket", where, ErrOwnerHidden)
}

// matchListeners returns the sockets that a connection to an address would reach:
// those bound to it, otherwise those bound to all addresses. There are several if
// they share the port (SO_REUSEPORT). local reports whether the address is one of
// this machine; it is called only if that matters.
func matchListeners(sockets []netSocket, ip netip.Addr, port int, local func() bool) []netSocket {
	var exact, wildcard []netSocket
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
		var sameFamily []netSocket
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

// holderOf returns the process that holds one of the sockets, or 0 if none is
// visible. denied reports whether some process may not be inspected.
func holderOf(procRoot string, sockets []netSocket) (pid int, denied bool, err error) {
	pids, err := listPIDs(procRoot, nil)
	if err != nil {
		return 0, false, fmt.Errorf("list the processes in %s: %w", procRoot, err)
	}
	var buf [4096]byte
	var holders []Process
	for _, p := range pids {
		inodes, err := socketInodes(procRoot, p)
		if err != nil {
			denied = denied || errors.Is(err, fs.ErrPermission)
			continue
		}
		if !slices.ContainsFunc(sockets, func(s netSocket) bool { return inodes[s.inode] }) {
			continue
		}
		if stat, err := readStat(procRoot, p, buf[:]); err == nil {
			holders = append(holders, processOf(stat))
		}
	}
	if len(holders) == 0 {
		return 0, denied, nil
	}
	sortProcesses(holders)
	if holders[0].PID == 1 && len(holders) > 1 {
		return holders[1].PID, denied, nil
	}
	return holders[0].PID, denied, nil
}
