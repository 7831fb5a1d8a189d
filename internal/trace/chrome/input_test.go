package chrome

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// Control characters become spaces wherever they are; nothing else changes.
func TestClean(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		p := make([]byte, random.IntN(40))
		for i := range p {
			p[i] = byte(random.IntN(256))
			if random.IntN(2) == 0 {
				p[i] = "\x1f \x00\x80\x9f\xff\x20\x7f"[random.IntN(8)]
			}
		}
		want := bytes.Clone(p)
		for i, c := range want {
			if c < ' ' {
				want[i] = ' '
			}
		}
		if clean(p); !bytes.Equal(p, want) {
			t.Fatalf("%x, want %x", p, want)
		}
	}
}
