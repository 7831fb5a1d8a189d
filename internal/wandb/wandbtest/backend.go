// Package wandbtest is a server of Weights & Biases for tests, with the state that the real
// one keeps, as far as its clients can see: a run's settings, its history rows by position
// and by step, its summary, files and end. It is complete enough for the real SDK (wandb
// 0.31.0: `make e2e-wandb`), and fails on demand in every way that a server, a proxy or a
// network fails.
//
// Where the real server's behaviour is not known outside W&B, this one does what loses most:
// a config or a summary replaces the previous one, a row at a taken position or with a taken
// step replaces that row, any write to a finished run sets it running.
package wandbtest

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Key is the key that the server accepts. It has the length that the SDK requires.
const Key = "feedfacefeedfacefeedfacefeedfacefeedface"

// DefaultEntity and DefaultProject are used for runs without an entity or project.
const (
	DefaultEntity  = "ent0"
	DefaultProject = "uncategorized"
)

// Backend is an [http.Handler]: serve it with net/http/httptest.
type Backend struct {
	mu       sync.Mutex
	runs     map[string]*Run
	order    []*Run
	requests []Request
	faults   []*Fault
	tokens   map[string]bool
	// JWT is the identity token that /oidc/token accepts; "" accepts none.
	JWT string
}

// New returns an empty server.
func New() *Backend {
	return &Backend{runs: map[string]*Run{}, tokens: map[string]bool{}}
}

// Run is what the server knows about a run.
type Run struct {
	Entity, Project, ID string
	// StorageID is the server's own name of the run.
	StorageID string
	State     string
	ExitCode  *int
	Group, JobType, Name, Notes, Host,
	Program string
	Tags []string
	// Config and Summary are JSON texts as they were received.
	Config, Summary string
	// Lines, Events and Log are the lines by position; a position that was skipped is "".
	Lines, Events, Log []string
	// Files are the files by name as stored; Uploaded are those that file_stream named.
	Files    map[string][]byte
	Uploaded []string
	// Overwritten are history rows whose position or step another row took: empty as long
	// as nothing was lost.
	Overwritten []string

	replaced map[int]bool // positions of rows whose step another row took
	stale    lag
}

// lag is how much older the served state is than the real one.
type lag struct {
	polls, lines int
	state        string
}

// History returns the rows that people see: by position, without those whose step a later
// row took.
func (r *Run) History() []string {
	var out []string
	for i, line := range r.Lines {
		if line != "" && !r.replaced[i] {
			out = append(out, line)
		}
	}
	return out
}

// Request is one request as it was received.
type Request struct {
	// Op is the GraphQL operation, "file_stream", "PUT", "oidc/token", or the path.
	Op, Path  string
	Header    http.Header
	Variables map[string]any
	Body      []byte
	// Status is the response's; 0 if the connection was cut.
	Status int
}

// Fault is a failure on demand.
type Fault struct {
	// Op selects the requests that fail; "" all.
	Op string
	// Times is how often they fail; 0 is always.
	Times int
	// Skip is how many requests succeed first.
	Skip int
	// Status (0 means 200), Header and Body are the response.
	Status int
	Header map[string]string
	Body   string
	// Hang blocks the request until its client gives up; Reset cuts the connection.
	Hang, Reset bool
	// After executes the request before it fails: the response is lost.
	After bool
}

// Fail adds a fault.
func (b *Backend) Fail(f Fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = append(b.faults, &f)
}

// Heal removes all faults.
func (b *Backend) Heal() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = nil
}

// Requests returns all requests so far.
func (b *Backend) Requests() []Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.requests)
}

// Ops returns the operations of all requests so far.
func (b *Backend) Ops() []string {
	var out []string
	for _, r := range b.Requests() {
		out = append(out, r.Op)
	}
	return out
}

