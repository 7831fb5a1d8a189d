package observe

import (
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/sampler/proc"
)

func TestSameListener(t *testing.T) {
	server := httptest.NewServer(nil)
	defer server.Close()
	port := server.URL[strings.LastIndexByte(server.URL, ':'):]
	parse := func(address string) scrape.Target {
		target, err := scrape.ParseTarget(address)
		if err != nil {
			t.Fatal(err)
		}
		return target
	}
	given := parse(server.URL)
	if pid, _ := listenerOf(socketsIn("/proc"), given); pid == 0 {
		t.Skip("SKIPPED: /proc does not show who listens here")
	}
	for _, host := range []string{"127.0.0.1", "localhost", "LOCALHOST", "[::ffff:127.0.0.1]"} {
		if !sameListener(socketsIn("/proc"), given, parse("http://"+host+port+"/metrics?x=1")) {
			t.Errorf("%s is another server", host)
		}
	}
	for _, address := range []string{"http://192.0.2.1" + port, "http://elsewhere.example" + port, "http://127.0.0.1:1"} {
		if sameListener(socketsIn("/proc"), given, parse(address)) {
			t.Errorf("%s is the same server", address)
		}
	}
	if pid, _ := listenerOf(socketsIn("/proc"), given); pid != os.Getpid() {
		t.Errorf("process %d listens, want %d", pid, os.Getpid())
	}
}

// socketsIn returns the sockets of the host with this procfs.
func socketsIn(procRoot string) *proc.Sockets {
	return proc.NewSockets(proc.NewTable(procRoot), nil)
}
