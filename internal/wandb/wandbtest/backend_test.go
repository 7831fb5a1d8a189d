package wandbtest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/wandb/wandbtest"
)

// The server reports when something was lost, which the tests rely on.
func TestLosses(t *testing.T) {
	b := wandbtest.New()
	server := httptest.NewServer(b)
	defer server.Close()
	post := func(path, body string) string {
		t.Helper()
		r, err := http.NewRequest(http.MethodPost, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("api", wandbtest.Key)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s, %v", path, resp.StatusCode, text, err)
		}
		return string(text)
	}
	upsert := func(variables string) string {
		return post("/graphql", `{"query":"mutation UpsertBucket {}","variables":`+variables+`}`)
	}
	stream := func(body string) { post("/files/ent0/p/r/file_stream", body) }
	upsert(`{"name":"r","project":"p","config":"{\"a\":1}","tags":["x"],"notes":"n"}`)
	stream(`{"files":{"wandb-history.jsonl":{"offset":0,"content":["{\"_step\":0}","{\"_step\": 1}"]},"wandb-summary.json":{"offset":0,"content":["{\"a\":1}"]}},"complete":true,"exitcode":0}`)
	check := func(what, wanted string) {
		t.Helper()
		r := b.Run("ent0", "p", "r")
		if got := fmt.Sprint(r.State, r.History(), r.Overwritten, r.Config, r.Summary, r.Tags, r.Notes); got != wanted {
			t.Errorf("%s:\ngot  %s\nwant %s", what, got, wanted)
		}
	}
	check("as made", `finished[{"_step":0} {"_step": 1}] []{"a":1}{"a":1}[x]n`)
	if got := upsert(`{"name":"r","project":"p"}`); !strings.Contains(got, `"historyLineCount":2`) || !strings.Contains(got, `"inserted":false`) {
		t.Error(got)
	}
	check("null leaves all but the state", `running[{"_step":0} {"_step": 1}] []{"a":1}{"a":1}[x]n`)
	upsert(`{"name":"r","project":"p","config":"{}","tags":[],"notes":""}`)
	check("the rest is replaced", `running[{"_step":0} {"_step": 1}] []{}{"a":1}[]`)
	stream(`{"files":{"wandb-history.jsonl":{"offset":2,"content":["{\"_step\":1,\"b\":NaN}"]},"wandb-summary.json":{"offset":0,"content":["{}"]}},"complete":true,"exitcode":1}`)
	check("a taken step", `failed[{"_step":0} {"_step":1,"b":NaN}] [{"_step": 1}]{}{}[]`)
	stream(`{"files":{"wandb-history.jsonl":{"offset":0,"content":["{\"_step\":7}"]}}}`)
	check("a taken place", `running[{"_step":7} {"_step":1,"b":NaN}] [{"_step": 1} {"_step":0}]{}{}[]`)
	stream(`{"files":{"wandb-history.jsonl":{"offset":0,"content":["{\"_step\":7}"]}}}`)
	check("the same again", `running[{"_step":7} {"_step":1,"b":NaN}] [{"_step": 1} {"_step":0}]{}{}[]`)
}

// The server does not respond with data to an unknown client.
func TestUnknown(t *testing.T) {
	server := httptest.NewServer(wandbtest.New())
	defer server.Close()
	for _, key := range []string{"", "another"} {
		r, err := http.NewRequest(http.MethodPost, server.URL+"/graphql", strings.NewReader(`{"query":"query Viewer {}"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("api", key)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if _ = resp.Body.Close(); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%q: status %d", key, resp.StatusCode)
		}
	}
}
