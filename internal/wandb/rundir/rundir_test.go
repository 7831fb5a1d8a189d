package rundir

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/internal/wandb/run"
	"github.com/vobs/vobs/internal/wandb/transactionlog"
)

var (
	started = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	now     = time.Date(2026, 11, 22, 23, 59, 58, 0, time.FixedZone("local", 3600))
)

func item(key, text string) run.Item {
	return run.Item{Key: key, JSON: json.RawMessage(text)}
}

// event returns the run of an event.
func event() run.Run {
	return run.Run{
		ID: "019aa8f2-6c1e-7b6a", Project: "given", Name: "given", Tags: []string{"given"}, Host: "h1",
		Config:    []run.Item{item("vobs", `{"partial":false}`)},
		Rows:      []run.Row{{Time: started.Add(10 * time.Second), Items: []run.Item{item("vllm_gen/kv", "0.5")}}},
		Summary:   []run.Item{item("vllm_gen/kv", "0.5")},
		Files:     []run.File{{Name: "vobs-event.json", Content: []byte("{}\n")}},
		StartTime: started, Duration: 10 * time.Second, ExitCode: 7, Writer: "vobs 1.2.3",
	}
}

// job returns what a job's own run leaves behind.
func job(id string) run.Run {
	return run.Run{
		ID: id, Entity: "ent0", Project: "jobs", Group: "g", JobType: "train", Name: "a job", Notes: "n", Tags: []string{"t1"}, Host: "h0",
		Config:    []run.Item{item("lr", "0.1")},
		Rows:      []run.Row{{Time: started.Add(3 * time.Second), Items: []run.Item{item("loss", "2")}}, {Time: started.Add(4 * time.Second), Items: []run.Item{item("loss", "1")}}},
		Summary:   []run.Item{item("loss", "1"), item("best", "NaN")},
		StartTime: started.Add(2 * time.Second), Duration: 4 * time.Second, ExitCode: 3, Writer: "0.31.0",
	}
}

