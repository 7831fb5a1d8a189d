package nsys

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	_ "modernc.org/sqlite" // the driver

	"github.com/vobs/vobs/internal/trace"
)

// Magic is how a SQLite file begins.
const Magic = "SQLite format 3\x00"

// ErrNoExport is returned for a database that nsys did not write.
var ErrNoExport = errors.New("not an export of Nsight Systems: no table StringIds")

// Names of tables.
const (
	kernelTable  = "CUPTI_ACTIVITY_KIND_KERNEL"
	graphTable   = "CUPTI_ACTIVITY_KIND_GRAPH_TRACE"
	copyTable    = "CUPTI_ACTIVITY_KIND_MEMCPY"
	setTable     = "CUPTI_ACTIVITY_KIND_MEMSET"
	runtimeTable = "CUPTI_ACTIVITY_KIND_RUNTIME"
	nvtxTable    = "NVTX_EVENTS"
	osTable      = "OSRT_API"
	stringTable  = "StringIds"
)

// Read passes the kernels, copies and steps of an export to c.
func Read(file string, c *trace.Collector) error {
	x, err := open(file)
	if err != nil {
		return err
	}
	defer x.db.Close()
	if err := x.readDevices(c); err != nil {
		return err
	}
	if err := x.readKernels(c); err != nil {
		return err
	}
	for table, name := range map[string]string{copyTable: "Memcpy", setTable: "Memset"} {
		if err := x.readMemory(c, table, name); err != nil {
			return err
		}
	}
	if err := x.readGraphs(c); err != nil {
		return err
	}
	if x.columns[kernelTable] == nil && x.columns[runtimeTable] != nil {
		c.Note("the export has calls of CUDA but no kernels: were they recorded with --trace=cuda, and did the process end?")
	}
	return x.eachCPU(func(e *trace.CPUEvent) {
		c.CountCPU()
		if trace.IsStep(e.Name) {
			c.AddStep(e.Start, e.End, e.Name)
		}
	}, nvtxTable)
}

// ReadCPU passes what the CPUs did to f: calls of CUDA and of the operating system, and ranges
// of NVTX.
func ReadCPU(file string, f *trace.GapFinder) error {
	x, err := open(file)
	if err != nil {
		return err
	}
	defer x.db.Close()
	return x.eachCPU(f.Add, runtimeTable, nvtxTable, osTable)
}

// An export is an open database.
type export struct {
	db      *sql.DB
	columns map[string]map[string]bool // by table
	devices map[deviceKey]int
}

// A deviceKey is a device as one process numbers it.
type deviceKey struct{ process, cuda int64 }

// open opens a database read-only.
func open(file string) (*export, error) {
	uri := "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(file) + "?mode=ro&_pragma=query_only(1)&_pragma=trusted_schema(0)"
	db, err := sql.Open("sqlite", uri)
	if err != nil {
		return nil, err
	}
	x := &export{db: db, columns: map[string]map[string]bool{}, devices: map[deviceKey]int{}}
	for _, table := range []string{kernelTable, graphTable, copyTable, setTable, runtimeTable, nvtxTable, osTable, stringTable, "TARGET_INFO_GPU", "TARGET_INFO_CUDA_GPU", "TARGET_INFO_CUDA_DEVICE"} {
		if err := x.readColumns(table); err != nil {
			_ = db.Close()
			return nil, err
		}
	}
	if x.columns[stringTable] == nil {
		_ = db.Close()
		return nil, ErrNoExport
	}
	return x, nil
}

// readColumns reads the names of a table's columns. A view is no table: nsys writes none.
func (x *export) readColumns(table string) error {
	return x.each("SELECT c.name FROM sqlite_schema AS t, pragma_table_info(t.name) AS c WHERE t.type = 'table' AND t.name = ?", []any{table}, func(row *sql.Rows) error {
		var name string
		if err := row.Scan(&name); err != nil {
			return err
		}
		if x.columns[table] == nil {
			x.columns[table] = map[string]bool{}
		}
		x.columns[table][name] = true
		return nil
	})
}

