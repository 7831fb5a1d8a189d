package observe

import (
	"context"
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
func sameListener(procRoot string, a, b scrape.Target) bool {
	first := listenerOf(procRoot, a)
	return first != 0 && first == listenerOf(procRoot, b)
}

// listenerOf returns the process that listens at an address of this host; 0 if it is unknown.
func listenerOf(procRoot string, t scrape.Target) (pid int) {
	port, err := strconv.Atoi(t.Port())
	if err != nil || t.Socket != "" {
		return 0
	}
	for _, ip := range localAddresses(t.URL.Hostname()) {
		if pid, err := proc.OwnerOf(procRoot, ip, port); err == nil {
			return pid
		}
	}
	return 0
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
