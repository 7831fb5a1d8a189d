package proc

import "bytes"

// StatusField returns the value of a field of /proc/PID/status, without the blanks around it;
// ok is false if the status does not have it. name is without its colon.
func StatusField(status []byte, name string) (value []byte, ok bool) {
	for line := range bytes.Lines(status) {
		if found, rest, _ := bytes.Cut(line, []byte(":")); string(found) == name {
			return bytes.TrimSpace(rest), true
		}
	}
	return nil, false
}
