package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/procfs"

	"github.com/vobs/vobs/sampler/internal/proctest"
)

// newSockets returns sockets whose searches read whatever they need.
func newSockets(procRoot string) *Sockets {
	s := NewSockets(NewTable(procRoot), nil)
	s.allowance = math.MaxInt32
	return s
}

const (
	tcpHeading  = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	unixHeading = "Num       RefCount Protocol Flags    Type St Inode Path\n"
)

// tcpLine returns a line of a TCP table; addr is as a little-endian machine prints it.
func tcpLine(addr string, port int, state string, uid, inode int) string {
	remote := strings.Repeat("0", len(addr))
	return fmt.Sprintf("   0: %s:%04X %s:0000 %s 00000000:00000000 00:00000000 00000000  %4d        0 %d 1 00000000107f63da 100 0 0 10 0\n", addr, port, remote, state, uid, inode)
}

const (
	hexAny4      = "00000000"
	hexLoopback4 = "0100007F"
	hexTen4      = "0500000A" // 10.0.0.5
	hexAny6      = "00000000000000000000000000000000"
	hexLoopback6 = "00000000000000000000000001000000"
	hexMapped    = "0000000000000000FFFF00000100007F" // ::ffff:127.0.0.1
)

func needLittleEndian(t testing.TB) {
	if slices.Contains([]string{"s390x", "ppc64", "mips", "mips64"}, runtime.GOARCH) {
		t.Skip("SKIPPED: the fixture's addresses are those of a little-endian machine")
	}
}

func TestParseTables(t *testing.T) {
	needLittleEndian(t)
	got, err := parseTCPTable([]byte(tcpHeading+
		tcpLine(hexLoopback4, 8000, "0A", 1000, 11)+
		tcpLine(hexLoopback4, 8000, "01", 1000, 12)+ // a connection
		tcpLine(hexAny6, 80, "0A", 0, 13)), nil)
	want := []netSocket{
		{inode: 11, uid: 1000, ip: netip.MustParseAddr("127.0.0.1"), port: 8000},
		{inode: 13, ip: netip.MustParseAddr("::"), port: 80},
	}
	byAddr := cmp.Comparer(func(a, b netSocket) bool { return a == b })
	if diff := cmp.Diff(want, got, byAddr); diff != "" || err != nil {
		t.Errorf("tcp: %v (-want +got):\n%s", err, diff)
	}
	got, err = parseUnixTable([]byte(unixHeading+
		"0000000097f8deb5: 00000002 00000000 00010000 0001 01 21 /run/my server.sock\n"+
		"0000000097f8deb5: 00000002 00000000 00010000 0001 01 22 @abstract\n"+
		"0000000097f8deb5: 00000002 00000000 00010000 0001 01 23\n"+ // without a name
		"0000000097f8deb5: 00000003 00000000 00000000 0001 03 24 /run/connected\n"+
		"0000000097f8deb5: 00000002 00000000 00010000 0005 01 25 /run/seqpacket\n"), nil)
	if diff := cmp.Diff([]netSocket{{inode: 21, path: "/run/my server.sock"}, {inode: 22, path: "@abstract"}}, got, byAddr); diff != "" || err != nil {
		t.Errorf("unix: %v (-want +got):\n%s", err, diff)
	}
	for _, bad := range []string{tcpLine("0100", 1, "0A", 0, 1), tcpLine("0100007G", 1, "0A", 0, 1), "0: 0100007F:1F40 00000000:0000 0A\n"} {
		if got, err := parseTCPTable([]byte(tcpHeading+bad), nil); err == nil {
			t.Errorf("%q: got %v, want an error", bad, got)
		}
	}
}

