package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vobs/vobs/internal/demo"
)

// engineMain is `vllm serve MODEL`: the simulated engine behind vLLM's command line. It
// generates when a client asks it to, so that a script knows what was served, and when.
func engineMain(args []string) int {
	err := serve(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "vllm:", err)
		return 1
	}
	return 0
}

func serve(args []string) error {
	if len(args) < 2 || args[0] != "serve" {
		return errors.New("usage: vllm serve MODEL [flags]")
	}
	cfg := demo.Config{Model: args[1], Speculative: true, Log: os.Stderr, DevMode: os.Getenv("VLLM_SERVER_DEV_MODE") == "1"}
	f := flag.NewFlagSet("vllm serve", flag.ContinueOnError)
	host := f.String("host", "127.0.0.1", "")
	port := f.String("port", "0", "")
	socket := f.String("uds", "", "")
	ready := f.String("ready", "", "file that gets the address once it is served")
	coreFile := f.String("core", "", "file that gets the id of a process that stands for the engine's core; none without")
	f.StringVar(&cfg.MemoryFile, "memory-file", "", "")
	f.DurationVar(&cfg.Duration, "duration", time.Second, "")
	f.IntVar(&cfg.Engines, "data-parallel-size", 1, "")
	silent := f.Bool("disable-log-stats", false, "")
	if err := f.Parse(args[2:]); err != nil {
		return err
	}
	e, err := demo.New(cfg)
	if err != nil {
		return err
	}
	defer e.Close()
	network, address := "tcp", net.JoinHostPort(*host, *port)
	if *socket != "" {
		network, address = "unix", *socket
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	core, err := startCore(*coreFile)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: core.health(controlled(ctx, e, *silent))}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	url := "http://" + l.Addr().String()
	if *socket != "" {
		url = "unix://" + *socket
	}
	if err := writeWhole(*ready, url); err != nil {
		return err
	}
	select {
	case <-ctx.Done(): // as in vLLM, TERM is an orderly end
		fmt.Fprintln(os.Stderr, "vllm: ending:", context.Cause(ctx))
		return errors.Join(core.end(), e.Close(), server.Close())
	case <-core.died: // as in vLLM, it ends with exit code 0
		core.waitUntilNoticed()
		fmt.Fprintln(os.Stderr, "vllm: the core has died: ending")
		return errors.Join(e.Close(), server.Close())
	case err := <-served:
		return err
	}
}

// controlled adds endpoints for tests to those of vLLM. If silent is set, /metrics has none of
// vLLM's samples, and is requested so rarely that any earlier request counts as the next one.
func controlled(ctx context.Context, e *demo.Engine, silent bool) http.Handler {
	var mu sync.Mutex
	scraped := make(chan struct{}) // closed at the next response with a whole page
	engine := e.Handler()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if silent && strings.HasPrefix(r.URL.Path, "/metrics") {
			_, _ = io.WriteString(w, "# TYPE process_open_fds gauge\nprocess_open_fds 7.0\n")
		} else {
			engine.ServeHTTP(w, r)
		}
		if strings.HasPrefix(r.URL.Path, "/metrics") && r.URL.RawQuery == "" {
			mu.Lock()
			defer mu.Unlock()
			select {
			case <-scraped: // silent
				return
			default:
				close(scraped)
			}
			if !silent {
				scraped = make(chan struct{})
			}
		}
	})
	// One generation phase; the response is what its client would have counted.
	mux.HandleFunc("/test/generate", func(w http.ResponseWriter, r *http.Request) {
		before := e.Totals()
		if err := e.Generate(ctx); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(difference(before, e.Totals()))
	})
	// The response comes after the next request for a whole metrics page.
	mux.HandleFunc("/test/scraped", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		next := scraped
		mu.Unlock()
		select {
		case <-next:
		case <-ctx.Done():
		case <-r.Context().Done():
		}
	})
	return mux
}

// difference returns what was served between a and b.
func difference(a, b demo.Totals) demo.Totals {
	d := b
	d.Finished = map[string]int{}
	for reason, n := range b.Finished {
		d.Finished[reason] = n - a.Finished[reason]
	}
	d.Requests -= a.Requests
	d.PromptTokens -= a.PromptTokens
	d.ComputedTokens -= a.ComputedTokens
	d.CachedTokens -= a.CachedTokens
	d.GenerationTokens -= a.GenerationTokens
	d.QueriedTokens -= a.QueriedTokens
	d.HitTokens -= a.HitTokens
	d.Preemptions -= a.Preemptions
	d.Drafts -= a.Drafts
	d.DraftTokens -= a.DraftTokens
	d.AcceptedTokens -= a.AcceptedTokens
	d.TTFTSeconds -= a.TTFTSeconds
	d.E2ESeconds -= a.E2ESeconds
	d.QueueSeconds -= a.QueueSeconds
	d.PrefillSeconds -= a.PrefillSeconds
	d.DecodeSeconds -= a.DecodeSeconds
	d.Steps -= a.Steps
	return d
}

// clientMain is `client [flags] URL | client -ready FILE`: it makes the engine generate once,
// and writes what was served.
func clientMain(args []string) int {
	err := ask(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		return 1
	}
	return 0
}

func ask(args []string) error {
	f := flag.NewFlagSet("client", flag.ContinueOnError)
	ready := f.String("ready", "", "file that holds the engine's address, sooner or later")
	totals := f.String("totals", "", "file that gets what was served, as JSON")
	scraped := f.Bool("scraped", false, "in the end, wait until somebody has read the whole metrics page")
	sampled := f.Bool("sampled", false, "in the end, wait until the gauges of the GPU were read several times")
	if err := f.Parse(args); err != nil {
		return err
	}
	address := f.Arg(0)
	if *ready != "" {
		text, err := waitForFile(*ready)
		if err != nil {
			return err
		}
		address = string(text)
	}
	client := &http.Client{}
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		client.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}}
		address = "http://localhost"
	}
	counted, err := post(client, address+"/test/generate")
	if err != nil {
		return err
	}
	if *totals != "" {
		if err := writeWhole(*totals, string(counted)); err != nil {
			return err
		}
	}
	if *scraped {
		if _, err = post(client, address+"/test/scraped"); err != nil {
			return err
		}
	}
	if *sampled && untilSampledMain(nil) != 0 {
		return errors.New("the GPU was not sampled")
	}
	return nil
}

func post(client *http.Client, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), samplingPatience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, &bytes.Buffer{})
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, body)
	}
	return body, err
}

// writeWhole creates a file atomically; "" is no file.
func writeWhole(path, text string) error {
	if path == "" {
		return nil
	}
	part := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	if err := os.WriteFile(part, []byte(text), 0o666); err != nil {
		return err
	}
	return os.Rename(part, path)
}

func waitForFile(path string) ([]byte, error) {
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(path)
		if err == nil || !errors.Is(err, os.ErrNotExist) || time.Now().After(deadline) {
			return text, err
		}
	}
}
