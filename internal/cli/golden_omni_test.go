package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// A whole event of a vllm-omni server, whose pages testdata/omni/make.py wrote.
func TestGoldenOmni(t *testing.T) {
	t.Parallel()
	page := func(when string) string {
		body, err := os.ReadFile(filepath.Join("..", "..", "testdata", "omni", "now_"+when+".prom"))
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	retryIfSlow(t, func(t *testing.T) *controlledRun {
		s := newPageServer(t, page("pre"))
		address := s.listen()
		r := startControlled(t, []string{"--label", "case=golden", "--scrape-interval", "20ms", "--metrics-url", address}, []string{"sh", "-c", waitForLine})
		s.set(page("mid"))
		s.await("enough polls to resolve the active time", func() bool { return s.polls >= 60 })
		s.set(page("post"))
		r.finish()
		if late := r.doubt("late_base") + r.doubt("short_window"); late != "" {
			r.slow = late
			return r
		}
		golden(t, "omni.json", bytes.ReplaceAll(r.raw, []byte(address), []byte("http://127.0.0.1:8000")))
		return r
	})
}