// socketProc returns a host with a server of two processes that share a socket, in
// vobs's network namespace, and a container with a network namespace of its own, whose
// table has other inodes.
func socketProc(t *testing.T) *proctest.Proc {
	needLittleEndian(t)
	f := proctest.VLLM(t)
	f.Write("net/tcp", tcpHeading+tcpLine(hexLoopback4, 8000, "0A", 1000, 11)+tcpLine(hexAny4, 8001, "0A", 1000, 12)+tcpLine(hexTen4, 8002, "0A", 1000, 13)+tcpLine(hexAny4, 22, "0A", 0, 14))
	f.Write("net/tcp6", tcpHeading+tcpLine(hexAny6, 8003, "0A", 1000, 15)+tcpLine(hexMapped, 8004, "0A", 1000, 16)+tcpLine(hexLoopback6, 8001, "0A", 1000, 17))
	f.Write("net/unix", unixHeading+"0000000097f8deb5: 00000002 00000000 00010000 0001 01 21 /run/v.sock\n")
	for _, pid := range []int{101, 103} {
		for _, table := range []string{"tcp", "tcp6", "unix"} {
			f.Link(fmt.Sprintf("%d/net/%s", pid, table), filepath.Join(f.Root, "net", table))
		}
		f.Link(fmt.Sprintf("%d/ns/net", pid), "net:[1]")
	}
	for i, inode := range []int{11, 12, 13, 15, 16, 17, 21} {
		f.Link(fmt.Sprintf("101/fd/%d", i), fmt.Sprintf("socket:[%d]", inode))
	}
	f.Link("101/fd/20", "/dev/null")
	f.Link("103/fd/3", "socket:[11]")
	f.Link("1/fd/40", "socket:[11]") // socket activation
	f.Link("104/fd/0", "socket:[12]")
	f.Link("104/ns/net", "net:[2]")
	f.Write("104/net/tcp", tcpHeading+tcpLine(hexAny4, 9999, "0A", 0, 12))
	return f
}

func TestListenersOf(t *testing.T) {
	f := socketProc(t)
	got, err := newSockets(f.Root).ListenersOf(map[int]bool{101: true, 103: true, 104: true, 60: false, 4711: true})
	want := []Listener{
		{101, "tcp", "0.0.0.0", 8001},
		{101, "tcp", "10.0.0.5", 8002},
		{101, "tcp", "127.0.0.1", 8000},
		{101, "tcp6", "::", 8003},
		{101, "tcp6", "::1", 8001},
		{101, "tcp6", "::ffff:127.0.0.1", 8004},
		{101, "unix", "/run/v.sock", 0},
		{103, "tcp", "127.0.0.1", 8000},
		{104, "tcp", "0.0.0.0", 9999},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	f.Write("104/net/tcp", tcpHeading+"0: garbage x 0A\n")
	got, err = newSockets(f.Root).ListenersOf(map[int]bool{103: true, 104: true})
	if len(got) != 1 || err == nil || !strings.Contains(err.Error(), "process 104") {
		t.Errorf("with a malformed table: %v, %v", got, err)
	}
}

func TestOwnerOf(t *testing.T) {
	f := socketProc(t)
	interfaces := func() ([]net.Addr, error) {
		return []net.Addr{&net.IPNet{IP: net.IPv4(10, 0, 0, 5), Mask: net.CIDRMask(8, 32)}}, nil
	}
	tests := []struct {
		ip   string
		port int
		want int
		err  error
	}{
		{"127.0.0.1", 8000, 101, nil}, // neither pid 1 nor the child
		{"0.0.0.0", 8000, 101, nil},
		{"127.0.0.1", 8001, 101, nil},
		{"::1", 8001, 101, nil},
		{"127.0.0.1", 8003, 101, nil}, // :: accepts IPv4
		{"127.0.0.1", 8004, 101, nil},
		{"::ffff:127.0.0.1", 8000, 101, nil},
		{"10.0.0.5", 8001, 101, nil},
		{"10.0.0.5", 8002, 101, nil},
		{"10.0.0.6", 8001, 0, ErrNoListener}, // an address of another machine
		{"127.0.0.1", 8002, 0, ErrNoListener},
		{"::1", 8000, 0, ErrNoListener},
		{"127.0.0.1", 4711, 0, ErrNoListener},
		{"127.0.0.1", 22, 0, ErrOwnerHidden},
	}
	shared := newSockets(f.Root)
	shared.interfaces = interfaces
	for _, test := range tests {
		pid, err := shared.Owner(netip.MustParseAddr(test.ip), test.port)
		if pid != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s port %d: process %d, %v; want %d, %v", test.ip, test.port, pid, err, test.want, test.err)
		}
	}
	// A wildcard socket of the address's own family comes first.
	sockets := []*netSocket{{inode: 1, ip: netip.MustParseAddr("::"), port: 1}, {inode: 2, ip: netip.MustParseAddr("0.0.0.0"), port: 1}}
	local := func() bool { return true }
	if got := matchListeners(sockets, netip.MustParseAddr("127.0.0.1"), 1, local); len(got) != 1 || got[0].inode != 2 {
		t.Errorf("IPv4 to both wildcards: %v", got)
	}
	if got := matchListeners(sockets[1:], netip.MustParseAddr("::1"), 1, local); len(got) != 0 {
		t.Errorf("IPv6 to an IPv4 wildcard: %v", got)
	}
	if pid, err := newSockets(t.TempDir()).Owner(netip.MustParseAddr("127.0.0.1"), 1); pid != 0 || !errors.Is(err, ErrNoProc) {
		t.Errorf("without a /proc: %d, %v", pid, err)
	}
}

