package observe

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/ingest"
	"github.com/vobs/vobs/internal/redact"
	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/schema"
)

// A result counts only if it was written since the run's start.
func TestReadResult(t *testing.T) {
	dir := t.TempDir()
	start := time.Now()
	write := func(name, text string, age time.Duration) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, time.Time{}, start.Add(-age)); err != nil {
			t.Fatal(err)
		}
		return file
	}
	const line = `{"client":{"tool":"vobs load","requests":{"completed":2,"failed":{"error of s3cr3t-value":1}},"settings":{"url":"http://u:p@h/","seeds":["s3cr3t-value"]}}}`
	sparse := write("large", "", -time.Second)
	if err := os.Truncate(sparse, ingest.MaxBytes+1); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(sparse, time.Time{}, start.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, file, want string }{
		{"new", write("new", line, -time.Second), ""},
		{"within the kernel's tick", write("tick", line, 5*time.Millisecond), ""},
		{"old", write("old", line, time.Second), "is from before the run"},
		{"absent", filepath.Join(dir, "absent"), "does not exist"},
		{"directory", dir, "is not a regular file"},
		{"not JSON", write("text", "text", -time.Second), "not JSON"},
		{"large", sparse, "32 MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var warned []string
			r := &run{
				cfg:       Config{Ingest: c.file, Warn: func(s string) { warned = append(warned, s) }},
				redactor:  redact.New([]string{"API_TOKEN=s3cr3t-value"}),
				startedAt: start,
			}
			client, notes := r.readResult()
			if c.want == "" {
				if client == nil || *client.Requests.Completed != 2 || len(warned) > 0 {
					t.Errorf("%s, %v", testkit.JSON(client), warned)
				}
				r.redactClient(client)
				if text := testkit.JSON(client); strings.Contains(text, "s3cr3t") || strings.Contains(text, "u:p") {
					t.Error(text)
				}
				client.EngineDifferenceSeconds = clientDifference(client, nil, &notes)
				testkit.AssertNullsExplained(t, &schema.GenerationObservability{Client: client, Unavailable: notes.Unavailable}, "client")
				return
			}
			if client != nil || len(warned) != 1 || !strings.Contains(warned[0], c.want) || !strings.Contains(testkit.Reason(notes, "client"), c.want) {
				t.Errorf("%s, %q, %v", testkit.JSON(client), warned, notes)
			}
		})
	}
}
