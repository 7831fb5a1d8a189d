package proc

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
)

// netSocket is one listening socket of a table in /proc/net.
type netSocket struct {
	inode uint64
	uid   uint64     // owner; not told for unix sockets
	ip    netip.Addr // of TCP
	port  int        // of TCP
	path  string     // of a unix socket; "@name" is in the abstract namespace
}

// tcpListen is TCP_LISTEN in the column st (include/net/tcp_states.h).
const tcpListen = "0A"

// parseTCPTable appends the listening sockets of /proc/net/tcp or tcp6 to dst
// (proc_pid_net(5)): after a heading, lines of slot, local address, remote
// address, state, queues, timer, retransmits, uid, timeout, inode and more.
// Sockets in other states are skipped at the price of finding their state.
func parseTCPTable(data []byte, dst []netSocket) ([]netSocket, error) {
	first := true
	for line := range bytes.Lines(data) {
		if first {
			first = false
			continue
		}
		_, rest := NextWord(line)
		local, rest := NextWord(rest)
		_, rest = NextWord(rest)
		state, rest := NextWord(rest)
		if string(state) != tcpListen {
			continue
		}
		var word, uid []byte
		for column := 4; column <= 9; column++ {
			word, rest = NextWord(rest)
			if column == 7 {
				uid = word
			}
		}
		var s netSocket
		var ok, okInode, okUID bool
		s.ip, s.port, ok = parseHexAddrPort(local)
		s.inode, okInode = ParseNatural(word)
		s.uid, okUID = ParseNatural(uid)
		if !ok || !okInode || !okUID {
			return dst, fmt.Errorf("%q is no line of a TCP table", bytes.TrimSpace(line))
		}
		dst = append(dst, s)
	}
	return dst, nil
}

// parseHexAddrPort reads an address as the tables print it: the port in
// hexadecimal, the address as 32-bit words in hexadecimal, each as this machine's
// byte order makes a number of it (get_tcp4_sock, get_tcp6_sock).
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

// Columns of /proc/net/unix for a stream socket that listens: the flag
// __SO_ACCEPTCON and the type SOCK_STREAM (proc_pid_net(5)).
const (
	unixAcceptCon = "00010000"
	unixStream    = "0001"
)

// parseUnixTable appends the listening stream sockets of /proc/net/unix to dst:
// after a heading, lines of slot, reference count, protocol, flags, type, state,
// inode and path. Sockets without a path cannot be connected to and are skipped.
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
			column[i], rest = NextWord(rest)
		}
		if string(column[3]) != unixAcceptCon || string(column[4]) != unixStream {
			continue
		}
		inode, ok := ParseNatural(column[6])
		if !ok {
			return dst, fmt.Errorf("%q is no line of a table of unix sockets", bytes.TrimSpace(line))
		}
		// A path may hold spaces: one space stands in front of it, all else is its own.
		path := bytes.TrimPrefix(bytes.TrimSuffix(rest, []byte("\n")), []byte(" "))
		if len(path) > 0 {
			dst = append(dst, netSocket{inode: inode, path: string(path)})
		}
	}
	return dst, nil
}

// parseSocketLink reads the inode of a descriptor's link, as "socket:[12345]"
// (proc_pid_fd(5)); ok is false for what is no socket.
func parseSocketLink(link []byte) (inode uint64, ok bool) {
	rest, found := bytes.CutPrefix(link, []byte("socket:["))
	digits, closed := bytes.CutSuffix(rest, []byte("]"))
	if !found || !closed {
		return 0, false
	}
	return ParseNatural(digits)
}
