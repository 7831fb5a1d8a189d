package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"github.com/vobs/vobs/internal/wandb/run"
)

// The operations, as in the SDK 0.31.0 (wandb/core/api/graphql/*.graphql). RunResumeStatus
// also asks for the run's state, which the SDK's RunState has for the same type. Servers
// and test doubles identify an operation by its name.
const (
	upsertBucket = `mutation UpsertBucket ($id: String, $name: String, $project: String, $entity: String, $groupName: String, $description: String, $displayName: String, $notes: String, $commit: String, $config: JSONString, $host: String, $debug: Boolean, $program: String, $repo: String, $jobType: String, $state: String, $sweep: String, $tags: [String!], $summaryMetrics: JSONString) {
	upsertBucket(input: {id:$id,name:$name,groupName:$groupName,modelName:$project,entityName:$entity,description:$description,displayName:$displayName,notes:$notes,config:$config,commit:$commit,host:$host,debug:$debug,jobProgram:$program,jobRepo:$repo,jobType:$jobType,state:$state,sweep:$sweep,tags:$tags,summaryMetrics:$summaryMetrics}) {
		bucket {
			id
			name
			displayName
			project {
				name
				entity {
					name
				}
			}
			historyLineCount
		}
		inserted
	}
}`
	runResumeStatus = `query RunResumeStatus ($project: String, $entity: String, $name: String!) {
	model(name: $project, entityName: $entity) {
		id
		name
		entity {
			id
			name
		}
		bucket(name: $name, missingOk: true) {
			id
			name
			state
			summaryMetrics
			displayName
			logLineCount
			historyLineCount
			eventsLineCount
			historyTail
			eventsTail
			config
			tags
			notes
			wandbConfig(keys: ["t"])
		}
	}
}`
	createRunFiles = `mutation CreateRunFiles ($entity: String!, $project: String!, $run: String!, $files: [String!]!) {
	createRunFiles(input: {entityName:$entity,projectName:$project,runName:$run,files:$files}) {
		runID
		uploadHeaders
		files {
			name
			uploadUrl
		}
	}
}`
)

// graphql sends one operation and decodes its data into out.
func (c *Client) graphql(ctx context.Context, op, query string, variables, out any, retries map[int]bool, check func() *Error) error {
	return c.do(ctx, call{
		op: op, method: http.MethodPost, url: c.base() + "/graphql",
		body: run.Encode(struct {
			Query         string `json:"query"`
			Variables     any    `json:"variables"`
			OperationName string `json:"operationName"`
		}{query, variables, op}),
		header: http.Header{
			"Content-Type":       {"application/json"},
			"X-Wandb-Username":   {c.Username},
			"X-Wandb-User-Email": {c.Email},
		},
		toServer: true, retries: retries,
		accept: func(a response) *Error {
			// Errors come under status 200 too, with data or without.
			if text, failed := jsonError(a.body); failed {
				return &Error{Kind: KindRejected, Detail: text}
			}
			var data struct{ Data json.RawMessage }
			if err := json.Unmarshal(a.body, &data); err != nil {
				return notJSON(a)
			}
			if err := json.Unmarshal(data.Data, out); err != nil {
				return &Error{Kind: KindResponse, Detail: "a response without data in W&B's form"}
			}
			return check()
		},
	})
}

// notJSON is the error for a response that is not JSON: a proxy's page, for example.
func notJSON(a response) *Error {
	detail := "a response that is not JSON"
	if text := bytes.TrimSpace(a.body); len(text) == 0 {
		detail = "an empty response"
	} else if text[0] == '<' {
		detail = "an HTML page instead of JSON"
	}
	return &Error{Kind: KindResponse, Detail: detail}
}

// bucketInput are UpsertBucket's variables. nil leaves a run's value unchanged.
type bucketInput struct {
	ID             *string  `json:"id"`
	Name           *string  `json:"name"`
	Project        *string  `json:"project"`
	Entity         *string  `json:"entity"`
	GroupName      *string  `json:"groupName"`
	Description    *string  `json:"description"`
	DisplayName    *string  `json:"displayName"`
	Notes          *string  `json:"notes"`
	Commit         *string  `json:"commit"`
	Config         *string  `json:"config"`
	Host           *string  `json:"host"`
	Debug          *bool    `json:"debug"`
	Program        *string  `json:"program"`
	Repo           *string  `json:"repo"`
	JobType        *string  `json:"jobType"`
	State          *string  `json:"state"`
	Sweep          *string  `json:"sweep"`
	Tags           []string `json:"tags"`
	SummaryMetrics *string  `json:"summaryMetrics"`
}

// bucket is where a run is, according to the server.
type bucket struct {
	entity, project, id string
	// lines is the number of rows in the run's history.
	lines int64
}

