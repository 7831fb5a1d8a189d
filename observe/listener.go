package observe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/sampler/proc"
)

// lookupTimeout bounds the look-up of this host's own name.
const lookupTimeout = 250 * time.Millisecond

// sameListener reports whether the same process of this host listens at two addresses.
func sameListener(sockets *proc.Sockets, a, b scrape.Target) bool {
	first, err := listenerOf(sockets, a)
	if err != nil {
		return false
	}
	second, err := listenerOf(sockets, b)
	return err == nil && first == second
}

// listenerOf returns the process that listens at an address of this host. If it has to be
// looked for once more, the error wraps [proc.ErrSearching].
func listenerOf(sockets *proc.Sockets, t scrape.Target) (pid int, err error) {
	port, err := strconv.Atoi(t.Port())
	if err != nil || t.Socket != "" {
		return 0, errNoServerProcess
	}
	searching := false
	for _, ip := range localAddresses(t.URL.Hostname()) {
		if pid, err = sockets.Owner(ip, port); err == nil {
			return pid, nil
		}
		searching = searching || errors.Is(err, proc.ErrSearching)
	}
	if searching {
		return 0, proc.ErrSearching
	}
	return 0, errNoServerProcess
}

// localAddresses returns the addresses of a host if it is written as an address, as localhost
// or by this host's own name. Other names are not looked up: they would have to be resolved
// over the network.
func localAddresses(host string) []netip.Addr {
	host = strings.TrimSuffix(host, ".")
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}
	}
	if strings.EqualFold(host, "localhost") {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}
	}
	if name, err := os.Hostname(); err != nil || !strings.EqualFold(host, name) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil
	}
	return found
}
