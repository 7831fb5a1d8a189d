package cli

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"sync/atomic"
	"time"
)

// coreProcess stands for the engine's core: a process below the server with vLLM's title.
// At its end, the server does what vLLM 0.32.0 does.
type coreProcess struct {
	cmd           *exec.Cmd
	died          chan struct{} // closed when it has ended unexpectedly
	asked         atomic.Bool
	deathReported atomic.Bool // the server has reported that its engine is dead
}

// coreScript sets its title, writes its process id, and lives as long as the server does.
const coreScript = `printf %s VLLM::EngineCor >/proc/self/comm; echo $$ >"$1.part"; mv "$1.part" "$1"; read end; exit 0`

// startCore starts a core that writes its process id to a file; without a file there is
// none.
func startCore(file string) (*coreProcess, error) {
	c := &coreProcess{died: make(chan struct{})}
	if file == "" {
		return c, nil
	}
	c.cmd = exec.Command("sh", "-c", coreScript, "core", file)
	if _, err := c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	c.cmd.Stderr = os.Stderr
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		c.cmd.Wait()
		if !c.asked.Load() {
			close(c.died)
		}
	}()
	return c, nil
}

// end kills the core, as a server does that was asked to end.
func (c *coreProcess) end() error {
	c.asked.Store(true)
	if c.cmd == nil {
		return nil
	}
	if err := c.cmd.Process.Kill(); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// health returns 503 at /health once the core is dead.
func (c *coreProcess) health(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-c.died:
			if r.URL.Path == "/health" {
				w.WriteHeader(http.StatusServiceUnavailable)
				c.deathReported.Store(true)
				return
			}
		default:
		}
		next.ServeHTTP(w, r)
	})
}

// waitUntilNoticed waits as long as a server takes to notice that its core is dead: 5 s at
// most, or one second after it has reported it.
func (c *coreProcess) waitUntilNoticed() {
	died, told := time.Now(), time.Time{}
	for time.Since(died) < 5*time.Second && (told.IsZero() || time.Since(told) < time.Second) {
		time.Sleep(10 * time.Millisecond)
		if told.IsZero() && c.deathReported.Load() {
			told = time.Now()
		}
	}
}