// Run returns a copy of a run, nil if there is none.
func (b *Backend) Run(entity, project, id string) *Run {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.runs[path(entity, project, id)]
	if r == nil {
		return nil
	}
	out := *r
	out.Lines, out.Events, out.Log = slices.Clone(r.Lines), slices.Clone(r.Events), slices.Clone(r.Log)
	out.Files, out.replaced = maps.Clone(r.Files), maps.Clone(r.replaced)
	return &out
}

// Runs returns copies of all runs, in the order of their creation.
func (b *Backend) Runs() []*Run {
	b.mu.Lock()
	order := slices.Clone(b.order)
	b.mu.Unlock()
	var out []*Run
	for _, r := range order {
		out = append(out, b.Run(r.Entity, r.Project, r.ID))
	}
	return out
}

// Put adds a run, as another program left it.
func (b *Backend) Put(r Run) {
	b.mu.Lock()
	defer b.mu.Unlock()
	put := b.make(r.Entity, r.Project, r.ID)
	id := put.StorageID
	*put = r
	put.StorageID = id
	put.fill()
}

// Lag serves an older state of the run for that many queries: with at most lines rows, and
// with the state if that is not "".
func (b *Backend) Lag(entity, project, id string, polls, lines int, state string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.runs[path(entity, project, id)].stale = lag{polls, lines, state}
}

// Change modifies a run under the server's lock.
func (b *Backend) Change(entity, project, id string, f func(*Run)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(b.runs[path(entity, project, id)])
}

func path(parts ...string) string { return strings.Join(parts, "/") }

func (b *Backend) make(entity, project, id string) *Run {
	at := path(entity, project, id)
	if r := b.runs[at]; r != nil {
		return r
	}
	r := &Run{Entity: entity, Project: project, ID: id, StorageID: base64.StdEncoding.EncodeToString([]byte("Run:v1:" + at)), State: "pending"}
	r.fill()
	b.runs[at] = r
	b.order = append(b.order, r)
	return r
}

func (r *Run) fill() {
	if r.Config == "" {
		r.Config = "{}"
	}
	if r.Summary == "" {
		r.Summary = "{}"
	}
	if r.Files == nil {
		r.Files = map[string][]byte{}
	}
	if r.replaced == nil {
		r.replaced = map[int]bool{}
	}
}

var operation = regexp.MustCompile(`(?:query|mutation)\s+(\w+)`)

// ServeHTTP responds as the server does.
func (b *Backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	req := Request{Path: r.URL.EscapedPath(), Header: r.Header.Clone(), Body: body}
	var gql struct {
		Query     string
		Variables map[string]any
	}
	switch {
	case r.URL.Path == "/graphql":
		_ = json.Unmarshal(body, &gql)
		if m := operation.FindStringSubmatch(gql.Query); m != nil {
			req.Op, req.Variables = m[1], gql.Variables
		}
	case strings.HasSuffix(r.URL.Path, "/file_stream"):
		req.Op = "file_stream"
	case strings.HasPrefix(r.URL.Path, "/storage/"):
		req.Op = "PUT"
	default:
		req.Op = strings.Trim(r.URL.Path, "/")
	}

	b.mu.Lock()
	fault := b.fault(req.Op)
	var a response
	if fault == nil || fault.After {
		a = b.respond(r, req)
	}
	if fault != nil {
		a = response{fault.Status, fault.Header, fault.Body}
		if a.status == 0 {
			a.status = http.StatusOK
		}
		if fault.Hang || fault.Reset {
			a.status = 0
		}
	}
	req.Status = a.status
	b.requests = append(b.requests, req)
	b.mu.Unlock()

	switch {
	case fault != nil && fault.Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case fault != nil && fault.Reset:
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}

// fault returns the fault that applies to the request.
func (b *Backend) fault(op string) *Fault {
	for i, f := range b.faults {
		if f.Op != "" && f.Op != op {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				b.faults = slices.Delete(b.faults, i, i+1)
			}
		}
		return f
	}
	return nil
}
