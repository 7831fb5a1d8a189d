package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vobs/vobs/internal/wandb/run"
	"github.com/vobs/vobs/internal/wandb/wandbtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that only sleep advances.
type clock struct {
	mu    sync.Mutex
	t     time.Time
	slept []time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slept = append(c.slept, d)
	c.t = c.t.Add(d)
	return ctx.Err()
}

func (c *clock) waits() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.slept
}

var (
	began = time.Date(2026, 11, 22, 10, 0, 0, 250_000_000, time.UTC)
	ended = began.Add(90 * time.Second)
)

// bench is a server, a client of it and the client's clock.
type bench struct {
	*Client
	backend *wandbtest.Backend
	clock   *clock
	server  *httptest.Server
}

func newBench(t *testing.T) *bench {
	t.Helper()
	backend := wandbtest.New()
	server := httptest.NewServer(backend)
	t.Cleanup(server.Close)
	b := &bench{backend: backend, clock: &clock{t: ended.Add(time.Second)}, server: server}
	b.Client = b.client(t)
	return b
}

// client returns another client of the same server.
func (b *bench) client(t *testing.T) *Client {
	c := &Client{
		BaseURL: b.server.URL, Auth: APIKey(wandbtest.Key), UserAgent: "vobs/test",
		Now: b.clock.now, Sleep: b.clock.sleep, Jitter: func() float64 { return 0 },
	}
	t.Cleanup(c.Close)
	return c
}

// event returns a run as vobs makes it from an event.
func event() run.Run {
	return run.Run{
		ID: "vobs-1", Project: "p", Group: "g", JobType: "gen", Name: "a name", Notes: "of <it> & more", Tags: []string{"x", "y"}, Host: "box",
		Config: []run.Item{item("command", `["sh","-c","a <b> & c"]`), item("gpu", `{"count":1}`)},
		Rows: []run.Row{
			{Time: began.Add(30 * time.Second), Items: []run.Item{item("vobs/gpu0/used_bytes", "1024")}},
			{Time: ended, Items: []run.Item{item("vllm_gen/peak_vram_gb", "64.5"), item("vllm_gen/flag_did_not_engage", "false")}},
		},
		Summary:   []run.Item{item("vllm_gen/peak_vram_gb", "64.5"), item("vllm_gen/flag_did_not_engage", "false")},
		Files:     []run.File{{Name: "vobs-event.json", Content: []byte("{\"a\":1}\n")}},
		StartTime: began, Duration: 90 * time.Second, ExitCode: 3, Writer: "vobs 1.2.3",
	}
}

func item(key, text string) run.Item {
	return run.Item{Key: key, JSON: json.RawMessage(text)}
}

// noSecrets fails the test if the text contains a secret, or half of one.
func noSecrets(t *testing.T, text string, more ...string) {
	t.Helper()
	for _, secret := range append(more, wandbtest.Key, base64.StdEncoding.EncodeToString([]byte("api:"+wandbtest.Key)), "s3cr3t") {
		if strings.Contains(text, secret) || len(secret) > 20 && strings.Contains(text, secret[:len(secret)/2]) {
			t.Errorf("a secret shows: %q", text)
		}
	}
}

// want fails the test if got is not what is wanted.
func want[T comparable](t *testing.T, what string, got, wanted T) {
	t.Helper()
	if got != wanted {
		t.Errorf("%s: got %v, want %v", what, got, wanted)
	}
}
