package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const (
	// format is the plugin's FORMAT.
	format = 1
	// maxFile bounds one process's report; that of vLLM 0.32.0 has 3 kB.
	maxFile = 1 << 20
	// maxFiles bounds the number of files in the folder that are looked at.
	maxFiles = 4096
	// maxText bounds each text that is kept, in bytes; maxList bounds each list.
	maxText = 4 << 10
	maxList = 256
	// maxBytes is the largest integer that every JSON reader represents exactly.
	maxBytes = 1 << 53
)

// The states of a hook, as the plugin writes them.
const (
	// Waiting: the process has not imported the module.
	Waiting = "waiting"
	// Found: the hook is in place.
	Found = "found"
	// Missing: this version of vLLM does not have the name.
	Missing = "missing"
	// Failed: the hook failed; its Error has the reason.
	Failed = "failed"
)

// Report is everything that the plugin has written.
type Report struct {
	// Processes are those that loaded the plugin, in the order of their files' names.
	Processes []Process
	// Problems names the files that could not be read, with the reasons.
	Problems []string
}

// Process is the report of one process.
type Process struct {
	PID int `json:"pid"`
	// PPID is the parent's process ID when the report was written.
	PPID int `json:"ppid"`
	// VLLM is vLLM's version, or "" if unknown.
	VLLM string `json:"vllm"`
	// Hooks are the names in vLLM that the plugin looks up.
	Hooks []Hook `json:"hooks"`
	// StatsForced is the number of engines whose statistics the plugin switched on.
	StatsForced int `json:"stats_forced"`
	// DataParallelSizes are the different sizes in the configurations that the process made.
	DataParallelSizes []int64 `json:"data_parallel_sizes"`
	// Cores are the engine cores that ran in the process.
	Cores []Core `json:"cores"`
	// Worker is nil if the process has no worker.
	Worker *Worker `json:"worker"`
}

// Hook is the state of one name in vLLM.
type Hook struct {
	Name  string `json:"name"`
	State string `json:"state"`
	// Error is what is missing or what failed.
	Error string `json:"error"`
}

// Core is the configuration that one engine core reports.
type Core struct {
	// Index is its data-parallel rank.
	Index int `json:"index"`
	// Phase is "ready" once the core is initialized, and "kv_caches" before.
	Phase string `json:"phase"`
	// Config is a part of VllmConfig in the form of /server_info. Live is the limits that
	// the scheduler applies. Package config reads both.
	Config json.RawMessage `json:"config"`
	Live   json.RawMessage `json:"live"`
	// Missing are attributes of the scheduler that this version of vLLM does not have.
	Missing []string `json:"missing"`
}

// Ready reports whether Config is final: the core makes no further changes.
func (c Core) Ready() bool { return c.Phase == "ready" }

// Worker is what one worker reports.
type Worker struct {
	// Rank is the worker's rank in its engine, or nil if unknown.
	Rank *int `json:"rank"`
	// CUDA is "initialized", "not initialized", "not built", or "" if unknown.
	CUDA string `json:"cuda"`
	// VisibleDevices is the worker's CUDA_VISIBLE_DEVICES, or nil if it was not set.
	VisibleDevices *string `json:"cuda_visible_devices"`
	// Devices are those on which torch allocated memory.
	Devices []Device `json:"devices"`
	// AttentionBackends are the paths of the classes that the worker chose.
	AttentionBackends []string `json:"attention_backends"`
}

// Device holds the peaks of torch's allocator on one device.
type Device struct {
	// Index is torch's device index, which counts the devices that the worker sees.
	Index int `json:"index"`
	// UUID is the device's UUID without NVML's prefix "GPU-", or "" if torch does not
	// report it.
	UUID              string `json:"uuid"`
	MaxAllocatedBytes int64  `json:"max_allocated_bytes"`
	MaxReservedBytes  int64  `json:"max_reserved_bytes"`
}

// Read reads the reports that the plugin has written so far. The command's processes can
// write anything into the folder, so files that cannot be the plugin's become Problems.
func (f Folder) Read() Report {
	var r Report
	dir, err := os.Open(f.reports())
	if err != nil {
		r.Problems = append(r.Problems, fmt.Sprintf("reading the folder of reports: %v", err))
		return r
	}
	defer dir.Close()
	names, err := dir.Readdirnames(maxFiles)
	if err != nil && !errors.Is(err, io.EOF) {
		r.Problems = append(r.Problems, fmt.Sprintf("reading the folder of reports: %v", err))
	}
	slices.Sort(names)
	for _, name := range names {
		// A name that begins with a dot is a temporary file, which a killed process leaves behind.
		if !strings.HasPrefix(name, "process-") || !strings.HasSuffix(name, ".json") {
			continue
		}
		p, err := readFile(filepath.Join(f.reports(), name))
		if err != nil {
			r.Problems = append(r.Problems, clip(fmt.Sprintf("%s: %v", name, err)))
			continue
		}
		r.Processes = append(r.Processes, p)
	}
	return r
}

func readFile(path string) (Process, error) {
	// Do not follow links, and do not wait for the writer of a pipe.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		var e *fs.PathError
		if errors.As(err, &e) {
			err = e.Err
		}
		return Process{}, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return Process{}, errors.New("not a regular file")
	}
	b, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return Process{}, err
	}
	return parse(b)
}

// parse reads the report of one process. It refuses what the plugin cannot have written.
func parse(b []byte) (Process, error) {
	if len(b) > maxFile {
		return Process{}, fmt.Errorf("larger than %d bytes", maxFile)
	}
	var file struct {
		Format int `json:"format"`
		Process
	}
	if err := json.Unmarshal(b, &file); err != nil {
		return Process{}, fmt.Errorf("not a report, or cut off: %w", err)
	}
	p := file.Process
	switch {
	case file.Format != format:
		return Process{}, fmt.Errorf("format %d, want %d", file.Format, format)
	case p.PID <= 0:
		return Process{}, fmt.Errorf("impossible process ID %d", p.PID)
	}
	p.VLLM = clip(p.VLLM)
	p.Hooks, p.Cores, p.DataParallelSizes = limit(p.Hooks), limit(p.Cores), limit(p.DataParallelSizes)
	for i := range p.Hooks {
		h := &p.Hooks[i]
		h.Name, h.State, h.Error = clip(h.Name), clip(h.State), clip(h.Error)
	}
	for i := range p.Cores {
		p.Cores[i].Missing = clipAll(p.Cores[i].Missing)
	}
	if w := p.Worker; w != nil {
		w.Devices, w.AttentionBackends = limit(w.Devices), clipAll(w.AttentionBackends)
		if w.Rank != nil && *w.Rank < 0 {
			w.Rank = nil
		}
		for i := range w.Devices {
			d := &w.Devices[i]
			d.UUID = clip(d.UUID)
			if d.Index < 0 || d.MaxAllocatedBytes < 0 || d.MaxReservedBytes < d.MaxAllocatedBytes || d.MaxReservedBytes > maxBytes {
				return Process{}, fmt.Errorf("device %d: impossible peaks: %d bytes allocated, %d reserved", d.Index, d.MaxAllocatedBytes, d.MaxReservedBytes)
			}
		}
	}
	return p, nil
}

func limit[T any](list []T) []T { return list[:min(len(list), maxList)] }

func clipAll(list []string) []string {
	list = limit(list)
	for i := range list {
		list[i] = clip(list[i])
	}
	return list
}

// clip cuts s to maxText bytes of one line.
func clip(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), maxText)], "�")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
