package render

import "math"

// blocks are the characters of a sparkline, from the lowest to the highest.
var blocks = []rune("▁▂▃▄▅▆▇█")

// Sparkline draws values from 0 to top as one line of block characters, at most width of them.
// If there are more values, each character stands for the highest of several. NaN is an
// unknown value, which is drawn as a space.
func Sparkline(values []float64, top float64, width int) string {
	n := min(len(values), width)
	if n <= 0 {
		return ""
	}
	line := make([]rune, n)
	for i := range line {
		highest := math.NaN()
		for _, v := range values[i*len(values)/n : (i+1)*len(values)/n] {
			if math.IsNaN(highest) || v > highest {
				highest = v
			}
		}
		line[i] = block(highest, top)
	}
	return string(line)
}

func block(value, top float64) rune {
	if math.IsNaN(value) {
		return ' '
	}
	if value <= 0 || top <= 0 {
		return blocks[0]
	}
	level := int(math.Ceil(min(value/top, 1) * float64(len(blocks))))
	return blocks[min(max(level, 1), len(blocks))-1]
}
