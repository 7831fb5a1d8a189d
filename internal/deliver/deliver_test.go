package deliver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

const event = "{\"a\":1}\n"

// TestMain is also the process that writes an event to the target named in its
// arguments, with its own stdout.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && strings.HasPrefix(os.Args[1], "deliver-") {
		spec := Spec{File: os.Args[2]}
		if os.Args[1] == "deliver-append" {
			spec = Spec{Append: os.Args[2]}
		}
		o, err := Open(spec)
		if err == nil {
			fmt.Print("command's output\n")
			err = o.Write(context.Background(), []byte(event))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func open(t *testing.T, s Spec) *Output {
	t.Helper()
	o, err := Open(s)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "event.json")
	o := open(t, Spec{File: path})
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("Open left %v behind", entries)
	}
	if err := o.Write(context.Background(), []byte(event)); err != nil {
		t.Fatal(err)
	}
	if got := content(t, path); got != event {
		t.Errorf("file has %q", got)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("Write left %v behind", entries)
	}
}

func TestPartial(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "event.json")
	o := open(t, Spec{File: path})
	if !o.KeepsPartial() {
		t.Fatal("a file keeps no partial event")
	}
	for _, so := range []string{"{\"partial\":1}\n", "{\"partial\":2}\n"} {
		if err := o.WritePartial([]byte(so)); err != nil {
			t.Fatal(err)
		}
		if got := content(t, path+".partial"); got != so {
			t.Errorf("partial event %q", got)
		}
	}
	if err := o.Write(context.Background(), []byte(event)); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 || content(t, path) != event {
		t.Errorf("after the end: %v", entries)
	}
	if o := open(t, Spec{Append: filepath.Join(dir, "a")}); o.KeepsPartial() {
		t.Error("a file of many events has no place for a partial one")
	}
}