// each calls add for each row of a query.
func (x *export) each(query string, args []any, add func(*sql.Rows) error) error {
	rows, err := x.db.Query(query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := add(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// has reports whether a table has columns.
func (x *export) has(table string, columns ...string) bool {
	for _, c := range columns {
		if !x.columns[table][c] {
			return false
		}
	}
	return x.columns[table] != nil
}

// optional returns an expression for a column that not all versions export, as an integer.
func (x *export) optional(table, column string) string {
	if x.has(table, column) {
		return fmt.Sprintf("CAST(COALESCE(%q, 0) AS INTEGER)", column)
	}
	return "0"
}

// number returns an expression for a column as an integer, whatever it has.
func number(column string) string { return fmt.Sprintf("CAST(COALESCE(%q, 0) AS INTEGER)", column) }

// readDevices reads the names of the GPUs, and how each process numbers them.
func (x *export) readDevices(c *trace.Collector) error {
	for _, table := range []string{"TARGET_INFO_CUDA_GPU", "TARGET_INFO_GPU"} { // the first is of versions before 2021
		if !x.has(table, "id", "name") {
			continue
		}
		err := x.each(fmt.Sprintf("SELECT %s, CAST(name AS TEXT) FROM %s WHERE name IS NOT NULL", number("id"), table), nil, func(row *sql.Rows) error {
			var id int64
			var name string
			if err := row.Scan(&id, &name); err != nil {
				return err
			}
			c.NameDevice(int(id), name)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if !x.has("TARGET_INFO_CUDA_DEVICE", "gpuId", "cudaId", "pid") {
		return nil
	}
	return x.each(fmt.Sprintf("SELECT %s, %s, %s FROM TARGET_INFO_CUDA_DEVICE WHERE gpuId IS NOT NULL LIMIT 65536", number("pid"), number("cudaId"), number("gpuId")), nil, func(row *sql.Rows) error {
		var key deviceKey
		var gpu int64
		if err := row.Scan(&key.process, &key.cuda, &gpu); err != nil {
			return err
		}
		x.devices[key] = int(gpu)
		return nil
	})
}

// device returns the GPU that a process calls id.
func (x *export) device(globalPid, id int64) int {
	if gpu, ok := x.devices[deviceKey{process(globalPid), id}]; ok {
		return gpu
	}
	return int(int32(id))
}

// process returns the process of a serialized GlobalId, which has the thread in its lowest 24
// bits and the process in the 24 bits above.
func process(global int64) int64 { return global >> 24 & 0xffffff }

// correlation returns a number for a call: the calls of each process are counted apart, and old
// versions do not export the process of a kernel.
func (x *export) correlation(global, id int64) uint32 {
	if id == 0 {
		return 0
	}
	n := uint32(id)
	if x.has(kernelTable, "globalPid") {
		n ^= uint32(process(global) * 2654435761)
	}
	return max(n, 1)
}

// readKernels reads the kernels.
func (x *export) readKernels(c *trace.Collector) error {
	if !x.has(kernelTable, "start", "end", "deviceId") {
		return nil
	}
	name := "shortName"
	if x.has(kernelTable, "demangledName") {
		name = "demangledName"
	}
	if !x.has(kernelTable, name) {
		return fmt.Errorf("table %s has no names of kernels", kernelTable)
	}
	names, err := x.strings(kernelTable, name)
	if err != nil {
		return err
	}
	return x.readOps(c, kernelTable, number(name), func(op *trace.Op, id int64) {
		op.Name = names[id]
		if op.Name == nil {
			op.Name = []byte("(unknown)")
		}
	})
}

// strings returns the strings that a column refers to.
func (x *export) strings(table, column string) (map[int64][]byte, error) {
	out := map[int64][]byte{}
	err := x.each(fmt.Sprintf("SELECT id, CAST(value AS TEXT) FROM %s WHERE id IN (SELECT DISTINCT %q FROM %s) AND value IS NOT NULL", stringTable, column, table), nil, func(row *sql.Rows) error {
		var id int64
		var value sql.RawBytes
		if err := row.Scan(&id, &value); err != nil {
			return err
		}
		out[id] = bytes.Clone(value)
		return nil
	})
	return out, err
}

// kinds of copies, as CUpti_ActivityMemcpyKind numbers them.
var copyKinds = map[int64]string{1: "HtoD", 2: "DtoH", 3: "HtoA", 4: "AtoH", 5: "AtoA", 6: "AtoD", 7: "DtoA", 8: "DtoD", 9: "HtoH", 10: "PtoP"}

// readMemory reads copies or sets.
func (x *export) readMemory(c *trace.Collector, table, name string) error {
	if !x.has(table, "start", "end", "deviceId") {
		return nil
	}
	kind := x.optional(table, "copyKind")
	return x.readOps(c, table, kind, func(op *trace.Op, kind int64) {
		op.Memory, op.Name = true, []byte(name)
		if k := copyKinds[kind]; k != "" {
			op.Name = []byte(name + " " + k)
		}
	})
}

// readGraphs reads CUDA graphs that were recorded as a whole.
func (x *export) readGraphs(c *trace.Collector) error {
	if !x.has(graphTable, "start", "end", "deviceId") {
		return nil
	}
	graphs := false
	err := x.readOps(c, graphTable, x.optional(graphTable, "graphId"), func(op *trace.Op, graph int64) {
		graphs = true
		op.Name = fmt.Appendf(nil, "CUDA graph %d", graph)
	})
	if graphs {
		c.Note("CUDA graphs were recorded as a whole, which hides their kernels: they count as one kernel of the class other; record with --cuda-graph-trace=node")
	}
	return err
}

// readOps passes the rows of a table to the collector. set sets the name by a column.
func (x *export) readOps(c *trace.Collector, table, column string, set func(op *trace.Op, value int64)) error {
	query := fmt.Sprintf("SELECT %s, %s, %s, %s, %s, %s, %s FROM %s WHERE start IS NOT NULL AND \"end\" IS NOT NULL",
		number("start"), number("end"), number("deviceId"), x.optional(table, "streamId"), x.optional(table, "correlationId"), x.optional(table, "globalPid"), column, table)
	var op trace.Op
	return x.each(query, nil, func(row *sql.Rows) error {
		var device, call, pid, value int64
		op = trace.Op{}
		if err := row.Scan(&op.Start, &op.End, &device, &op.Stream, &call, &pid, &value); err != nil {
			return err
		}
		op.Start, op.End = bounded(op.Start), bounded(op.End)
		op.Device, op.Correlation = x.device(pid, device), x.correlation(pid, call)
		set(&op, value)
		c.Add(&op)
		return nil
	})
}

// bounded keeps times from overflowing: 126 years, in ns.
func bounded(ns int64) int64 { return min(max(ns, -4e18), 4e18) }

// eachCPU calls add with the events of the CPU in tables. What add gets is valid until it returns.
func (x *export) eachCPU(add func(*trace.CPUEvent), tables ...string) error {
	var e trace.CPUEvent
	for _, table := range tables {
		if !x.has(table, "start", "end") {
			continue
		}
		name, text := "nameId", "NULL"
		if table == nvtxTable {
			name = "textId"
			if x.has(table, "text") {
				text = "CAST(text AS TEXT)"
			}
		}
		names := map[int64][]byte{}
		if x.has(table, name) {
			var err error
			if names, err = x.strings(table, name); err != nil {
				return err
			}
			if table != nvtxTable {
				for id, text := range names {
					names[id] = withoutVersion(text)
				}
			}
		}
		call := "0"
		if table == runtimeTable {
			call = x.optional(table, "correlationId")
		}
		query := fmt.Sprintf("SELECT %s, %s, %s, %s, %s, %s FROM %s WHERE start IS NOT NULL AND \"end\" IS NOT NULL",
			number("start"), number("end"), x.optional(table, "globalTid"), call, x.optional(table, name), text, table)
		err := x.each(query, nil, func(row *sql.Rows) error {
			var tid, call, id int64
			var text sql.RawBytes
			if err := row.Scan(&e.Start, &e.End, &tid, &call, &id, &text); err != nil {
				return err
			}
			e.Start, e.End = bounded(e.Start), bounded(e.End)
			e.Thread = trace.Thread{Process: process(tid), Thread: tid & 0xffffff}
			e.Correlation = x.correlation(tid, call)
			if e.Name = text; len(text) == 0 {
				e.Name = names[id]
			}
			add(&e)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// withoutVersion removes the version of the function that nsys adds: cudaLaunchKernel_v7000.
func withoutVersion(name []byte) []byte {
	i := bytes.LastIndex(name, []byte("_v"))
	if i > 0 && len(name) > i+2 && len(bytes.Trim(name[i+2:], "0123456789")) == 0 {
		return name[:i]
	}
	return name
}
