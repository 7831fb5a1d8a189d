package wandbtest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

type response struct {
	status int
	header map[string]string
	body   string
}

func ok(v any) response {
	body, err := json.Marshal(v)
	if err != nil {
		return response{http.StatusInternalServerError, nil, err.Error()}
	}
	return response{http.StatusOK, nil, string(body)}
}

type object = map[string]any

func data(v any) response { return ok(object{"data": v}) }

func refuse(status int, format string, args ...any) response {
	a := ok(object{"errors": []object{{"message": fmt.Sprintf(format, args...)}}})
	a.status = status
	return a
}

// authorised reports whether a request has the key, or a token issued by this server.
func (b *Backend) authorised(r *http.Request) bool {
	if _, key, basic := r.BasicAuth(); basic {
		return key == Key
	}
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return bearer && b.tokens[token]
}

func (b *Backend) respond(r *http.Request, req Request) response {
	switch {
	case req.Op == "oidc/token":
		return b.token(req)
	case req.Op == "PUT":
		return b.put(r, req)
	case strings.HasPrefix(r.URL.Path, "/sdk/otel/"):
		return ok(object{})
	case !b.authorised(r):
		return refuse(http.StatusUnauthorized, "user is not logged in")
	}
	v := variables(req.Variables)
	switch req.Op {
	case "Viewer":
		return data(object{"viewer": object{"id": "x", "entity": DefaultEntity, "username": "user0", "email": "u@x",
			"flags": "{}", "teams": object{"edges": []any{}}}})
	case "ServerFeaturesQuery":
		return data(object{"serverInfo": object{"features": []any{}}})
	case "RunStoppedStatus":
		return data(object{"project": object{"run": object{"stopped": false}}})
	case "MarkRunFilesUploaded":
		return data(object{"markRunFilesUploaded": object{"success": true}})
	case "UpsertBucket":
		return b.upsert(v)
	case "RunResumeStatus":
		return b.status(v)
	case "RunState":
		run := b.runs[path(v.text("entity"), v.text("project"), v.text("run"))]
		if run == nil {
			return data(object{"project": nil})
		}
		return data(object{"project": object{"run": object{"id": run.StorageID, "state": run.State}}})
	case "CreateRunFiles":
		return b.createFiles(r, v)
	case "file_stream":
		return b.stream(req)
	}
	return refuse(http.StatusOK, "this server does not know %s", req.Op)
}

type variables map[string]any

func (v variables) text(key string) string { s, _ := v[key].(string); return s }

// set sets a value; null leaves it unchanged.
func (v variables) set(key string, to *string) {
	if s, given := v[key].(string); given {
		*to = s
	}
}

func (b *Backend) upsert(v variables) response {
	var run *Run
	if id := v.text("id"); id != "" {
		for _, r := range b.order {
			if r.StorageID == id {
				run = r
			}
		}
		if run == nil {
			return refuse(http.StatusNotFound, "run not found")
		}
	}
	inserted := false
	if run == nil {
		name := v.text("name")
		if name == "" {
			return refuse(http.StatusBadRequest, "a run needs a name")
		}
		entity, project := cmp.Or(v.text("entity"), DefaultEntity), cmp.Or(v.text("project"), DefaultProject)
		inserted = b.runs[path(entity, project, name)] == nil
		run = b.make(entity, project, name)
	}
	run.State, run.ExitCode = "running", nil
	v.set("groupName", &run.Group)
	v.set("jobType", &run.JobType)
	v.set("displayName", &run.Name)
	v.set("notes", &run.Notes)
	v.set("host", &run.Host)
	v.set("program", &run.Program)
	v.set("config", &run.Config)
	v.set("summaryMetrics", &run.Summary)
	if tags, given := v["tags"].([]any); given {
		run.Tags = nil
		for _, tag := range tags {
			run.Tags = append(run.Tags, fmt.Sprint(tag))
		}
	}
	return data(object{"upsertBucket": object{"inserted": inserted, "bucket": object{
		"id": run.StorageID, "name": run.ID, "displayName": cmp.Or(run.Name, "quiet-river-1"), "description": nil,
		"config": run.Config, "sweepName": nil, "historyLineCount": run.shown(),
		"project": object{"id": "P", "name": run.Project, "entity": object{"id": "E", "name": run.Entity}},
	}}})
}

// shown returns how many rows are served.
func (r *Run) shown() int {
	if r.stale.polls > 0 {
		return min(len(r.Lines), r.stale.lines)
	}
	return len(r.Lines)
}

func (b *Backend) status(v variables) response {
	entity, project := cmp.Or(v.text("entity"), DefaultEntity), cmp.Or(v.text("project"), DefaultProject)
	run := b.runs[path(entity, project, v.text("name"))]
	model := object{"id": "P", "name": project, "entity": object{"id": "E", "name": entity}, "bucket": nil}
	if run == nil {
		if !slices.ContainsFunc(b.order, func(r *Run) bool { return r.Entity == entity && r.Project == project }) {
			return data(object{"model": nil}) // a project is created with its first run
		}
		return data(object{"model": model})
	}
	lines, state := run.Lines[:run.shown()], run.State
	if run.stale.polls > 0 {
		if run.stale.polls--; run.stale.state != "" {
			state = run.stale.state
		}
	}
	started := "{}"
	if value, ok := wandbConfig(run.Config)["t"]; ok {
		started = `{"t":` + string(value) + `}`
	}
	tags := run.Tags
	if tags == nil {
		tags = []string{}
	}
	model["bucket"] = object{
		"id": run.StorageID, "name": run.ID, "state": state, "displayName": cmp.Or(run.Name, "quiet-river-1"),
		"summaryMetrics": run.Summary, "config": run.Config, "tags": tags, "notes": run.Notes,
		"historyLineCount": len(lines), "eventsLineCount": len(run.Events), "logLineCount": len(run.Log),
		"historyTail": tail(lines), "eventsTail": tail(run.Events), "wandbConfig": started,
	}
	return data(object{"model": model})
}