func TestFileKeepsModeAndLink(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "event.json"), filepath.Join(dir, "link")
	if err := os.WriteFile(path, []byte("old, and longer than the event"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("event.json", link); err != nil {
		t.Fatal(err)
	}
	if err := open(t, Spec{File: link}).Write(context.Background(), []byte(event)); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(link)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v %v", info, err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o640 || content(t, path) != event {
		t.Errorf("mode %v, content %q", info.Mode(), content(t, path))
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	locked := filepath.Join(dir, "locked")
	if err := os.WriteFile(locked, nil, 0o400); err != nil {
		t.Fatal(err)
	}
	specs := []Spec{
		{File: filepath.Join(dir, "nowhere", "event.json")},
		{File: dir},
		{Append: filepath.Join(dir, "nowhere", "events.jsonl")},
		{Append: dir},
		{Append: "/dev/null"},
		{File: "a", Append: "b"},
	}
	if os.Getuid() != 0 { // root may write anything
		specs = append(specs, Spec{File: locked}, Spec{Append: locked})
	}
	for _, s := range specs {
		if _, err := Open(s); err == nil {
			t.Errorf("%+v was accepted", s)
		}
	}
}

func TestDirectoryVanishes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	o := open(t, Spec{File: filepath.Join(dir, "event.json")})
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := o.Write(context.Background(), []byte(event)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	o := open(t, Spec{File: path})
	if err := o.Write(context.Background(), []byte(event)); !errors.Is(err, unix.ENXIO) {
		t.Errorf("without a reader: %v", err)
	}
	read := make(chan string)
	go func() {
		b, err := os.ReadFile(path)
		read <- fmt.Sprint(string(b), err)
	}()
	if err := o.Write(context.Background(), []byte(event)); err != nil {
		t.Fatal(err)
	}
	if got := <-read; got != event+"<nil>" {
		t.Errorf("read %q", got)
	}
}

// Nobody can prepare the name of the temporary file, and it is no longer than any other.
func TestTemporaryName(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	name := strings.Repeat("n", maxName)
	o := open(t, Spec{File: filepath.Join(dir, name)})
	if o.KeepsPartial() {
		t.Error("a partial event's name would be too long")
	}
	for _, link := range []string{".vobs", fmt.Sprintf(".%s.%d.vobs", name[:200], os.Getpid())} {
		if err := os.Symlink(victim, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.Write(context.Background(), []byte(event)); err != nil || content(t, filepath.Join(dir, name)) != event {
		t.Errorf("%v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 4 || content(t, victim) != "precious" {
		t.Errorf("left %v; the victim has %q", entries, content(t, victim))
	}
	names := map[string]bool{}
	for range 3 {
		f, err := createTemporary(dir)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		names[f.Name()] = true
	}
	if len(names) != 3 {
		t.Errorf("%v", names)
	}
}

// A file of the user's that happens to have the partial event's name is kept.
func TestForeignPartial(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		refused bool
	}{
		"notes":                  {"my notes\n", true},
		"other JSON":             {"{\"a\":1}\n", true},
		"half an event":          {"{\"peak_vram_gb\":1.5,", true},
		"an earlier run's event": {"{\"peak_vram_gb\":1.5,\"partial\":true}\n", false},
	} {
		path := filepath.Join(t.TempDir(), "e.json")
		if err := os.WriteFile(path+".partial", []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		o, err := Open(Spec{File: path})
		if (err != nil) != c.refused || err != nil && !strings.Contains(err.Error(), "is not a partial event: move it away") {
			t.Errorf("%s: %v", name, err)
		}
		if c.refused {
			if got := content(t, path+".partial"); got != c.content {
				t.Errorf("%s: %q is left", name, got)
			}
			continue
		}
		if err := o.Write(context.Background(), []byte(event)); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path + ".partial"); err == nil {
			t.Errorf("%s: it stays beside the whole event", name)
		}
	}
	path := filepath.Join(t.TempDir(), "e.json")
	if err := os.Symlink("elsewhere", path+".partial"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Spec{File: path}); err == nil || !strings.Contains(err.Error(), "is not a regular file") {
		t.Errorf("a link: %v", err)
	}
}

// An appended line that does not fit leaves nothing behind, unless others append too.
func TestAppendIsCutBack(t *testing.T) {
	const before = "{\"b\":1}\n"
	for _, c := range []struct{ mode, want string }{
		{"deliver-append-full", before},
		{"deliver-append-raced", before + "{\"a\":1}\n"[:4] + "\n"},
	} {
		path := filepath.Join(t.TempDir(), "events.jsonl")
		if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("{\"a\":1}\n"[:4]); err != nil {
			t.Fatal(err)
		}
		removeStump(f, int64(len(before)), 4, c.mode == "deliver-append-full")
		f.Close()
		if got := content(t, path); got != c.want {
			t.Errorf("%s: %q", c.mode, got)
		}
	}
}

// -o /dev/stdout into a file must not overwrite what the command wrote there.
func TestStdoutByName(t *testing.T) {
	for _, name := range []string{"/dev/stdout", "/proc/self/fd/1", "/dev/fd/1"} {
		path := filepath.Join(t.TempDir(), "out")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0], "deliver-file", name)
		cmd.Stdout, cmd.Stderr = f, os.Stderr
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if got := content(t, path); got != "command's output\n"+event {
			t.Errorf("%s: file has %q", name, got)
		}
	}
}

func TestAppend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	if err := os.WriteFile(path, []byte("{\"no\":\"newline\"}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := open(t, Spec{Append: path}).Write(context.Background(), []byte(event)); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := content(t, path), "{\"no\":\"newline\"}\n"+event+event; got != want {
		t.Errorf("file has %q, want %q", got, want)
	}
}

// The file of events may be replaced by a pipe while the command runs.
func TestAppendTargetReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	o := open(t, Spec{Append: path})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := o.Write(context.Background(), []byte(event)); err == nil || !strings.Contains(err.Error(), "it was replaced by something else than a regular file") {
		t.Errorf("%v", err)
	}
}

func TestConcurrentAppends(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if out, err := exec.Command(os.Args[0], "deliver-append", path).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	if got, want := content(t, path), strings.Repeat(event, 16); got != want {
		t.Errorf("file has %q", got)
	}
}

func TestExpand(t *testing.T) {
	t.Setenv("SLURM_PROCID", "")
	t.Setenv("RANK", "3")
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ExpandName("a-%h-%p-%i-%r-100%%-%%x", "ID")
	if want := fmt.Sprintf("a-%s-%d-ID-3-100%%-%%x", host, os.Getpid()); got != want || err != nil {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	for _, name := range []string{"%x", "a%", "%", "%é"} {
		if got, err := ExpandName(name, ""); err == nil {
			t.Errorf("%q becomes %q", name, got)
		}
	}
	t.Setenv("RANK", "../../etc")
	if got, err := ExpandName("%r", ""); got != "0" || err != nil {
		t.Errorf("rank %q, %v", got, err)
	}
}
