package demo

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// MemoryWidth is the length of MemoryFile in bytes: 20 for the number (padded with
// spaces, not with zeros, which C might read as octal) and a newline.
const MemoryWidth = 21

// spikeLength is how long the activation spike lasts on the wall clock, independent of
// Duration: a sampler with a period of 250 ms mostly misses it.
const spikeLength = 25 * time.Millisecond

// spikeAt is the share of the generation phase after which the spike comes.
const spikeAt = 0.45

// Memory is the memory that the simulated process uses on its GPU, in bytes.
type Memory struct {
	Context uint64 // the CUDA context and the libraries' kernels
	Weights uint64 // 8.03 billion parameters of two bytes
	KVPool  uint64 // NumGPUBlocks blocks, 128 KiB a token
	Spike   uint64 // one forward pass's activations, for 25 ms, once per generation phase
}

// Loaded is the memory in use once the start-up is over.
func (m Memory) Loaded() uint64 { return m.Context + m.Weights + m.KVPool }

// Peak is the highest value that MemoryFile ever shows.
func (m Memory) Peak() uint64 { return m.Loaded() + m.Spike }

// Memory returns the plan that MemoryFile follows.
func (c Config) Memory() Memory {
	c.fill()
	return Memory{
		Context: 512 << 20,
		Weights: 2 * 8030261248,
		KVPool:  uint64(c.NumGPUBlocks) * uint64(c.BlockSize) * (128 << 10),
		Spike:   1536 << 20,
	}
}

// memoryFile is the simulated GPU's memory, as the fake NVML library reads it. A nil
// *memoryFile does nothing.
type memoryFile struct {
	f    *os.File
	plan Memory
	err  error // of the first write that failed
}

func openMemory(c *Config) (*memoryFile, error) {
	if c.MemoryFile == "" {
		return nil, nil
	}
	f, err := os.OpenFile(c.MemoryFile, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("demo: memory file: %w", err)
	}
	m := &memoryFile{f: f, plan: c.Memory()}
	m.set(0)
	return m, nil
}

// set rewrites the number in place, with one write.
func (m *memoryFile) set(used uint64) {
	if m == nil {
		return
	}
	if _, err := m.f.WriteAt(fmt.Appendf(nil, "%*d\n", MemoryWidth-1, used), 0); err != nil && m.err == nil {
		m.err = err
	}
}

// spike turns the spike on or off.
func (m *memoryFile) spike(on bool) {
	switch {
	case m == nil:
	case on:
		m.set(m.plan.Peak())
	default:
		m.set(m.plan.Loaded())
	}
}

// close frees everything, as the driver does when a process ends.
func (m *memoryFile) close() error {
	if m == nil {
		return nil
	}
	m.set(0)
	return errors.Join(m.err, m.f.Close())
}
