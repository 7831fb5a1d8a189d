package trace

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Class is what a kernel or a copy is for.
type Class uint8

// The classes. Memory has copies and sets, whatever their name; kernels are of the others.
const (
	Attention Class = iota
	GEMM
	Communication
	Memory
	Other
	numClasses
)

var classNames = [numClasses]string{"attention", "gemm", "communication", "memory", "other"}

func (c Class) String() string { return classNames[c] }

// MarshalText returns the class's name.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// AllClasses returns the classes in the order in which they are shown.
func AllClasses() []Class { return []Class{Attention, GEMM, Communication, Memory, Other} }

// Classes assigns kernels to classes by their names: the first rule that matches decides, and
// a kernel that no rule matches is [Other].
type Classes struct{ rules []rule }

type rule struct {
	class   Class
	pattern string
	parts   []string // the pattern in lower case, split at *
}

// defaultClasses has the kernels that vLLM starts on GPUs of NVIDIA and AMD. Attention comes
// before GEMM, because flash attention has CUTLASS types among its template arguments; writes to
// the KV cache come first, because some are named after flash attention.
const defaultClasses = `
# writes to the KV cache
other reshape_and_cache
other concat_and_cache
# a namespace, of kernels for embeddings
other fbgemm_gpu::
# NCCL, RCCL, vLLM's and FlashInfer's own all-reduce, DeepEP, NVSHMEM
communication nccl
communication rccl
communication all_reduce
communication allreduce
communication cross_device_reduce
communication reduce_scatter
communication reducescatter
communication all_gather
communication allgather
communication all2all
communication alltoall
communication multimem
communication nvshmem
communication deep_ep
communication mscclpp
# FlashAttention, FlashInfer, FlashMLA, Triton and AITER kernels, xFormers, cuDNN
attention flash
attention attention
attention attn
attention fmha
attention mha
attention sdpa
attention batchprefill
attention batchdecode
attention singleprefill
attention withpagedkv
attention mla_decode
attention mla_prefill
# cuBLAS, CUTLASS, Tensile (Cijk) and hipBLASLt, Triton, fused MoE, quantized products
gemm gemm
gemm gemv
gemm cutlass
gemm nvjet
gemm cublas
gemm xmma
gemm cijk_
gemm matmul
gemm fused_moe_kernel
gemm marlin
gemm machete
gemm wvsplitk
gemm triton_*_mm
gemm _bmm_
`

// DefaultClasses returns the rules of vobs.
func DefaultClasses() *Classes {
	c, err := parseClasses(strings.NewReader(defaultClasses))
	if err != nil {
		panic(err) // the rules are constant
	}
	return c
}

// ReadClasses reads rules that come before those of vobs. Each line has a class and a pattern:
// a part of a kernel's name, in which * stands for any characters and the case does not matter.
// Lines that begin with # are comments.
func ReadClasses(r io.Reader) (*Classes, error) {
	own, err := parseClasses(r)
	if err != nil {
		return nil, err
	}
	own.rules = append(own.rules, DefaultClasses().rules...)
	return own, nil
}

func parseClasses(r io.Reader) (*Classes, error) {
	c := &Classes{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, pattern, _ := strings.Cut(line, " ")
		if i := strings.IndexByte(line, '\t'); i >= 0 && i < len(name) {
			name, pattern = line[:i], line[i:]
		}
		pattern = strings.TrimSpace(pattern)
		class, err := parseClass(name)
		if err == nil && strings.Trim(pattern, "*") == "" {
			err = errors.New("a class without a part of a kernel's name")
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		c.rules = append(c.rules, rule{class, pattern, strings.Split(strings.ToLower(pattern), "*")})
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

func parseClass(name string) (Class, error) {
	for _, c := range AllClasses() {
		if c.String() == name && c != Memory {
			return c, nil
		}
	}
	return Other, fmt.Errorf("class %q: use attention, gemm, communication or other", name)
}

// Of returns the class of a kernel.
func (c *Classes) Of(kernel []byte) Class {
	lower := bytes.ToLower(kernel)
	for i := range c.rules {
		if c.rules[i].matches(lower) {
			return c.rules[i].class
		}
	}
	return Other
}

func (r *rule) matches(lower []byte) bool {
	for _, part := range r.parts {
		i := bytes.Index(lower, []byte(part))
		if i < 0 {
			return false
		}
		lower = lower[i+len(part):]
	}
	return true
}

// Write writes the rules in the form that [ReadClasses] reads.
func (c *Classes) Write(w io.Writer) error {
	var b bytes.Buffer
	for _, r := range c.rules {
		fmt.Fprintf(&b, "%-13s %s\n", r.class, r.pattern)
	}
	_, err := w.Write(b.Bytes())
	return err
}
