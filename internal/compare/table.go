package compare

import "math"

// chunkRows is how many rows of a column are stored together.
const chunkRows = 512

// A table holds the numbers of runs: a row for each run. A number that is not set is NaN.
// Columns in which nothing is set take no memory, and neither do those that hardly vary.
type table struct {
	rows    int
	columns [][]chunk
}

// A chunk holds a stretch of a column: while the numbers are all the same, and of its first
// rows, only how many there are.
type chunk struct {
	same    float64
	count   int
	numbers *[chunkRows]float64 // nil while they are all the same
}

// addRow returns the index of a new row.
func (t *table) addRow() int {
	t.rows++
	return t.rows - 1
}

func (t *table) get(row, column int) float64 {
	if column >= len(t.columns) || row/chunkRows >= len(t.columns[column]) {
		return math.NaN()
	}
	switch c := &t.columns[column][row/chunkRows]; {
	case c.numbers != nil:
		return c.numbers[row%chunkRows]
	case row%chunkRows < c.count:
		return c.same
	}
	return math.NaN()
}

// set sets a number; NaN leaves it as it is.
func (t *table) set(row, column int, x float64) {
	if math.IsNaN(x) {
		return
	}
	for column >= len(t.columns) {
		t.columns = append(t.columns, nil)
	}
	for row/chunkRows >= len(t.columns[column]) {
		t.columns[column] = append(t.columns[column], chunk{})
	}
	t.columns[column][row/chunkRows].set(row%chunkRows, x)
}

func (c *chunk) set(i int, x float64) {
	if c.numbers == nil {
		switch {
		case i < c.count && x == c.same:
			return
		case i == c.count && (i == 0 || x == c.same):
			c.same = x
			c.count++
			return
		}
		c.numbers = new([chunkRows]float64)
		for k := range c.numbers {
			c.numbers[k] = math.NaN()
			if k < c.count {
				c.numbers[k] = c.same
			}
		}
	}
	c.numbers[i] = x
}

// The columns of a table: first the figures that every comparison looks at, then three for
// each metric.
const (
	// columnRequests is the number of requests that finished, and columnFailed the share of
	// those, and of the responses, that failed.
	columnRequests = iota
	columnFailed
	columnLengths                                // one for each of lengths
	columnDerived = columnLengths + len(lengths) // one for each of derived
	columnMetrics = columnDerived + len(derived)
)

// valueOf returns the column of a metric's value.
func valueOf(metric int) int { return columnMetrics + 3*metric }

// lowOf returns the column of a metric's rate over the whole window if it is a rate, and of
// the lower end if it is a share of requests.
func lowOf(metric int) int { return columnMetrics + 3*metric + 1 }

// highOf returns the column of a share's upper end.
func highOf(metric int) int { return columnMetrics + 3*metric + 2 }