// put writes a run's file as the SDK does.
func put(t testing.TB, wandbDir, dir string, r run.Run, earlier *transactionlog.Previous) string {
	t.Helper()
	path := filepath.Join(wandbDir, dir)
	if err := os.MkdirAll(path, 0o777); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(path, logName(r.ID)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := transactionlog.Write(f, &r, earlier); err != nil {
		t.Fatal(err)
	}
	return path
}

func find(t testing.TB, wandbDir, id string) *JobLog {
	t.Helper()
	j, err := Find(t.Context(), wandbDir, id)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func write(t testing.TB, wandbDir string, r run.Run, o Options) *Written {
	t.Helper()
	o.Now = now
	w, err := Write(wandbDir, r, o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func texts(items []run.Item) map[string]string {
	out := map[string]string{}
	for _, i := range items {
		out[i.Key] = string(i.JSON)
	}
	return out
}

// tree lists everything below a directory.
func tree(t testing.TB, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && path != dir {
			rel, _ := filepath.Rel(dir, path)
			out = append(out, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDir(t *testing.T) {
	root := t.TempDir()
	if got, want := Dir(root), filepath.Join(root, "wandb"); got != want {
		t.Errorf("Dir = %s, want %s", got, want)
	}
	if err := os.Mkdir(filepath.Join(root, ".wandb"), 0o777); err != nil {
		t.Fatal(err)
	}
	if got, want := Dir(root), filepath.Join(root, ".wandb"); got != want {
		t.Errorf("with .wandb: Dir = %s, want %s", got, want)
	}
	if got := Dir(""); got != "wandb" {
		t.Errorf("Dir(\"\") = %s", got)
	}
}

func TestNewRun(t *testing.T) {
	wandbDir := filepath.Join(t.TempDir(), "a b", "wandb")
	w := write(t, wandbDir, event(), Options{})
	const name = "offline-run-20261122_235958-019aa8f2-6c1e-7b6a"
	want := &Written{Path: filepath.Join(wandbDir, name), RunID: "019aa8f2-6c1e-7b6a", Sync: "wandb sync '" + filepath.Join(wandbDir, name) + "'"}
	if diff := cmp.Diff(want, w); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		name, name + "/files", name + "/files/vobs-event.json", name + "/run-019aa8f2-6c1e-7b6a.wandb",
	}, tree(t, wandbDir)); diff != "" {
		t.Errorf("the wandb directory (-want +got):\n%s", diff)
	}
	if b, err := os.ReadFile(filepath.Join(w.Path, "files", "vobs-event.json")); err != nil || string(b) != "{}\n" {
		t.Errorf("the event is %q, %v", b, err)
	}
	j := find(t, wandbDir, w.RunID)
	if j == nil || j.Err != nil || !j.Offline || j.Log.ID != w.RunID || j.Log.Project != "given" || j.LastStep != 0 || j.Log.ExitCode != 7 {
		t.Errorf("read back: %+v", j)
	}

	// The same run again in the same second: the name is taken, and the first directory stays as it is.
	for _, suffix := range []string{"-1", "-2"} {
		if w := write(t, wandbDir, event(), Options{}); w.Path != filepath.Join(wandbDir, name+suffix) {
			t.Errorf("again: %s, want …%s", w.Path, suffix)
		}
	}
	if j := find(t, wandbDir, w.RunID); len(j.Unsynced) != 3 || filepath.Dir(j.Path) != filepath.Join(wandbDir, name+"-2") {
		t.Errorf("three directories: found %q, newest %s", j.Unsynced, j.Path)
	}
}

func TestJobsOfflineRunIsContinued(t *testing.T) {
	wandbDir := t.TempDir()
	jobDir := put(t, wandbDir, "offline-run-20261122_100002-job1", job("job1"), nil)
	w := write(t, wandbDir, event(), Options{JobID: "job1", Job: find(t, wandbDir, "job1")})
	if w.RunID != "job1" || w.Sync != "wandb sync "+jobDir+" "+w.Path || len(w.Notes) != 1 || !strings.Contains(w.Notes[0], "both") {
		t.Errorf("%+v", w)
	}
	l := find(t, wandbDir, "job1").Log
	if l.ID != "job1" || l.Entity != "ent0" || l.Project != "jobs" || l.Group != "g" || l.JobType != "train" || l.Name != "a job" || l.Notes != "n" || l.Host != "h0" || !slices.Equal(l.Tags, []string{"t1"}) {
		t.Errorf("the run's own properties are lost: %+v", l)
	}
	if l.FirstStep != 2 || l.LastStep != 2 || l.Rows != 1 || l.ExitCode != 3 {
		t.Errorf("steps %d to %d, %d rows, exit code %d: want step 2 and the job's 3", l.FirstStep, l.LastStep, l.Rows, l.ExitCode)
	}
	if diff := cmp.Diff(map[string]string{"lr": "0.1", "vobs": `{"partial":false}`}, texts(l.Config)); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	want := map[string]string{"loss": "1", "best": "NaN", "vllm_gen/kv": "0.5", "_step": "2", "_runtime": "8", "_timestamp": "1795341610", "_wandb": `{"runtime":8}`}
	if diff := cmp.Diff(want, texts(l.Summary)); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
	if !l.Started.After(started.Add(2 * time.Second)) {
		t.Errorf("it would be synced before that of the job: %v", l.Started)
	}

	// Again, for a second event: it comes after both, which are not synced yet.
	again := write(t, wandbDir, event(), Options{JobID: "job1", Job: find(t, wandbDir, "job1")})
	if l := find(t, wandbDir, "job1").Log; l.FirstStep != 3 || again.Sync != "wandb sync "+jobDir+" "+w.Path+" "+again.Path {
		t.Errorf("again: step %d, %s", l.FirstStep, again.Sync)
	}
}

func TestSyncedRunsAreNotNamed(t *testing.T) {
	wandbDir := t.TempDir()
	for name, dir := range map[string]string{
		"synced": put(t, wandbDir, "offline-run-20261122_100002-job1", job("job1"), nil),
		"online": put(t, wandbDir, "run-20261122_100002-job2", job("job2"), nil),
	} {
		id := "job2"
		if name == "synced" {
			id = "job1"
			if err := os.WriteFile(filepath.Join(dir, "run-job1.wandb.synced"), nil, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		w := write(t, wandbDir, event(), Options{JobID: id, Job: find(t, wandbDir, id)})
		if w.RunID != id || w.Sync != "wandb sync "+w.Path || len(w.Notes) != 0 {
			t.Errorf("%s: %+v", name, w)
		}
	}
}

func TestJobsRunMustNotBeChanged(t *testing.T) {
	cut := func(path string, n int64) {
		info, err := os.Stat(path)
		if err == nil {
			err = os.Truncate(path, info.Size()-n)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		prepare      func(wandbDir string)
		why          string
		keepsProject bool
		group, want  string
	}{
		"no file":              {prepare: func(string) {}, why: "left no file", want: "job1"},
		"no file, and a group": {prepare: func(string) {}, why: "in the group mine", group: "mine", want: "mine"},
		"damaged": {prepare: func(d string) {
			path := filepath.Join(put(t, d, "offline-run-20261122_100002-job1", job("job1"), nil), "run-job1.wandb")
			cut(path, 3)
		}, why: "cannot be read to its end (at byte", keepsProject: true, want: "job1"},
		"not ended": {prepare: func(d string) {
			path := filepath.Join(put(t, d, "offline-run-20261122_100002-job1", job("job1"), nil), "run-job1.wandb")
			cut(path, 28) // exit and final: records of 9 and 5 bytes, with 7 before each
		}, why: "has not ended", keepsProject: true, want: "job1"},
		"resumed online": {prepare: func(d string) {
			put(t, d, "run-20261122_100002-job1", job("job1"), &transactionlog.Previous{NextStep: 5, Started: started})
		}, why: "resumed", keepsProject: true, want: "job1"},
		"perhaps resumed online": {prepare: func(d string) {
			dir := put(t, d, "run-20261122_100002-job1", job("job1"), nil)
			addResume(t, filepath.Join(dir, "run-job1.wandb"))
		}, why: "may have been resumed", keepsProject: true, want: "job1"},
		"another run's file": {prepare: func(d string) {
			from := put(t, d, "offline-run-20261122_100002-other", job("other"), nil)
			to := filepath.Join(d, "offline-run-20261122_100003-job1")
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(to, "run-other.wandb"), filepath.Join(to, "run-job1.wandb")); err != nil {
				t.Fatal(err)
			}
		}, why: "does not name its run", want: "job1"},
	} {
		wandbDir := t.TempDir()
		c.prepare(wandbDir)
		r := event()
		r.Group = c.group
		w := write(t, wandbDir, r, Options{JobID: "job1", Job: find(t, wandbDir, "job1")})
		if len(w.Notes) != 1 || !strings.Contains(w.Notes[0], c.why) || w.RunID != r.ID || w.Sync != "wandb sync "+w.Path {
			t.Errorf("%s: %+v, want a run of its own, for %q", name, w, c.why)
		}
		l := find(t, wandbDir, r.ID).Log
		if l.Group != c.want || l.ExitCode != 7 || l.FirstStep != 0 || len(l.Config) != 1 {
			t.Errorf("%s: group %q, exit code %d, step %d, config %v", name, l.Group, l.ExitCode, l.FirstStep, l.Config)
		}
		if project := map[bool]string{true: "jobs", false: "given"}[c.keepsProject]; l.Project != project {
			t.Errorf("%s: in the project %q, want %q", name, l.Project, project)
		}
	}
}

// addResume adds resume="allow" to a run's file, as the SDK does.
func addResume(t testing.TB, path string) {
	t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := transactionlog.NewWriter(&out)
	r := transactionlog.NewReader(bytes.NewReader(file))
	for {
		b, err := r.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			// A repeated message is merged: field 17 is the run, field 24 in it is resume.
			if bytes.Contains(b, []byte("a job")) {
				b = append(bytes.Clone(b), 17<<3&0x7f|2|0x80, 17>>4, 3, 24<<3&0x7f|0x80, 24>>4, 1)
			}
			err = w.Append(b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, out.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
}

func TestResumedOfflineRunsAreComplete(t *testing.T) {
	// Offline, the SDK ignores resume=, and a file may begin with any step.
	wandbDir := t.TempDir()
	put(t, wandbDir, "offline-run-20261122_100002-job1", job("job1"), &transactionlog.Previous{NextStep: 5, Started: started})
	if w := write(t, wandbDir, event(), Options{JobID: "job1", Job: find(t, wandbDir, "job1")}); w.RunID != "job1" {
		t.Errorf("%+v", w)
	}
}

func TestFindReturnsTheNewestFile(t *testing.T) {
	wandbDir := t.TempDir()
	newer := job("job1")
	newer.StartTime, newer.Rows, newer.ExitCode = newer.StartTime.Add(time.Hour), newer.Rows[:1], 0
	old := put(t, wandbDir, "offline-run-20261122_100002-job1", job("job1"), nil)
	put(t, wandbDir, "run-20261122_110002-job1-2", job("job1"), nil)
	put(t, wandbDir, "run-20261122_110002-job1-10", newer, nil)
	// Directories of other runs, and of no run.
	put(t, wandbDir, "run-20261122_230002-job1-x", job("job1"), nil)
	put(t, wandbDir, "run-20261122_230002-job11", job("job11"), nil)
	put(t, wandbDir, "run-20261122_230002-my-job1", job("job1"), nil)
	put(t, wandbDir, "trun-20261122_230002-job1", job("job1"), nil)
	for _, dir := range []string{"run-20261122_230003-job1", "run-20261122_230004-job1/run-job1.wandb", "run-", "offline-run-1-job1"} {
		if err := os.MkdirAll(filepath.Join(wandbDir, dir), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	pipe := filepath.Join(wandbDir, "run-20261122_230003-job1", "run-job1.wandb")
	if err := syscall.Mkfifo(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("run-20261122_110002-job1-10", filepath.Join(wandbDir, "latest-run")); err != nil {
		t.Fatal(err)
	}
	j := find(t, wandbDir, "job1")
	if want := filepath.Join(wandbDir, "run-20261122_110002-job1-10", "run-job1.wandb"); j == nil || j.Path != want {
		t.Fatalf("found %+v, want %s", j, want)
	}
	if j.Offline || j.Log.Rows != 1 || j.LastStep != 1 || !j.Started.Equal(started.Add(2*time.Second)) || !slices.Equal(j.Unsynced, []string{old}) {
		t.Errorf("offline %t, %d rows, last step %d of all, began %v, unsynced %q", j.Offline, j.Log.Rows, j.LastStep, j.Started, j.Unsynced)
	}
	if j := find(t, wandbDir, "nobody"); j != nil {
		t.Errorf("a run that left nothing: %+v", j)
	}
	if j := find(t, filepath.Join(wandbDir, "missing"), "job1"); j != nil {
		t.Errorf("no wandb directory: %+v", j)
	}
	// An id is not a pattern.
	if j := find(t, wandbDir, "job*"); j != nil {
		t.Errorf("job*: %+v", j)
	}
}

func TestFindContext(t *testing.T) {
	wandbDir := t.TempDir()
	put(t, wandbDir, "run-20261122_110002-job1", job("job1"), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if j, err := Find(ctx, wandbDir, "job1"); !errors.Is(err, context.Canceled) || j != nil {
		t.Errorf("%+v, %v", j, err)
	}
	// The context ends within a file, too: those of long runs are large.
	if _, err := (contextReader{ctx, strings.NewReader("x")}).Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("reading: %v", err)
	}
	if _, err := Find(t.Context(), filepath.Join(wandbDir, "run-20261122_110002-job1", "run-job1.wandb"), "job1"); err == nil {
		t.Error("a wandb directory that is a file: no error")
	}
}

func TestUnwritableWandbDirectory(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	w := write(t, filepath.Join(file, "wandb"), event(), Options{})
	if !strings.HasPrefix(w.Path, temp+"/wandb-") || len(w.Notes) != 1 || !strings.Contains(w.Notes[0], filepath.Dir(w.Path)) || w.Sync != "wandb sync "+w.Path {
		t.Errorf("%+v", w)
	}
	if j := find(t, filepath.Dir(w.Path), w.RunID); j == nil || j.Err != nil {
		t.Errorf("the run is missing: %+v", j)
	}

	t.Setenv("TMPDIR", filepath.Join(file, "tmp"))
	if w, err := Write(filepath.Join(file, "wandb"), event(), Options{Now: now}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("nowhere: %+v, %v", w, err)
	}
}

func TestFailureLeavesNothing(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	for name, change := range map[string]func(*run.Run){
		"a file outside":       func(r *run.Run) { r.Files = append(r.Files, run.File{Name: "../x"}) },
		"an absolute file":     func(r *run.Run) { r.Files = append(r.Files, run.File{Name: "/tmp/x"}) },
		"a file twice":         func(r *run.Run) { r.Files = append(r.Files, r.Files[0]) },
		"a file that is a dir": func(r *run.Run) { r.Files = append(r.Files, run.File{Name: "vobs-event.json/x"}) },
		"an id with a slash":   func(r *run.Run) { r.ID = "../../x" },
		"no id":                func(r *run.Run) { r.ID = "" },
	} {
		wandbDir := t.TempDir()
		r := event()
		change(&r)
		if w, err := Write(wandbDir, r, Options{Now: now}); err == nil {
			t.Errorf("%s: written to %s", name, w.Path)
		}
		if left := append(tree(t, wandbDir), tree(t, temp)...); len(left) > 0 {
			t.Errorf("%s: left %q", name, left)
		}
	}
}

func TestFilesInDirectories(t *testing.T) {
	r := event()
	r.Files = append(r.Files, run.File{Name: "a/b.txt", Content: []byte("b")})
	w := write(t, t.TempDir(), r, Options{})
	if b, err := os.ReadFile(filepath.Join(w.Path, "files", "a", "b.txt")); err != nil || string(b) != "b" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{"/a/b-c_1.d": "/a/b-c_1.d", "/a b": "'/a b'", "/it's": `'/it'\''s'`, "$(x)": "'$(x)'", "": "''", "ü": "'ü'"} {
		if got := shellQuote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
}
