package cli

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// offloadServer serves the pages of a scenario of testdata/offload: the first one once, before
// the command; the second one while it runs, four times; then the last one, and it makes the
// command end.
type offloadServer struct {
	t      *testing.T
	end    string // the FIFO that the command reads
	mu     sync.Mutex
	served int
	ended  sync.WaitGroup
}

func (o *offloadServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/metrics" && r.URL.Path != "/metrics/" {
		http.NotFound(w, r)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.served++
	page := "post"
	switch {
	case o.served == 1:
		page = "pre"
	case o.served < 6:
		page = "mid"
	case o.served == 6:
		o.ended.Go(func() {
			f, err := os.OpenFile(o.end, os.O_WRONLY, 0) // blocks until the command reads
			if err != nil {
				o.t.Error(err)
				return
			}
			f.Close()
		})
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "testdata", "offload", "tiers_"+page+".prom"))
	if err != nil {
		o.t.Error(err)
	}
	_, _ = w.Write(text)
}

// A whole event with KV offloading in tiers.
func TestGoldenOffload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := &offloadServer{t: t, end: filepath.Join(dir, "end")}
	if err := syscall.Mkfifo(server.end, 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(dir, "s.sock"))
	if err != nil {
		t.Fatal(err)
	}
	h := &http.Server{Handler: server}
	go func() { _ = h.Serve(listener) }()
	event := runVobs(t, dir, []string{"LD_LIBRARY_PATH=" + brokenNVML(t)},
		"run", "--metrics-url", "unix://s.sock", "--scrape-interval", "20ms", "--label", "case=golden", "--", "cat", "end")
	server.ended.Wait()
	_ = h.Close()
	golden(t, "offload.json", event)
}