func (c *Client) upsert(ctx context.Context, in bucketInput) (bucket, error) {
	var out struct {
		UpsertBucket *struct {
			Bucket *struct {
				Name             string
				HistoryLineCount *int64
				Project          *struct {
					Name   string
					Entity *struct{ Name string }
				}
			}
		}
	}
	var b bucket
	err := c.graphql(ctx, "UpsertBucket", upsertBucket, in, &out, map[int]bool{
		// Two writers at once: the SDK retries this too (UpsertBucketRetryPolicy).
		http.StatusConflict: true,
	}, func() *Error {
		missing := func(what string) *Error {
			return &Error{Kind: KindResponse, Detail: "the response names no " + what}
		}
		switch up := out.UpsertBucket; {
		case up == nil, up.Bucket == nil, up.Bucket.Name == "":
			return missing("run")
		case up.Bucket.Project == nil, up.Bucket.Project.Name == "":
			return missing("project")
		case up.Bucket.Project.Entity == nil, up.Bucket.Project.Entity.Name == "":
			return missing("entity")
		default:
			b = bucket{entity: up.Bucket.Project.Entity.Name, project: up.Bucket.Project.Name, id: up.Bucket.Name}
			if up.Bucket.HistoryLineCount != nil {
				b.lines = *up.Bucket.HistoryLineCount
			}
		}
		return nil
	})
	return b, err
}

// status is what the server knows about a run.
type status struct {
	// exists reports whether the run is there, started whether a program has written to
	// it: a sweep's runs are created before that (runbranch/resume.go, runExists).
	exists, started bool
	// entity and project are where the run is.
	entity, project string
	// storageID is the server's own name of the run.
	storageID string
	state     string
	// lines is the number of rows, which is up to date; tail is the newest row, and may
	// be older, as may summary.
	lines           int64
	tail            []run.Item
	summary, config []run.Item
	// runtime is how long the run lasted, in seconds, as far as it is known.
	runtime float64
}

func (c *Client) runStatus(ctx context.Context, entity, project, id string) (status, error) {
	var out struct {
		Model *struct {
			Name   string
			Entity *struct{ Name string }
			Bucket *struct {
				ID               string
				State            string
				HistoryLineCount *int64
				HistoryTail      *string
				EventsTail       *string
				SummaryMetrics   *string
				Config           *string
				WandbConfig      *string
			}
		}
	}
	s := status{entity: entity, project: project}
	err := c.graphql(ctx, "RunResumeStatus", runResumeStatus, struct {
		Project *string `json:"project"`
		Entity  *string `json:"entity"`
		Name    string  `json:"name"`
	}{optional(project), optional(entity), id}, &out, nil, func() *Error {
		if out.Model == nil || out.Model.Bucket == nil {
			return nil
		}
		if out.Model.Name != "" {
			s.project = out.Model.Name
		}
		if out.Model.Entity != nil && out.Model.Entity.Name != "" {
			s.entity = out.Model.Entity.Name
		}
		b := out.Model.Bucket
		s.exists, s.state, s.storageID = true, b.State, b.ID
		if b.HistoryLineCount != nil {
			s.lines = *b.HistoryLineCount
		}
		// Continuing the run must not lose what it has, so that must be readable.
		var err error
		if s.summary, err = itemsIn(b.SummaryMetrics); err != nil {
			return &Error{Kind: KindResponse, Detail: "cannot read the run's summary"}
		}
		if s.config, err = itemsIn(b.Config); err != nil {
			return &Error{Kind: KindResponse, Detail: "cannot read the run's config"}
		}
		s.tail = lastRow(b.HistoryTail)
		if t, err := itemsIn(b.WandbConfig); err == nil {
			s.started = find(t, "t") != nil
		}
		own, _ := run.Members(find(s.summary, "_wandb"))
		for _, items := range []struct {
			of  []run.Item
			key string
		}{{own, "runtime"}, {s.summary, "_runtime"}, {s.tail, "_runtime"}, {lastRow(b.EventsTail), "_runtime"}} {
			if x, ok := number(find(items.of, items.key)); ok {
				s.runtime = max(s.runtime, x)
			}
		}
		return nil
	})
	return s, err
}

// itemsIn reads an object given as a text; null and "" are the empty object.
func itemsIn(s *string) ([]run.Item, error) {
	if s == nil || *s == "" || *s == "null" {
		return nil, nil
	}
	return run.Members([]byte(*s))
}

// lastRow returns the last row of a tail: a list of rows, given as a text.
func lastRow(tail *string) []run.Item {
	var lines []string
	if tail == nil || json.Unmarshal([]byte(*tail), &lines) != nil || len(lines) == 0 {
		return nil
	}
	items, _ := run.Members([]byte(lines[len(lines)-1]))
	return items
}

// optional returns nil for "".
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
