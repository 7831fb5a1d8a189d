package host

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/sampler/proc"
	"github.com/vobs/vobs/schema"
)

// ReadLoadAvg returns the host's load averages over 1, 5 and 15 minutes, from
// procRoot/loadavg.
//
// It follows NeMo Safe Synthesizer's read_loadavg, so that the frozen core's
// loadavg_pre and loadavg_post have the same meaning: the first three words of the file
// as floats, further words ignored, no range check, and no getloadavg(3), hence an
// error if there is no /proc (macOS). It differs for values that JSON lacks: NaN and
// the infinities, which Python's float accepts, are errors. The figures are those of
// the whole host even inside a container, also one in which LXCFS has mounted a loadavg of
// its own over the kernel's: the host's are then those of sysinfo(2).
//
// It takes at most half a second: a file that does not respond is an error.
func ReadLoadAvg(procRoot string) (*schema.LoadAvg, error) {
	path := filepath.Join(procRoot, "loadavg")
	avg, err := bounded.Call(path, readTimeout, func() (*schema.LoadAvg, error) { return readLoadAvg(procRoot, path) })
	if errors.Is(err, bounded.ErrHangs) {
		return nil, fmt.Errorf("reading the load averages: %w", err)
	}
	return avg, err
}

func readLoadAvg(procRoot, path string) (*schema.LoadAvg, error) {
	if proc.Overlaid(procRoot, "loadavg") {
		if avg, ok := hostLoadAvg(); ok {
			return avg, nil
		}
	}
	data, err := proc.ReadFile(path, proc.MaxSmallFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the load averages: %s does not exist; only Linux has it: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the load averages: %w", err)
	}
	avg, err := parseLoadAvg(data)
	if err != nil {
		return nil, fmt.Errorf("reading the load averages: %s: %w", path, err)
	}
	return avg, nil
}

// parseLoadAvg parses the text of /proc/loadavg.
func parseLoadAvg(data []byte) (*schema.LoadAvg, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8 text")
	}
	// Python's str.split treats the four information separators as white space too.
	words := strings.FieldsFunc(string(data), func(r rune) bool {
		return unicode.IsSpace(r) || (r >= 0x1c && r <= 0x1f)
	})
	var avg schema.LoadAvg
	if len(words) < len(avg) {
		return nil, fmt.Errorf("%d words, want at least three load averages", len(words))
	}
	for i := range avg {
		// Go accepts hexadecimal floats (and underscores in them), Python does not.
		if strings.ContainsAny(words[i], "xX") {
			return nil, fmt.Errorf("%q is not a load average", words[i])
		}
		x, err := strconv.ParseFloat(words[i], 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, fmt.Errorf("%q is not a load average", words[i])
		}
		avg[i] = schema.Float(x)
	}
	return &avg, nil
}
