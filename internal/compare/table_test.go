package compare

import (
	"math"
	"math/rand/v2"
	"testing"
)

// A table returns what was set last, whether a column varies or not.
func TestTable(t *testing.T) {
	const rows, columns = 3*chunkRows + 7, 5
	random := rand.New(rand.NewPCG(1, 2))
	want := map[[2]int]float64{}
	var tab table
	set := func(row, column int, x float64) {
		tab.set(row, column, x)
		want[[2]int{row, column}] = x
	}
	for range rows {
		row := tab.addRow()
		set(row, 1, 7)                      // a constant
		set(row, 2, random.Float64())       // varies
		set(row, 3, float64(row/chunkRows)) // constant in each chunk
		if random.IntN(3) == 0 {
			set(row, 4, 1) // has gaps
		}
	}
	set(chunkRows, 1, 7)
	set(2*chunkRows+5, 1, 8)
	set(3*chunkRows, 3, 9)
	for row := range rows {
		for column := range columns + 1 {
			x, ok := want[[2]int{row, column}]
			if got := tab.get(row, column); got != x && ok || !ok && !math.IsNaN(got) {
				t.Fatalf("row %d, column %d: %v, want %v (%v)", row, column, got, x, ok)
			}
		}
	}
	for column, chunks := range map[int]int{0: 0, 1: 1, 2: 4, 3: 1} {
		n := 0
		for _, c := range tab.columns[column] {
			if c.numbers != nil {
				n++
			}
		}
		if n != chunks {
			t.Errorf("column %d: %d chunks have numbers of their own, want %d", column, n, chunks)
		}
	}
}
