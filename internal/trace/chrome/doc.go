// Package chrome reads the traces of torch.profiler: JSON in Chrome's trace event format
// (https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU), as Kineto
// writes it for NVIDIA's and AMD's devices and for the CPU.
//
// The file is read token by token, so that memory does not depend on its size. The reader
// accepts what Kineto and PyTorch have written at times and what stricter readers refuse:
// control characters inside strings, keys that occur twice, bytes that are not UTF-8, events
// that are not JSON (they are left out), and a file that ends early.
package chrome
