package chrome

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds the memory that a zstd frame may ask for: what `zstd --long=27` needs.
const maxWindow = 128 << 20

// Decompress returns the content of a file that may be compressed with gzip or zstd.
func Decompress(r io.Reader) (io.ReadCloser, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	magic, _ := in.Peek(4)
	switch {
	case bytes.HasPrefix(magic, []byte("\x1f\x8b")):
		return gzip.NewReader(in)
	case bytes.HasPrefix(magic, []byte("\x28\xb5\x2f\xfd")):
		d, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	return io.NopCloser(in), nil
}

// input is the text of a trace with each control character replaced by a space: outside of
// strings they are white space, and inside JSON forbids them.
type input struct {
	r       io.Reader
	pending []byte // to be read before r
	err     error  // of r, other than io.EOF
	size    int64  // bytes read from r
}

func (in *input) Read(p []byte) (int, error) {
	if len(in.pending) > 0 {
		n := copy(p, in.pending)
		in.pending = in.pending[n:]
		return n, nil
	}
	n, err := in.r.Read(p)
	clean(p[:n])
	in.size += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		in.err = err
	}
	return n, err
}

// clean replaces control characters by spaces.
func clean(p []byte) {
	const spaces, high = 0x2020202020202020, 0x8080808080808080
	for len(p) >= 8 {
		// A byte below 0x20 borrows into its highest bit.
		if x := binary.LittleEndian.Uint64(p); (x-spaces)&^x&high != 0 {
			cleanBytes(p[:8])
		}
		p = p[8:]
	}
	cleanBytes(p)
}

func cleanBytes(p []byte) {
	for i, c := range p {
		if c < ' ' {
			p[i] = ' '
		}
	}
}

// unread puts back what was read too far.
func (in *input) unread(p []byte) {
	in.pending = append(bytes.Clone(p), in.pending...)
}

// nextEvent skips to the next object that begins with the key "ph", which Kineto writes first.
// It reports whether there is one.
func (in *input) nextEvent() bool {
	buffer := make([]byte, 64<<10)
	for kept := 0; ; {
		n, err := in.Read(buffer[kept:])
		text := buffer[:kept+n]
		from := 0
		for {
			i := bytes.IndexByte(text[from:], '{')
			if i < 0 {
				from = len(text)
				break
			}
			from += i
			rest := bytes.TrimLeft(text[from+1:], " ")
			if bytes.HasPrefix(rest, []byte(`"ph"`)) {
				in.unread(text[from:])
				return true
			}
			if len(rest) < len(`"ph"`) && len(text)-from < len(buffer)/2 {
				break // its end may follow
			}
			from++
		}
		if err != nil {
			return false
		}
		kept = copy(buffer, text[from:])
	}
}
