package nsys_test

import (
	"bytes"
	"database/sql"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/trace"
	"github.com/vobs/vobs/internal/trace/nsys"
)

func near(t testing.TB, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-12 {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// The figures of real exports, as SQL and Python give them.
func TestFiles(t *testing.T) {
	for _, c := range []struct {
		file                                               string
		device                                             int
		kernel, busy, span, communication, exposed, memory float64
		communicationKernels, memoryKernels                int64
	}{
		{"h100_nccl.sqlite", 0, 13614556, 13757404, 14136539, 619680, 619680, 142848, 1, 33},
		{"h100_nccl.sqlite", 1, 13470234, 13612666, 14195481, 254752, 254752, 142432, 1, 33},
		{"rtx3080.sqlite", 0, 4129, 5761, 22453059, 0, 0, 1632, 0, 1},
	} {
		d := analyze(t, filepath.Join("../../../testdata/traces/nsys", c.file)).Devices[c.device]
		near(t, "kernels", d.KernelBusySeconds, c.kernel/1e9)
		near(t, "busy", d.BusySeconds, c.busy/1e9)
		near(t, "span", d.SpanSeconds, c.span/1e9)
		near(t, "communication", d.Classes["communication"].Seconds, c.communication/1e9)
		near(t, "exposed", d.ExposedCommunicationSeconds, c.exposed/1e9)
		near(t, "memory", d.Classes["memory"].Seconds, c.memory/1e9)
		if d.Classes["communication"].Kernels != c.communicationKernels || d.Classes["memory"].Kernels != c.memoryKernels {
			t.Errorf("%s, device %d: %+v", c.file, c.device, d.Classes)
		}
		if g := d.Gaps.Longest[0]; g.Cause == trace.Unknown || g.CPU == nil {
			t.Errorf("%s, device %d: longest gap %+v", c.file, c.device, g)
		}
	}
}

// database writes a database with SQL.
func database(t testing.TB, statements ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "50%? #1.sqlite")
	db, err := sql.Open("sqlite", filepath.Join(filepath.Dir(file), "x"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	if err := errors.Join(db.Close(), os.Rename(filepath.Join(filepath.Dir(file), "x"), file)); err != nil {
		t.Fatal(err)
	}
	return file
}

const (
	stringIDs = `CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT)`
	someIDs   = `INSERT INTO StringIds VALUES (1, 'flash_fwd_kernel'), (2, 'cudaLaunchKernel_v7000'), (3, 'execute_context_0(0)_generation_4(4)'), (4, NULL)`
	// As nsys 2019 wrote it: every column NOT NULL, few of them.
	oldKernels = `CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INT, end INT, deviceId INT, contextId INT, streamId INT, correlationId INT, shortName INT)`
)

// Exports of other versions, and what only some of them have.
func TestSchemas(t *testing.T) {
	old := database(t, stringIDs, someIDs, oldKernels,
		`INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (1000, 1500, 2, 1, 7, 9, 1), (3000, 3100, 2, 1, 7, 10, 99), (NULL, 5, 2, 1, 7, 0, 1), ('x', 7, 2, 1, 7, 0, 1)`,
		`CREATE TABLE TARGET_INFO_CUDA_GPU (id INT, name TEXT)`, `INSERT INTO TARGET_INFO_CUDA_GPU VALUES (2, 'Tesla T4')`,
		`CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INT, end INT, globalTid INT, correlationId INT, nameId INT)`,
		`INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (2000, 2900, 16777217, 10, 2)`)
	d := analyze(t, old).Devices[0]
	if d.Name != "Tesla T4" || d.Classes["attention"].Kernels != 2 || d.Classes["other"].Kernels != 1 {
		t.Errorf("old: %+v", d)
	}
	if g := d.Gaps.Longest[0]; g.Cause != trace.LateLaunch || g.CPU == nil || g.CPU.Name != "cudaLaunchKernel" || g.Before != "(unknown)" {
		t.Errorf("old: %+v, %+v", g, g.CPU)
	}

	// Two processes that see one GPU each: for both it is device 0.
	r := analyze(t, database(t, stringIDs, someIDs,
		`CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INT, end INT, deviceId INT, streamId INT, correlationId INT, globalPid INT, demangledName INT, shortName INT)`,
		`INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (0, 10, 0, 7, 5, 100 << 24, 1, 1), (0, 30, 0, 7, 5, 200 << 24, 1, 1)`,
		`CREATE TABLE TARGET_INFO_CUDA_DEVICE (gpuId INT, cudaId INT, pid INT)`, `INSERT INTO TARGET_INFO_CUDA_DEVICE VALUES (4, 0, 100), (5, 0, 200)`,
		`CREATE TABLE CUPTI_ACTIVITY_KIND_GRAPH_TRACE (start INT, end INT, deviceId INT, streamId INT, globalPid INT, graphId INT)`,
		`INSERT INTO CUPTI_ACTIVITY_KIND_GRAPH_TRACE VALUES (50, 90, 0, 7, 200 << 24, 3)`,
		`CREATE TABLE NVTX_EVENTS (start INT, end INT, text TEXT, globalTid INT, textId INT)`,
		`INSERT INTO NVTX_EVENTS VALUES (0, 20, NULL, 5, 3), (40, 60, 'execute_context_1(7)_generation_0(0)', 5, NULL), (100, NULL, 'mark', 5, NULL)`))
	if len(r.Devices) != 2 || r.Devices[0].Device != 4 || r.Devices[1].Device != 5 {
		t.Fatalf("masked: %+v", r.Devices)
	}
	near(t, "graph", r.Devices[1].BusySeconds, 70e-9)
	if len(r.Steps) != 2 || r.Steps[0].Kind != trace.Prefill || r.Steps[1].Kind != trace.Decode {
		t.Errorf("steps: %+v", r.Steps)
	}
	if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, "--cuda-graph-trace=node") || !strings.Contains(notes, "steps are those of the CPU") {
		t.Errorf("notes: %q", notes)
	}

	// Without kernels it is no error.
	r = analyze(t, database(t, stringIDs, `CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INT, end INT, nameId INT)`))
	if len(r.Devices) != 0 || len(r.Notes) != 2 {
		t.Errorf("no kernels: %+v", r)
	}
}

func TestNoExport(t *testing.T) {
	c := trace.NewCollector("f", trace.DefaultClasses())
	if err := nsys.Read(database(t, `CREATE TABLE t (x)`), c); !errors.Is(err, nsys.ErrNoExport) {
		t.Errorf("another database: %v", err)
	}
	missing := filepath.Join(t.TempDir(), "missing.sqlite")
	if err := nsys.Read(missing, c); err == nil {
		t.Error("no file: no error")
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("the file was made")
	}
	// A view is not evaluated.
	endless := `CREATE VIEW CUPTI_ACTIVITY_KIND_KERNEL AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) SELECT x AS start, x AS end, x AS deviceId, x AS shortName FROM n`
	if err := nsys.Read(database(t, stringIDs, endless), c); err != nil {
		t.Errorf("a view: %v", err)
	}
}

// FuzzRead changes a database: the reader ends with an error or a result.
func FuzzRead(f *testing.F) {
	small, err := os.ReadFile(database(f, stringIDs, someIDs, oldKernels,
		`INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (1000, 1500, 2, 1, 7, 9, 1), (3000, 3100, 2, 1, 7, 10, 99)`))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint16(0), []byte{})
	f.Add(uint16(100), []byte{0xff, 0xff})
	f.Add(uint16(4096), []byte{0x0d, 0, 0, 0, 9, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, at uint16, change []byte) {
		data := bytes.Clone(small)
		copy(data[min(int(at), len(data)):], change)
		file := filepath.Join(t.TempDir(), "x.sqlite")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		c := trace.NewCollector("x", trace.DefaultClasses())
		if nsys.Read(file, c) != nil {
			return
		}
		r := trace.NewResult()
		if gaps := trace.NewGapFinder(r.Add(c)); gaps != nil && nsys.ReadCPU(file, gaps) == nil {
			gaps.Finish()
		}
		trace.CheckResult(t.Errorf, r)
	})
}
