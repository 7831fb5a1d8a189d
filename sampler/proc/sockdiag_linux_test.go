package proc

import (
	"cmp"
	"net"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/sampler/internal/proctest"
)

// What sock_diag lists is what the tables in /proc/net have.
func TestDiagListeners(t *testing.T) {
	proctest.NeedProc(t)
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Logf("cannot listen on %s: %v", address, err)
			continue
		}
		defer l.Close()
	}
	for i, table := range socketTables[:2] {
		agreed := false
		var got, want []netSocket
		for range 10 { // other processes open and close sockets meanwhile
			var err error
			if got, err = diagListeners(i == 1); err != nil {
				t.Skipf("SKIPPED: %v: the kernel has no sock_diag (CONFIG_INET_DIAG)", err)
			}
			if want, err = readSockets("/proc/net/"+table.name, table.parse); err != nil {
				t.Fatal(err)
			}
			byInode := func(a, b netSocket) int { return cmp.Compare(a.inode, b.inode) }
			slices.SortFunc(got, byInode)
			slices.SortFunc(want, byInode)
			if agreed = slices.Equal(got, want); agreed {
				break
			}
		}
		if !agreed || len(got) == 0 && i == 0 {
			t.Errorf("%s (-want +got):\n%s", table.name, gocmp.Diff(want, got, gocmp.Comparer(func(a, b netSocket) bool { return a == b })))
		}
	}
}

func FuzzParseSockDiag(f *testing.F) {
	f.Add(make([]byte, 100))
	f.Fuzz(func(t *testing.T, data []byte) {
		sockets, _, _ := parseSockDiag(data, nil)
		for _, s := range sockets {
			if !s.ip.IsValid() || s.port < 0 || s.port > 65535 {
				t.Errorf("%q: %+v", data, s)
			}
		}
	})
}