// A permission error differs from a process that is not there.
func TestOwnerOfDenied(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Log("root is never denied: run the tests as another user to check the permission error")
	}
	f := socketProc(t)
	if err := os.MkdirAll(filepath.Join(f.Root, "50/fd"), 0); err != nil {
		t.Fatal(err)
	}
	_, err := newSockets(f.Root).Owner(netip.MustParseAddr("127.0.0.1"), 22)
	if !errors.Is(err, ErrOwnerHidden) {
		t.Errorf("err = %v", err)
	}
	if denied := errors.Is(err, fs.ErrPermission); denied != (os.Geteuid() != 0) {
		t.Errorf("permission denied: %v, in %v", denied, err)
	}
}

// The readers find real sockets of this process, and agree with procfs on the table.
func TestSocketsReal(t *testing.T) {
	proctest.NeedProc(t)
	var addrs []Listener
	listen := func(network, addr string) net.Listener {
		l, err := net.Listen(network, addr)
		if err != nil {
			t.Logf("cannot listen on %s %s: %v", network, addr, err)
			return nil
		}
		t.Cleanup(func() { l.Close() })
		want := Listener{PID: os.Getpid(), Network: network, Addr: addr}
		if a, ok := l.Addr().(*net.TCPAddr); ok {
			want.Addr, want.Port = a.IP.String(), a.Port
		}
		addrs = append(addrs, want)
		return l
	}
	if listen("tcp", "127.0.0.1:0") == nil {
		t.Fatal("cannot listen on the loopback interface")
	}
	if l := listen("tcp", "[::1]:0"); l != nil {
		addrs[len(addrs)-1].Network = "tcp6"
	}
	listen("unix", filepath.Join(t.TempDir(), "v.sock"))
	got, err := newSockets("/proc").ListenersOf(map[int]bool{os.Getpid(): true})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range addrs {
		if !slices.Contains(got, want) {
			t.Errorf("%v is not among %v", want, got)
		}
		if want.Network == "unix" {
			continue
		}
		pid, err := newSockets("/proc").Owner(netip.MustParseAddr(want.Addr), want.Port)
		if pid != os.Getpid() || err != nil {
			t.Errorf("OwnerOf(%s, %d) = %d, %v; want %d", want.Addr, want.Port, pid, err, os.Getpid())
		}
	}

	ref, err := procfs.NewFS("/proc")
	if err != nil {
		t.Fatal(err)
	}
	//lint:ignore SA1019 its replacement, netlink, would not read the same table
	table, err := ref.NetTCP()
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := readSockets("/proc/self/net/tcp", parseTCPTable)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, s := range table {
		if s.St != 0x0a || s.LocalPort != uint64(addrs[0].Port) {
			continue
		}
		found = true
		i := slices.IndexFunc(sockets, func(got netSocket) bool { return got.inode == s.Inode })
		if i < 0 || sockets[i].ip.String() != s.LocalAddr.String() || sockets[i].port != int(s.LocalPort) {
			t.Errorf("socket %d: got %v, procfs has %v", s.Inode, sockets, s)
		}
	}
	if !found {
		t.Error("procfs does not list the listening socket")
	}
}

