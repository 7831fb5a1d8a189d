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
	// maxFiles bounds the processes that are read.
	maxFiles = 4096
	// maxText bounds each text that is taken over, in bytes, maxList each list.
	maxText = 4 << 10
	maxList = 256
	// maxBytes is the largest number that every reader of JSON takes exactly.
	maxBytes = 1 << 53
)

// The states of a hook, as the plugin writes them.
const (
	// Waiting is a hook whose module the process did not import.
	Waiting = "waiting"
	// Found is one that is in place.
	Found = "found"
	// Missing is one whose name this version of vLLM does not have.
	Missing = "missing"
	// Failed is one that broke; its error is told.
	Failed = "failed"
)

// Report is what the plugin left.
type Report struct {
	// Processes are those that the plugin was loaded in, by their files' names.
	Processes []Process
	// Problems are files that could not be understood, and why.
	Problems []string
}

// Process is what one process told.
type Process struct {
	PID int `json:"pid"`
	// PPID was its parent at the time.
	PPID int `json:"ppid"`
	// VLLM is vLLM's version; "" where it does not tell.
	VLLM string `json:"vllm"`
	// Hooks are the names in vLLM that the plugin looked for.
	Hooks []Hook `json:"hooks"`
	// StatsForced counts the engines whose statistics it switched on.
	StatsForced int `json:"stats_forced"`
	// DataParallelSizes are those of the configurations that the process made, each once.
	DataParallelSizes []int64 `json:"data_parallel_sizes"`
	// Cores are the engine cores that it ran.
	Cores []Core `json:"cores"`
	// Worker is nil in a process that has none.
	Worker *Worker `json:"worker"`
}

// Hook is what became of one name in vLLM.
type Hook struct {
	Name  string `json:"name"`
	State string `json:"state"`
	// Error says what is missing, or what failed.
	Error string `json:"error"`
}

// Core is an engine core's word on its configuration.
type Core struct {
	// Index is its data-parallel rank.
	Index int `json:"index"`
	// Phase is "ready" once all of it stood, "kv_caches" before.
	Phase string `json:"phase"`
	// Config has parts of the VllmConfig in the form of /server_info, Live what the
	// scheduler goes by; package settings reads them.
	Config json.RawMessage `json:"config"`
	Live   json.RawMessage `json:"live"`
	// Missing are names in the scheduler that this version does not have.
	Missing []string `json:"missing"`
}

// Ready says that the core had changed all that it does.
func (c Core) Ready() bool { return c.Phase == "ready" }

// Worker is a worker's word on itself.
type Worker struct {
	// Rank is the worker's in its engine; nil where it is not known.
	Rank *int `json:"rank"`
	// CUDA is "initialized", "not initialized" or "not built"; "" where that is not known.
	CUDA string `json:"cuda"`
	// Visible is CUDA_VISIBLE_DEVICES as the worker had it; nil where it was not set.
	Visible *string `json:"cuda_visible_devices"`
	// Devices are those that torch took memory from.
	Devices []Device `json:"devices"`
	// AttentionBackends are the classes' paths that the worker chose.
	AttentionBackends []string `json:"attention_backends"`
}

// Device is torch's allocator on one device, its peaks in bytes.
type Device struct {
	// Index is torch's: among the devices that the worker sees.
	Index int `json:"index"`
	// UUID as torch writes it, without NVML's "GPU-"; "" where torch does not tell it.
	UUID              string `json:"uuid"`
	MaxAllocatedBytes int64  `json:"max_allocated_bytes"`
	MaxReservedBytes  int64  `json:"max_reserved_bytes"`
}

// Read reads what the plugin has left so far. The command's processes could have
// written anything there: what cannot be one of the plugin's reports is a problem.
func (f Folder) Read() Report {
	var r Report
	dir, err := os.Open(f.reports())
	if err != nil {
		r.Problems = append(r.Problems, fmt.Sprintf("its folder cannot be read: %v", err))
		return r
	}
	defer dir.Close()
	names, err := dir.Readdirnames(maxFiles)
	if err != nil && !errors.Is(err, io.EOF) {
		r.Problems = append(r.Problems, fmt.Sprintf("its folder cannot be read: %v", err))
	}
	slices.Sort(names)
	for _, name := range names {
		// What begins with a dot is being written, or was when its process was killed.
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
	// Neither a link nor a pipe that nobody writes to.
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
		return Process{}, errors.New("no regular file")
	}
	b, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return Process{}, err
	}
	return parse(b)
}

// parse reads one process's report, and refuses what the plugin cannot have written.
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
		return Process{}, fmt.Errorf("of format %d, want %d", file.Format, format)
	case p.PID <= 0:
		return Process{}, fmt.Errorf("process id %d", p.PID)
	}
	p.VLLM = clip(p.VLLM)
	p.Hooks, p.Cores, p.DataParallelSizes = upTo(p.Hooks), upTo(p.Cores), upTo(p.DataParallelSizes)
	for i := range p.Hooks {
		h := &p.Hooks[i]
		h.Name, h.State, h.Error = clip(h.Name), clip(h.State), clip(h.Error)
	}
	for i := range p.Cores {
		p.Cores[i].Missing = clipAll(p.Cores[i].Missing)
	}
	if w := p.Worker; w != nil {
		w.Devices, w.AttentionBackends = upTo(w.Devices), clipAll(w.AttentionBackends)
		if w.Rank != nil && *w.Rank < 0 {
			w.Rank = nil
		}
		for i := range w.Devices {
			d := &w.Devices[i]
			d.UUID = clip(d.UUID)
			if d.Index < 0 || d.MaxAllocatedBytes < 0 || d.MaxReservedBytes < d.MaxAllocatedBytes || d.MaxReservedBytes > maxBytes {
				return Process{}, fmt.Errorf("device %d with %d bytes allocated of %d reserved cannot be", d.Index, d.MaxAllocatedBytes, d.MaxReservedBytes)
			}
		}
	}
	return p, nil
}

func upTo[T any](list []T) []T { return list[:min(len(list), maxList)] }

func clipAll(list []string) []string {
	list = upTo(list)
	for i := range list {
		list[i] = clip(list[i])
	}
	return list
}

// clip bounds a text, and keeps it one line.
func clip(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), maxText)], "�")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
