package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/vobs/vobs/internal/wandb/run"
)

// maxPost bounds the rows in one file_stream request; the server accepts about 10 MiB
// (wandb/core/internal/filestream: the limit of one line and of one request).
const maxPost = 8 << 20

// stream is what is sent to one run.
type stream struct {
	// offset is the position of the first row in the history.
	offset int64
	rows   []string
	// summary replaces the run's summary.
	summary  string
	uploaded []string
	// exitCode ends the run; nil leaves its end open.
	exitCode *int
}

// chunk is one file of a file_stream request.
type chunk struct {
	Offset  int64    `json:"offset"`
	Content []string `json:"content"`
}

// post is the body of a file_stream request.
type post struct {
	Files    files    `json:"files"`
	Uploaded []string `json:"uploaded,omitempty"`
	Complete bool     `json:"complete,omitempty"`
	ExitCode *int     `json:"exitcode,omitempty"`
}

type files struct {
	History *chunk `json:"wandb-history.jsonl,omitempty"`
	Summary *chunk `json:"wandb-summary.json,omitempty"`
}

// requests divides the rows into requests of at most most bytes: mostly one.
func (s stream) requests(most int) []post {
	var out []post
	rows, offset := s.rows, s.offset
	for {
		n, size := 0, len(s.summary)
		for n < len(rows) && (n == 0 || size+len(rows[n]) <= most) {
			size += len(rows[n])
			n++
		}
		p := post{}
		if n > 0 {
			p.Files.History = &chunk{offset, rows[:n]}
		}
		rows, offset = rows[n:], offset+int64(n)
		if len(rows) == 0 {
			p.Files.Summary = &chunk{0, []string{s.summary}}
			p.Uploaded, p.ExitCode, p.Complete = s.uploaded, s.exitCode, s.exitCode != nil
			return append(out, p)
		}
		out = append(out, p)
	}
}

// stream sends s to a run. Sending a request twice changes nothing: its lines have their
// positions and its rows their steps. sent is the number of rows that arrived.
func (c *Client) stream(ctx context.Context, to bucket, s stream) (sent int, err error) {
	address := c.base() + "/files/" + url.PathEscape(to.entity) + "/" + url.PathEscape(to.project) + "/" + url.PathEscape(to.id) + "/file_stream"
	for _, p := range s.requests(maxPost) {
		err := c.do(ctx, call{
			op: "file_stream", method: http.MethodPost, url: address, body: run.Encode(p),
			header:   http.Header{"Content-Type": {"application/json"}},
			toServer: true,
			timeout:  c.RowsTimeout,
			accept: func(a response) *Error {
				// The SDK accepts any 2xx; but a proxy's page means that nothing was stored.
				if text, failed := jsonError(a.body); failed {
					return &Error{Kind: KindRejected, Detail: text}
				}
				if text := strings.TrimSpace(string(a.body)); text != "" {
					if _, err := run.Members(a.body); err != nil {
						return notJSON(a)
					}
				}
				return nil
			},
		})
		if err != nil {
			return sent, err
		}
		if p.Files.History != nil {
			sent += len(p.Files.History.Content)
		}
	}
	return sent, nil
}

// upload stores the run's files. It returns the names of those that arrived, and the
// errors of the others.
func (c *Client) upload(ctx context.Context, to bucket, list []run.File) (uploaded []string, failures []error) {
	names := make([]string, len(list))
	for i, f := range list {
		names[i] = f.Name
	}
	var out struct {
		CreateRunFiles *struct {
			UploadHeaders []string
			Files         []struct{ Name, UploadURL string }
		}
	}
	err := c.graphql(ctx, "CreateRunFiles", createRunFiles, struct {
		Entity  string   `json:"entity"`
		Project string   `json:"project"`
		Run     string   `json:"run"`
		Files   []string `json:"files"`
	}{to.entity, to.project, to.id, names}, &out, nil, func() *Error {
		if out.CreateRunFiles == nil {
			return &Error{Kind: KindResponse, Detail: "the response names no files"}
		}
		return nil
	})
	if err != nil {
		return nil, []error{err}
	}
	header := http.Header{}
	for _, h := range out.CreateRunFiles.UploadHeaders {
		if name, value, ok := strings.Cut(h, ":"); ok {
			header.Set(strings.TrimSpace(name), strings.TrimSpace(value))
		}
	}
	for _, f := range list {
		var address string
		for _, given := range out.CreateRunFiles.Files {
			if given.Name == f.Name {
				address = given.UploadURL
			}
		}
		op := "upload of " + f.Name
		if address == "" {
			failures = append(failures, &Error{Kind: KindResponse, Op: op, Detail: "the response to CreateRunFiles has no address for it"})
			continue
		}
		if err := c.put(ctx, op, address, header, f.Content); err != nil {
			failures = append(failures, err)
			continue
		}
		uploaded = append(uploaded, f.Name)
	}
	return uploaded, failures
}

// put stores one file at the address from the server: often another company's storage,
// which gets no key and none of the user's headers.
func (c *Client) put(ctx context.Context, op, address string, header http.Header, content []byte) error {
	base, err := url.Parse(c.base() + "/")
	if err != nil {
		return &Error{Kind: KindAddress, Op: op}
	}
	to, err := base.Parse(address)
	if err != nil || (to.Scheme != "http" && to.Scheme != "https") || to.Host == "" {
		return &Error{Kind: KindResponse, Op: op, Detail: "the response to CreateRunFiles has no usable address for it"}
	}
	return c.do(ctx, call{op: op, method: http.MethodPut, url: to.String(), body: content, header: header, timeout: c.FilesTimeout})
}

// row returns one row of the history.
func row(r run.Row, step int64, runtime float64) string {
	return string(run.Object(append([]run.Item{
		{Key: "_step", JSON: run.Encode(step)},
		{Key: "_timestamp", JSON: run.Encode(unixSeconds(r.Time))},
		{Key: "_runtime", JSON: run.Encode(runtime)},
	}, r.Items...)))
}

// unixSeconds is a time as W&B has it: seconds since 1970, to the microsecond.
func unixSeconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// checkRun refuses what would make a whole request fail.
func checkRun(r run.Run) *Error {
	bad := func(format string, args ...any) *Error {
		return &Error{Kind: KindInput, Detail: fmt.Sprintf(format, args...)}
	}
	if r.ID == "" {
		return bad("the run has no id")
	}
	for _, part := range []struct {
		name  string
		items []run.Item
	}{{"config", r.Config}, {"summary", r.Summary}} {
		if key, ok := invalid(part.items); ok {
			return bad("%s: the value of %q is not JSON", part.name, key)
		}
	}
	for _, row := range r.Rows {
		if key, ok := invalid(row.Items); ok {
			return bad("history: the value of %q is not JSON", key)
		}
	}
	return nil
}
