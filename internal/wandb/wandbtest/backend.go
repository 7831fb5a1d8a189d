// Package wandbtest is a server of Weights & Biases for tests, with the state that
// the real one keeps as far as its clients can tell: a run's settings, the lines of
// its history by place and by step, its summary, files and end. It is enough for the
// real SDK (wandb 0.31.0: `make e2e-wandb`), and fails on demand in every way that a
// server, a proxy or a network fails.
//
// Where nobody outside W&B knows what the server does, this one does what loses most:
// a config or a summary replaces the one before, a line at a taken place or with a
// taken step replaces that line, any write to a finished run makes it running.
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

// Key is the key that the server knows. It has the length that the SDK asks for.
const Key = "feedfacefeedfacefeedfacefeedfacefeedface"

// DefaultEntity and DefaultProject are where runs go that do not say.
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
	// JWT is the identity token that /oidc/token takes; "" takes none.
	JWT string
}

// New makes an empty server.
func New() *Backend {
	return &Backend{runs: map[string]*Run{}, tokens: map[string]bool{}}
}

// Run is what the server knows of a run.
type Run struct {
	Entity, Project, ID string
	// StorageID is the server's own name of it.
	StorageID string
	State     string
	ExitCode  *int
	Group, JobType, Name, Notes, Host,
	Program string
	Tags []string
	// Config and Summary are JSON texts, as they came.
	Config, Summary string
	// Lines, Events and Log are the lines by their place; a place that was left out
	// is "".
	Lines, Events, Log []string
	// Files by name, as they were put; Uploaded are those that file_stream named.
	Files    map[string][]byte
	Uploaded []string
	// Overwritten are lines of the history that another took the place or step of:
	// empty as long as nobody lost anything.
	Overwritten []string

	replaced map[int]bool // places whose line another step replaced
	stale    stale
}

// stale is how much older what is served is than what is known.
type stale struct {
	polls, lines int
	state        string
}

// History gives the rows that people see: by place, without those that another row
// of the same step replaced.
func (r *Run) History() []string {
	var out []string
	for i, line := range r.Lines {
		if line != "" && !r.replaced[i] {
			out = append(out, line)
		}
	}
	return out
}

// Request is one request as it came.
type Request struct {
	// Op is the GraphQL operation, "file_stream", "PUT", "oidc/token", or the path.
	Op, Path  string
	Header    http.Header
	Variables map[string]any
	Body      []byte
	// Status is what was answered; 0 where the connection was cut.
	Status int
}

// Fault is a failure that is asked for.
type Fault struct {
	// Op is whose requests fail; "" all.
	Op string
	// Times is how often; 0 is always.
	Times int
	// Skip lets that many requests pass first.
	Skip int
	// Status (200 where 0), Header and Body are the answer.
	Status int
	Header map[string]string
	Body   string
	// Hang keeps the request until its client leaves; Reset cuts the connection.
	Hang, Reset bool
	// After does what was asked for before it fails: an answer that gets lost.
	After bool
}

// Fail asks for a failure.
func (b *Backend) Fail(f Fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = append(b.faults, &f)
}

// Heal ends all failures.
func (b *Backend) Heal() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = nil
}

// Requests gives all requests so far.
func (b *Backend) Requests() []Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.requests)
}

// Ops gives the operations of all requests so far.
func (b *Backend) Ops() []string {
	var out []string
	for _, r := range b.Requests() {
		out = append(out, r.Op)
	}
	return out
}

// Run gives a copy of a run, nil where there is none.
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

// Runs gives copies of all runs, in the order in which they were made.
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

// Put puts a run in place, as another program left it.
func (b *Backend) Put(r Run) {
	b.mu.Lock()
	defer b.mu.Unlock()
	put := b.make(r.Entity, r.Project, r.ID)
	id := put.StorageID
	*put = r
	put.StorageID = id
	put.fill()
}

// Lag serves, for that many readings of the run's state, what it was with no more
// than lines lines; state is served where it is not "".
func (b *Backend) Lag(entity, project, id string, polls, lines int, state string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.runs[path(entity, project, id)].stale = stale{polls, lines, state}
}

// Change changes a run under the server's lock.
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

// ServeHTTP answers as the server does.
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
	var a answer
	if fault == nil || fault.After {
		a = b.answer(r, req)
	}
	if fault != nil {
		a = answer{fault.Status, fault.Header, fault.Body}
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

// fault is the failure that the request meets.
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
