package proc

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
)

// netSocket is one listening socket in a table below /proc/net.
type netSocket struct {
	inode uint64
	uid   uint64     // owner; 0 for unix sockets, whose table lacks it
	ip    netip.Addr // TCP only
	port  int        // TCP only
	path  string     // unix only; "@name" is in the abstract namespace
	// generation is that of Sockets when it was first seen; the parsers leave it 0.
	generation int
}

// tcpListen is TCP_LISTEN (include/net/tcp_states.h) in the column st.
const tcpListen = "0A"

// parseTCPTable appends the listening sockets of /proc/net/tcp or tcp6 to dst
// (proc_pid_net(5)): after a heading, lines of slot, local address, remote
// address, state, queues, timer, retransmits, uid, timeout, inode and more. Lines of
// sockets in other states are parsed only as far as the state.
func parseTCPTable(data []byte, dst []netSocket) ([]netSocket, error) {
	first := true
	for line := range bytes.Lines(data) {
		if first {
			first = false
			continue
		}
		_, rest := NextField(line)
		local, rest := NextField(rest)
		_, rest = NextField(rest)
		state, rest := NextField(rest)
		if string(state) != tcpListen {
			continue
		}
		var field, uid []byte
		for column := 4; column <= 9; column++ {
			field, rest = NextField(rest)
			if column == 7 {
				uid = field
			}
		}
		var s netSocket
		var ok, okInode, okUID bool
		s.ip, s.port, ok = parseHexAddrPort(local)
		s.inode, okInode = ParseUint(field)
		s.uid, okUID = ParseUint(uid)
		if !ok || !okInode || !okUID {
			return dst, fmt.Errorf("%q is not a line of a TCP table", bytes.TrimSpace(line))
		}
		dst = append(dst, s)
	}
	return dst, nil
}

// parseHexAddrPort parses an address as the tables print it: the port in
// hexadecimal, the address as 32-bit words in hexadecimal, each in this machine's
// byte order (get_tcp4_sock, get_tcp6_sock).
func parseHexAddrPort(b []byte) (ip netip.Addr, port int, ok bool) {
	addr, portHex, found := bytes.Cut(b, []byte(":"))
	var raw [16]byte
	var p [2]byte
	if !found || (len(addr) != 8 && len(addr) != 32) || len(portHex) != 4 {
		return ip, 0, false
	}
	if _, err := hex.Decode(raw[:], addr); err != nil {
		return ip, 0, false
	}
	if _, err := hex.Decode(p[:], portHex); err != nil {
		return ip, 0, false
	}
	n := len(addr) / 2
	for i := 0; i < n; i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	ip, ok = netip.AddrFromSlice(raw[:n])
	return ip, int(binary.BigEndian.Uint16(p[:])), ok
}

// Values in /proc/net/unix for a listening stream socket: the flag __SO_ACCEPTCON
// and the type SOCK_STREAM (proc_pid_net(5)).
const (
	unixAcceptCon = "00010000"
	unixStream    = "0001"
)

// parseUnixTable appends the listening stream sockets of /proc/net/unix to dst:
// after a heading, lines of slot, reference count, protocol, flags, type, state,
// inode and path. Sockets without a path are skipped: nothing can connect to them.
func parseUnixTable(data []byte, dst []netSocket) ([]netSocket, error) {
	first := true
	for line := range bytes.Lines(data) {
		if first {
			first = false
			continue
		}
		var column [7][]byte
		rest := line
		for i := range column {
			column[i], rest = NextField(rest)
		}
		if string(column[3]) != unixAcceptCon || string(column[4]) != unixStream {
			continue
		}
		inode, ok := ParseUint(column[6])
		if !ok {
			return dst, fmt.Errorf("%q is not a line of a table of unix sockets", bytes.TrimSpace(line))
		}
		// A path may contain spaces: only the first one is the separator.
		path := bytes.TrimPrefix(bytes.TrimSuffix(rest, []byte("\n")), []byte(" "))
		if len(path) > 0 {
			dst = append(dst, netSocket{inode: inode, path: string(path)})
		}
	}
	return dst, nil
}

// parseSocketLink returns the inode in a descriptor's link, such as "socket:[12345]"
// (proc_pid_fd(5)); ok is false if the descriptor is not a socket.
func parseSocketLink(link []byte) (inode uint64, ok bool) {
	rest, found := bytes.CutPrefix(link, []byte("socket:["))
	digits, closed := bytes.CutSuffix(rest, []byte("]"))
	if !found || !closed {
		return 0, false
	}
	return ParseUint(digits)
}