func tail(lines []string) string {
	if len(lines) > 0 {
		lines = lines[len(lines)-1:]
	}
	b, err := json.Marshal(append([]string{}, lines...))
	if err != nil {
		return "[]"
	}
	return string(b)
}

func wandbConfig(config string) map[string]json.RawMessage {
	var c struct {
		Wandb struct {
			Value map[string]json.RawMessage
		} `json:"_wandb"`
	}
	_ = json.Unmarshal([]byte(config), &c)
	return c.Wandb.Value
}

func (b *Backend) createFiles(r *http.Request, v variables) response {
	run := b.runs[path(v.text("entity"), v.text("project"), v.text("run"))]
	if run == nil {
		return refuse(http.StatusNotFound, "run not found")
	}
	names, _ := v["files"].([]any)
	list := []object{}
	for _, n := range names {
		name := fmt.Sprint(n)
		u := url.URL{Scheme: "http", Host: r.Host, Path: "/storage/" + path(run.Entity, run.Project, run.ID) + "/" + name, RawQuery: "signature=s3cr3t"}
		if r.TLS != nil {
			u.Scheme = "https"
		}
		list = append(list, object{"name": name, "uploadUrl": u.String()})
	}
	return data(object{"createRunFiles": object{"runID": run.StorageID, "uploadHeaders": []string{}, "files": list}})
}

// put stores a file, as another company's storage does: without the key.
func (b *Backend) put(r *http.Request, req Request) response {
	if r.Header.Get("Authorization") != "" {
		return refuse(http.StatusBadRequest, "the file storage must not get the key")
	}
	parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/storage/"), "/", 4)
	if len(parts) != 4 || r.Method != http.MethodPut {
		return refuse(http.StatusNotFound, "no such file")
	}
	run := b.runs[path(parts[0], parts[1], parts[2])]
	if run == nil || r.URL.Query().Get("signature") != "s3cr3t" {
		return refuse(http.StatusForbidden, "not signed")
	}
	run.Files[parts[3]] = req.Body
	return response{status: http.StatusOK}
}

func (b *Backend) token(req Request) response {
	form, err := url.ParseQuery(string(req.Body))
	if err != nil || form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || b.JWT == "" || form.Get("assertion") != b.JWT {
		return response{http.StatusUnauthorized, nil, `{"error":"invalid_grant","error_description":"the identity token is not known"}`}
	}
	token := "access-token-" + strconv.Itoa(len(b.tokens)+1)
	b.tokens[token] = true
	return ok(object{"access_token": token, "expires_in": 3600})
}

type chunk struct {
	Offset  int
	Content []string
}

func (b *Backend) stream(req Request) response {
	var post struct {
		Files    map[string]chunk
		Uploaded []string
		Complete bool
		ExitCode *int
	}
	if err := json.Unmarshal(req.Body, &post); err != nil {
		return refuse(http.StatusBadRequest, "no JSON: %v", err)
	}
	parts := strings.Split(strings.TrimPrefix(req.Path, "/files/"), "/")
	for i := range parts {
		parts[i], _ = url.PathUnescape(parts[i])
	}
	if len(parts) != 4 {
		return refuse(http.StatusNotFound, "no such path")
	}
	run := b.runs[path(parts[0], parts[1], parts[2])]
	if run == nil {
		return refuse(http.StatusNotFound, "run not found")
	}
	run.State = "running"
	for name, c := range post.Files {
		switch name {
		case "wandb-history.jsonl":
			run.history(c)
		case "wandb-events.jsonl":
			run.Events, _ = insertLines(run.Events, c)
		case "output.log":
			run.Log, _ = insertLines(run.Log, c)
		case "wandb-summary.json":
			if len(c.Content) > 0 {
				run.Summary = c.Content[len(c.Content)-1]
			}
		}
	}
	for _, name := range post.Uploaded {
		if !slices.Contains(run.Uploaded, name) {
			run.Uploaded = append(run.Uploaded, name)
		}
	}
	if post.Complete {
		run.State, run.ExitCode = "finished", post.ExitCode
		if post.ExitCode != nil && *post.ExitCode != 0 {
			run.State = "failed"
		}
	}
	return ok(object{})
}

// insertLines puts lines at their positions, and returns those that they replaced.
func insertLines(lines []string, c chunk) (out, old []string) {
	for i, line := range c.Content {
		at := c.Offset + i
		for len(lines) <= at {
			lines = append(lines, "")
		}
		if lines[at] != "" && lines[at] != line {
			old = append(old, lines[at])
		}
		lines[at] = line
	}
	return lines, old
}

var stepKey = regexp.MustCompile(`"_step":\s*(\d+)`)

// stepOf returns the step of a row, "" if it has none. Rows may contain NaN, which Go's JSON
// refuses.
func stepOf(line string) string {
	if m := stepKey.FindStringSubmatch(line); m != nil {
		return m[1]
	}
	return ""
}

func (r *Run) history(c chunk) {
	for i, line := range c.Content {
		at := c.Offset + i
		var old []string
		r.Lines, old = insertLines(r.Lines, chunk{at, []string{line}})
		r.Overwritten = append(r.Overwritten, old...)
		delete(r.replaced, at)
		step := stepOf(line)
		for j, other := range r.Lines {
			if j != at && step != "" && !r.replaced[j] && stepOf(other) == step {
				r.replaced[j] = true
				r.Overwritten = append(r.Overwritten, other)
			}
		}
	}
}