// A child that inherits its parent's socket is not the owner while the parent holds it.
func TestOwnerOfShared(t *testing.T) {
	proctest.NeedProc(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	sh := proctest.StartTreeWith(t, "echo; read x", file)
	sh.Line(t)
	port := l.Addr().(*net.TCPAddr).Port
	both, err := newSockets("/proc").ListenersOf(map[int]bool{os.Getpid(): true, sh.Cmd.Process.Pid: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{os.Getpid(), sh.Cmd.Process.Pid} {
		if want := (Listener{pid, "tcp", "127.0.0.1", port}); !slices.Contains(both, want) {
			t.Errorf("%v is not among %v", want, both)
		}
	}
	if pid, err := newSockets("/proc").Owner(netip.MustParseAddr("127.0.0.1"), port); pid != os.Getpid() || err != nil {
		t.Errorf("OwnerOf = %d, %v; want %d", pid, err, os.Getpid())
	}
	l.Close()
	file.Close()
	if pid, err := newSockets("/proc").Owner(netip.MustParseAddr("127.0.0.1"), port); pid != sh.Cmd.Process.Pid || err != nil {
		t.Errorf("after the parent closed the socket: OwnerOf = %d, %v; want %d", pid, err, sh.Cmd.Process.Pid)
	}
	sh.End()
	if _, err := newSockets("/proc").Owner(netip.MustParseAddr("127.0.0.1"), port); !errors.Is(err, ErrNoListener) {
		t.Errorf("after every process closed the socket: %v", err)
	}
}

func FuzzParseTCPTable(f *testing.F) {
	f.Add([]byte(tcpHeading + tcpLine(hexLoopback4, 8000, "0A", 1000, 11) + tcpLine(hexLoopback6, 80, "0A", 0, 13)))
	f.Fuzz(func(t *testing.T, data []byte) {
		sockets, _ := parseTCPTable(data, nil)
		for _, s := range sockets {
			if !s.ip.IsValid() || s.port < 0 || s.port > 65535 || s.path != "" {
				t.Errorf("%q: %+v", data, s)
			}
		}
	})
}

func FuzzParseUnixTable(f *testing.F) {
	f.Add([]byte(unixHeading + "0000000097f8deb5: 00000002 00000000 00010000 0001 01 21 /run/my server.sock\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		sockets, _ := parseUnixTable(data, nil)
		for _, s := range sockets {
			if s.path == "" || s.ip.IsValid() || !strings.Contains(string(data), s.path) {
				t.Errorf("%q: %+v", data, s)
			}
		}
	})
}

func FuzzParseSocketLink(f *testing.F) {
	f.Add([]byte("socket:[12345]"))
	f.Add([]byte("/dev/null"))
	f.Fuzz(func(t *testing.T, data []byte) {
		inode, ok := parseSocketLink(data)
		// Leading zeros apart, a link is its inode and nothing else.
		if ok && strings.TrimLeft(string(data[8:len(data)-1]), "0") != strings.TrimLeft(fmt.Sprint(inode), "0") {
			t.Errorf("%q: %d", data, inode)
		}
	})
}
