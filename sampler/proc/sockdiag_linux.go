package proc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Values of include/uapi/linux/sock_diag.h and inet_diag.h.
const (
	sockDiagByFamily = 20 // SOCK_DIAG_BY_FAMILY
	// A request is struct inet_diag_req_v2: family, protocol, extensions and padding (1 byte
	// each), a mask of states (4), struct inet_diag_sockid (48, unused in a dump).
	inetDiagRequest = 56
	// A response is struct inet_diag_msg: family, state, timer, retransmits (1 byte each),
	// struct inet_diag_sockid (source port, destination port, source address (16), …), then
	// expires, rqueue, wqueue, uid and inode (4 each).
	inetDiagMessage                      = 72
	inetDiagSourcePort, inetDiagSource   = 4, 8
	inetDiagUID, inetDiagInode           = 64, 68
	stateListen                          = 10 // TCP_LISTEN
	netlinkHeader, netlinkErrorPlusErrno = unix.SizeofNlMsghdr, unix.SizeofNlMsghdr + 4
)

// errNoSockDiag means that the kernel does not list sockets over netlink.
var errNoSockDiag = errors.New("no response to sock_diag(7)")

// diagListeners returns the listening TCP sockets of vobs's own network namespace, of IPv4 or
// IPv6, from sock_diag(7). The tables in /proc/net have them too, but to write one, the kernel
// goes through all slots for connections, some hundred thousand: several ms.
func diagListeners(ipv6 bool) ([]netSocket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	defer unix.Close(fd)
	// The kernel responds within the calls; something that only imitates it may not.
	timeout := unix.Timeval{Usec: 200_000}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	request := make([]byte, netlinkHeader+inetDiagRequest)
	binary.NativeEndian.PutUint32(request, uint32(len(request)))
	binary.NativeEndian.PutUint16(request[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	body := request[netlinkHeader:]
	body[0], body[1] = unix.AF_INET, unix.IPPROTO_TCP
	if ipv6 {
		body[0] = unix.AF_INET6
	}
	binary.NativeEndian.PutUint32(body[4:], 1<<stateListen)
	if err := unix.Sendto(fd, request, unix.MSG_DONTWAIT, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	var sockets []netSocket
	buf := make([]byte, 32<<10) // the kernel fills at most that much at a time
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("sock_diag: %w", err)
		}
		var done bool
		if sockets, done, err = parseSockDiag(buf[:n], sockets); err != nil || done {
			return sockets, err
		}
	}
}

// parseSockDiag appends the listening sockets in netlink messages to dst. done is true after
// the last one.
func parseSockDiag(b []byte, dst []netSocket) (sockets []netSocket, done bool, err error) {
	for len(b) >= netlinkHeader {
		size, kind := int(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint16(b[4:])
		if size < netlinkHeader || size > len(b) {
			return nil, false, errNoSockDiag
		}
		message := b[netlinkHeader:size]
		switch kind {
		case unix.NLMSG_DONE:
			return dst, true, nil
		case unix.NLMSG_ERROR:
			if size >= netlinkErrorPlusErrno {
				if errno := int32(binary.NativeEndian.Uint32(message)); errno < 0 {
					return nil, false, fmt.Errorf("sock_diag: %w", unix.Errno(-errno))
				}
			}
			return nil, false, errNoSockDiag
		case sockDiagByFamily:
			if len(message) < inetDiagMessage {
				return nil, false, errNoSockDiag
			}
			if message[1] != stateListen {
				break
			}
			length := 4
			if message[0] == unix.AF_INET6 {
				length = 16
			}
			ip, _ := netip.AddrFromSlice(message[inetDiagSource : inetDiagSource+length])
			dst = append(dst, netSocket{
				ip:    ip,
				port:  int(binary.BigEndian.Uint16(message[inetDiagSourcePort:])),
				uid:   uint64(binary.NativeEndian.Uint32(message[inetDiagUID:])),
				inode: uint64(binary.NativeEndian.Uint32(message[inetDiagInode:])),
			})
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return dst, false, nil
}
