package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// Run is the whole life of a server: it loads (Startup), listens, serves one generation
// phase (Duration), stays up for a while (Linger) and exits. If ctx ends earlier, it
// closes everything at once and returns ctx's error.
func Run(ctx context.Context, cfg Config) (err error) {
	cfg.fill()
	if err := cfg.check(); err != nil {
		return err
	}
	memory, err := openMemory(&cfg)
	if err != nil {
		return err
	}
	logf(cfg.Log, "nothing here is real: no model, no GPU, a simulated scheduler")
	if err := load(ctx, &cfg, memory); err != nil {
		return errors.Join(err, memory.close())
	}
	e := newEngine(cfg, memory)
	ln, err := listen(ctx, cfg.Addr)
	if err != nil {
		return errors.Join(fmt.Errorf("demo: %w", err), e.Close())
	}
	served := make(chan error, 1)
	go func() { served <- e.Serve(ln) }()
	defer func() {
		logf(cfg.Log, "shutting down")
		closed := e.Close()
		err = errors.Join(err, closed, <-served)
	}()
	logf(cfg.Log, "serving %s, metrics at %s", cfg.Model, metricsURL(ln.Addr()))
	if cfg.Ready != nil {
		cfg.Ready(ln.Addr())
	}
	if err := e.Generate(ctx); err != nil {
		return err
	}
	t := e.Totals()
	logf(cfg.Log, "served %d requests: %d prompt tokens (%d from the prefix cache), %d generated, %d preemptions",
		t.Requests, t.PromptTokens, t.CachedTokens, t.GenerationTokens, t.Preemptions)
	if err := sleepUntil(ctx, time.Now().Add(cfg.Linger)); err != nil || cfg.Done == nil {
		return err
	}
	if err := cfg.Done(); err != nil {
		return err
	}
	return sleepUntil(ctx, time.Now().Add(cfg.Linger))
}

// loadSteps is the number of shards that the weights come in.
const loadSteps = 8

// load spends Startup as a server does: on the CUDA context, the weights shard by shard,
// and finally the KV pool.
func load(ctx context.Context, c *Config, memory *memoryFile) error {
	logf(c.Log, "loading %s", c.Model)
	start, plan := time.Now(), c.Memory()
	memory.set(plan.Context)
	for i := range loadSteps + 1 {
		at := time.Duration(i+1) * c.Startup / (loadSteps + 2)
		if err := sleepUntil(ctx, start.Add(at)); err != nil {
			return err
		}
		if i < loadSteps {
			memory.set(plan.Context + plan.Weights*uint64(i+1)/loadSteps)
		} else {
			memory.set(plan.Loaded())
		}
	}
	logf(c.Log, "GPU KV cache size: %d tokens in %d blocks", c.NumGPUBlocks*c.BlockSize, c.NumGPUBlocks)
	return sleepUntil(ctx, start.Add(c.Startup))
}

// listen opens Config.Addr.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	network := "tcp"
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, addr = "unix", path
	}
	var lc net.ListenConfig
	return lc.Listen(ctx, network, addr)
}

// metricsURL returns the address as a user would type it.
func metricsURL(a net.Addr) string {
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return "http://" + a.String() + "/metrics"
}
