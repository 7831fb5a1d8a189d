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

	"github.com/vobs/vobs/sampler/proc"
	"github.com/vobs/vobs/schema"
)

// ReadLoadAvg reads the host's load averages over 1, 5 and 15 minutes from
// procRoot/loadavg.
//
// It follows the seed's rules (nemo_safe_synthesizer's read_loadavg), so that the
// frozen core's loadavg_pre and loadavg_post mean the same: the first three words
// of the file as floats, further words ignored, no range check, and no
// getloadavg(3), hence an error where there is no /proc (macOS). It differs in
// what JSON cannot say: NaN and the infinities, which Python's float accepts, are
// errors. The figures are the host's also inside a container.
func ReadLoadAvg(procRoot string) (*schema.LoadAvg, error) {
	path := filepath.Join(procRoot, "loadavg")
	data, err := proc.ReadFile(path, proc.MaxSmallFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read load averages: %s does not exist; only Linux has it: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read load averages: %w", err)
	}
	avg, err := parseLoadAvg(data)
	if err != nil {
		return nil, fmt.Errorf("read load averages: %s: %w", path, err)
	}
	return avg, nil
}

// parseLoadAvg reads the text of /proc/loadavg.
func parseLoadAvg(data []byte) (*schema.LoadAvg, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8 text")
	}
	// Python's str.split takes the four information separators for white space too.
	words := strings.FieldsFunc(string(data), func(r rune) bool {
		return unicode.IsSpace(r) || (r >= 0x1c && r <= 0x1f)
	})
	var avg schema.LoadAvg
	if len(words) < len(avg) {
		return nil, fmt.Errorf("%d words where three load averages should stand", len(words))
	}
	for i := range avg {
		// Go reads hexadecimal floats (and underscores in them), Python does not.
		if strings.ContainsAny(words[i], "xX") {
			return nil, fmt.Errorf("%q is no load average", words[i])
		}
		x, err := strconv.ParseFloat(words[i], 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, fmt.Errorf("%q is no load average", words[i])
		}
		avg[i] = schema.Float(x)
	}
	return &avg, nil
}
