package plugin

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vobs/vobs/internal/vllm/config"
)

func makeFolder(t *testing.T) Folder {
	t.Helper()
	f, err := Write(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestWrite(t *testing.T) {
	f := makeFolder(t)
	for _, name := range []string{"vobs_instrument.py", "vobs_instrument-1.dist-info/METADATA", "vobs_instrument-1.dist-info/entry_points.txt"} {
		got, err := os.ReadFile(filepath.Join(f.plugin(), name))
		want, _ := os.ReadFile(filepath.Join("plugin", name))
		if err != nil || len(want) == 0 || string(got) != string(want) {
			t.Error(name, err)
		}
	}
	if info, err := os.Stat(f.reports()); err != nil || info.Mode() != os.ModeDir|0o700 {
		t.Error(info, err)
	}
	if r := f.Read(); len(r.Processes) != 0 || len(r.Problems) != 0 {
		t.Error(r)
	}
}

func TestWriteFails(t *testing.T) {
	if f, err := Write(filepath.Join(t.TempDir(), "gone")); err == nil || f.Dir != "" {
		t.Error(f, err)
	}
}

func TestEnviron(t *testing.T) {
	f := Folder{Dir: "/d"}
	for _, c := range []struct {
		name      string
		env, want []string
		stats     bool
	}{
		{"nothing set", []string{"A=1"}, []string{"A=1", "PYTHONPATH=/d/plugin", "VOBS_INSTRUMENT_DIR=/d/reports"}, false},
		{"statistics", nil, []string{"PYTHONPATH=/d/plugin", "VOBS_INSTRUMENT_DIR=/d/reports", "VOBS_INSTRUMENT_STATS=1"}, true},
		// An empty PYTHONPATH counts as unset; an empty element would be the working directory.
		{"empty path", []string{"PYTHONPATH="}, []string{"PYTHONPATH=/d/plugin", "VOBS_INSTRUMENT_DIR=/d/reports"}, false},
		{"path", []string{"PYTHONPATH=/a:/b", "PYTHONPATH=/second"}, []string{"PYTHONPATH=/d/plugin:/a:/b", "VOBS_INSTRUMENT_DIR=/d/reports"}, false},
		{"no plugins", []string{"VLLM_PLUGINS="}, []string{"PYTHONPATH=/d/plugin", "VLLM_PLUGINS=vobs", "VOBS_INSTRUMENT_DIR=/d/reports"}, false},
		{"other plugins", []string{"VLLM_PLUGINS=a,b"}, []string{"PYTHONPATH=/d/plugin", "VLLM_PLUGINS=a,b,vobs", "VOBS_INSTRUMENT_DIR=/d/reports"}, false},
		{"named already", []string{"VLLM_PLUGINS=vobs,b"}, []string{"PYTHONPATH=/d/plugin", "VLLM_PLUGINS=vobs,b", "VOBS_INSTRUMENT_DIR=/d/reports"}, false},
		// Set by a vobs around this one.
		{"nested", []string{"VOBS_INSTRUMENT_DIR=/x", "VOBS_INSTRUMENT_STATS=1"}, []string{"PYTHONPATH=/d/plugin", "VOBS_INSTRUMENT_DIR=/d/reports"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := slices.Clone(c.env)
			if got := f.Environ(c.env, c.stats); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if !slices.Equal(before, c.env) {
				t.Error("Environ changed its argument")
			}
		})
	}
}

// TestPluginReadsAllSettings checks that the plugin's CONFIG has every setting that package
// config reads, except the one that a core does not know.
func TestPluginReadsAllSettings(t *testing.T) {
	source, err := plugin.ReadFile("plugin/vobs_instrument.py")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(source), "\nCONFIG = {")
	table, _, ok := strings.Cut(table, "\n}\n")
	if !ok {
		t.Fatal("the plugin has no table CONFIG")
	}
	for _, path := range config.Paths() {
		section, field, _ := strings.Cut(path, ".")
		_, fields, found := strings.Cut(table, `"`+section+`": (`)
		fields, _, _ = strings.Cut(fields, "\n    \"")
		if listed := found && strings.Contains(fields, `"`+field+`"`); listed == (path == "parallel_config.data_parallel_size") {
			t.Errorf("%s: in CONFIG: %v", path, listed)
		}
	}
}

const fullReport = `{"format":1,"pid":7,"ppid":6,"python":"3.11.7","vllm":"0.32.0","hooks":[{"name":"A.b","state":"found","error":null},{"name":"C.d","state":"failed","error":"TypeError: x\ny"}],
"stats_forced":1,"data_parallel_sizes":[2],"cores":[{"class":"EngineCoreProc","index":1,"phase":"ready","config":{"a":1},"live":{},"missing":["scheduler.x"]}],
"worker":{"rank":3,"cuda_visible_devices":null,"cuda":"initialized","devices":[{"index":0,"uuid":null,"max_allocated_bytes":5,"max_reserved_bytes":6}],"attention_backends":["m.C"]}}`

func TestRead(t *testing.T) {
	f := makeFolder(t)
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(f.reports(), name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("process-7-1.json", fullReport)
	write(".process-8-1.json.tmp", "{") // its process was killed while writing
	write("other.json", fullReport)
	bad := map[string]string{
		"process-1-cut.json":     fullReport[:len(fullReport)/2],
		"process-1-empty.json":   "",
		"process-1-list.json":    "[]",
		"process-1-null.json":    "null",
		"process-1-format.json":  strings.Replace(fullReport, `"format":1`, `"format":2`, 1),
		"process-1-pid.json":     strings.Replace(fullReport, `"pid":7`, `"pid":-7`, 1),
		"process-1-bytes.json":   strings.Replace(fullReport, `"max_allocated_bytes":5`, `"max_allocated_bytes":-5`, 1),
		"process-1-more.json":    strings.Replace(fullReport, `"max_allocated_bytes":5`, `"max_allocated_bytes":50`, 1),
		"process-1-float.json":   strings.Replace(fullReport, `"max_allocated_bytes":5`, `"max_allocated_bytes":5.5`, 1),
		"process-1-huge.json":    strings.Replace(fullReport, `"max_reserved_bytes":6`, `"max_reserved_bytes":9e17`, 1),
		"process-1-deep.json":    strings.Repeat("[", 100000),
		"process-1-large.json":   `{"format":1,"pid":7,"vllm":"` + strings.Repeat("x", maxFile) + `"}`,
		"process-1-padded.json":  fullReport + strings.Repeat(" ", maxFile),
		"process-1-strings.json": strings.Replace(fullReport, `"rank":3`, `"rank":"3"`, 1),
	}
	for name, text := range bad {
		write(name, text)
	}
	if err := os.Symlink("other.json", filepath.Join(f.reports(), "process-1-link.json")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(f.reports(), "process-1-pipe.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(f.reports(), "process-1-folder.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := f.Read()
	if len(r.Problems) != len(bad)+3 {
		t.Errorf("%d problems, want %d:\n%s", len(r.Problems), len(bad)+3, strings.Join(r.Problems, "\n"))
	}
	for name := range bad {
		if !slices.ContainsFunc(r.Problems, func(p string) bool { return strings.HasPrefix(p, name+": ") && len(p) > len(name)+5 }) {
			t.Errorf("no problem for %s", name)
		}
	}
	if len(r.Processes) != 1 {
		t.Fatal(r.Processes)
	}
	p := r.Processes[0]
	if p.PID != 7 || p.PPID != 6 || p.VLLM != "0.32.0" || p.StatsForced != 1 || p.DataParallelSizes[0] != 2 || p.Hooks[0].State != Found || p.Hooks[1].Error != "TypeError: x y" {
		t.Errorf("%+v", p)
	}
	if c := p.Cores[0]; c.Index != 1 || !c.Ready() || string(c.Config) != `{"a":1}` || c.Missing[0] != "scheduler.x" {
		t.Errorf("%+v", c)
	}
	w := p.Worker
	if *w.Rank != 3 || w.CUDA != "initialized" || w.VisibleDevices != nil || w.AttentionBackends[0] != "m.C" || w.Devices[0] != (Device{0, "", 5, 6}) {
		t.Errorf("%+v", w)
	}
}

func TestReadWithoutFolder(t *testing.T) {
	if r := (Folder{Dir: filepath.Join(t.TempDir(), "gone")}).Read(); len(r.Problems) != 1 || len(r.Processes) != 0 {
		t.Error(r)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(fullReport))
	f.Add([]byte(`{"format":1,"pid":1,"worker":{"rank":-1,"devices":[null]},"hooks":[null],"cores":[{}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parse(b)
		if err != nil {
			return
		}
		if p.PID <= 0 || len(p.Cores) > maxList || len(p.Hooks) > maxList {
			t.Fatalf("%+v", p)
		}
		for _, c := range p.Cores {
			_, _ = config.FromCore(c.Config, c.Live)
		}
		if p.Worker != nil {
			for _, d := range p.Worker.Devices {
				if d.MaxAllocatedBytes < 0 || d.MaxReservedBytes < d.MaxAllocatedBytes {
					t.Fatalf("%+v", d)
				}
			}
		}
	})
}
