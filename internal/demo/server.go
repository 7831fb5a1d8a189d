package demo

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"
)

// contentType is what vLLM 0.32.0 sends for its page, whatever the request accepts:
// prometheus_client's text format 1.0.0, which equals 0.0.4 for vLLM's names.
const contentType = "text/plain; version=1.0.0; charset=utf-8"

// keepAlive is uvicorn's: it closes an idle connection after that time.
const keepAlive = 5 * time.Second

func newServer(e *Engine) *http.Server {
	return &http.Server{Handler: e.Handler(), IdleTimeout: keepAlive, ReadHeaderTimeout: keepAlive}
}

// Serve answers on ln, which it closes, until Close; it then returns nil.
func (e *Engine) Serve(ln net.Listener) error {
	if err := e.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close ends Generate, Serve and all connections at once, and frees the
// simulated GPU.
func (e *Engine) Close() error {
	e.stop()
	err := e.server.Close()
	e.generating.Lock() // no Generate may write to the file any more
	defer e.generating.Unlock()
	memory := e.memory
	e.memory = nil
	return errors.Join(err, memory.close())
}

// Handler serves the endpoints of a vLLM server that vobs, or a client that waits for a
// server, requests.
func (e *Engine) Handler() http.Handler {
	mux := http.NewServeMux()
	// These are different routes of a real server: the one without the slash does not
	// know name[].
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, r *http.Request) { e.servePage(w, nil) })
	mux.HandleFunc("/metrics/", func(w http.ResponseWriter, r *http.Request) {
		var names nameSet
		for _, n := range r.URL.Query()["name[]"] {
			if n == "" { // Python's parse_qs drops blank values
				continue
			}
			if names == nil {
				names = make(nameSet)
			}
			names[n] = true
		}
		e.servePage(w, names)
	})
	empty := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }
	mux.HandleFunc("/health", empty)
	mux.HandleFunc("/ping", empty)
	mux.HandleFunc("/version", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"version": Version})
	})
	mux.HandleFunc("/v1/models", e.serveModels)
	if e.cfg.DevMode {
		mux.HandleFunc("/server_info", e.serveInfo)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusNotFound, map[string]string{"detail": "Not Found"})
	})
	if e.live == nil {
		return mux
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.live.mu.Lock()
		down := e.live.down < never
		e.live.mu.Unlock()
		if down {
			panic(http.ErrAbortHandler) // closes the connection, like a server that has just died
		}
		mux.ServeHTTP(w, r)
	})
}

func (e *Engine) servePage(w http.ResponseWriter, names nameSet) {
	var page []byte
	if l := e.live; l != nil {
		l.mu.Lock()
		page = l.page(names)
		l.mu.Unlock()
	} else {
		e.mu.Lock()
		if e.metrics.process.wanted(names) {
			e.metrics.process.read()
		}
		page = e.metrics.reg.page(names)
		e.mu.Unlock()
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(page)))
	w.Write(page)
}

// modelCard is one entry of /v1/models, reduced to what clients read.
type modelCard struct {
	ID          string  `json:"id"`
	Object      string  `json:"object"`
	Created     int64   `json:"created"`
	OwnedBy     string  `json:"owned_by"`
	Root        string  `json:"root"`
	Parent      *string `json:"parent"`
	MaxModelLen int     `json:"max_model_len"`
	Permission  []any   `json:"permission"`
}

func (e *Engine) serveModels(w http.ResponseWriter, _ *http.Request) {
	start := time.Now()
	n := writeJSON(w, http.StatusOK, struct {
		Object string      `json:"object"`
		Data   []modelCard `json:"data"`
	}{"list", []modelCard{{
		ID: e.cfg.Model, Object: "model", Created: e.created.Unix(), OwnedBy: "vobs-demo",
		Root: e.cfg.Model, MaxModelLen: e.cfg.maxModelLen(), Permission: []any{},
	}}})
	m := e.metrics
	if l := e.live; l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		m = l.metrics
	} else {
		e.mu.Lock()
		defer e.mu.Unlock()
	}
	m.http("GET", "/v1/models", "2xx", 0, n, time.Since(start))
}

// writeJSON responds with v, without a newline as FastAPI does, and returns the length
// of the body.
func writeJSON(w http.ResponseWriter, status int, v any) int {
	b, err := json.Marshal(v)
	if err != nil { // our own strings and numbers: cannot happen
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return 0
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	w.Write(b)
	return len(b)
}
