package proc

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// catStat is a status printed by a real kernel.
const catStat = "7571 (cat) R 7548 7548 4990 0 -1 4194304 98 0 0 0 3 4 5 6 20 0 1 0 102709 3133440 380 18446744073709551615 94848431632384 94848431652265 140734476347424 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 94848431668272 94848431669888 94848805572608 140734476352176 140734476352213 140734476352213 140734476353515 0\n"

func TestParseProcStat(t *testing.T) {
	for _, name := range []string{"cat", "a) R 1 (b", ")", "((", "", "two\nlines"} {
		got, err := parseProcStat([]byte(strings.Replace(catStat, "(cat)", "("+name+")", 1)))
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		want := stat{pid: 7571, comm: []byte(name), state: 'R', ppid: 7548, cpuTicks: 18, numThreads: 1, startTicks: 102709}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	for _, text := range []string{"", "1 cat R 1", "x (cat) R 1", catStat[:60], strings.Replace(catStat, " 102709 ", " -1 ", 1), strings.Replace(catStat, " R ", " RR ", 1), ") 1 ("} {
		if got, err := parseProcStat([]byte(text)); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
	stat := []byte(catStat)
	if n := testing.AllocsPerRun(100, func() { parseProcStat(stat) }); n != 0 {
		t.Errorf("allocates %v times", n)
	}
}

func TestParseLastPID(t *testing.T) {
	for text, want := range map[string]int{"0.1 0.2 0.3 2/107 7553\n": 7553, "0.00 0.00 0.00 0/0 0": 0, "1 2 3": 0, "": 0} {
		if got := parseLastPID([]byte(text)); got != want {
			t.Errorf("%q: last pid %d, want %d", text, got, want)
		}
	}
}

func TestParseCommandLine(t *testing.T) {
	tests := map[string][]string{
		"":                             nil,
		"\x00":                         nil,
		"sleep\x00100\x00":             {"sleep", "100"},
		"VLLM::EngineCore          ":   {"VLLM::EngineCore"}, // setproctitle's padding: spaces ...
		"VLLM::Worker\x00\x00\x00\x00": {"VLLM::Worker"},     // ... or zero bytes
		"VLLM::Worker  \x00  \x00":     {"VLLM::Worker"},
		"sh\x00-c\x00\x00x \x00":       {"sh", "-c", "", "x "}, // a command's own are kept
		"sh\x00x\x00\x00":              {"sh", "x", ""},
		"no end":                       {"no end"},
	}
	for text, want := range tests {
		if diff := cmp.Diff(want, parseCommandLine([]byte(text))); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

func TestParseEnviron(t *testing.T) {
	got := parseEnviron([]byte("A=1\x00B=\x00=no\x00title  \x00C=x=y\x00\x00"))
	if diff := cmp.Diff([]string{"A=1", "B=", "C=x=y"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzParseProcStat(f *testing.F) {
	f.Add([]byte(catStat))
	f.Add([]byte("0 () \xdf 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseProcStat(data)
		if err != nil {
			return
		}
		if s.pid < 0 || s.ppid < 0 || s.numThreads < 0 || s.state == 0 || !bytes.Contains(data, s.comm) {
			t.Errorf("%q: %+v", data, s)
		}
		// Formatted again, it parses to the same.
		flags := 0
		if s.exiting {
			flags = flagExiting
		}
		again := fmt.Appendf(nil, "%d (%s) %c %d 0 0 0 0 %d 0 0 0 0 %d 0 0 0 0 0 %d 0 %d", s.pid, s.comm, s.state, s.ppid, flags, s.cpuTicks, s.numThreads, s.startTicks)
		s2, err := parseProcStat(again)
		if err != nil || fmt.Sprint(s2) != fmt.Sprint(s) {
			t.Errorf("%q: %+v, %v; want %+v", again, s2, err, s)
		}
	})
}

func FuzzParseStatm(f *testing.F) {
	f.Add([]byte("765 424 396 5 0 123 0\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		pages, err := parseStatm(data)
		if err == nil && (pages < 0 || pages > math.MaxInt64/65536) {
			t.Errorf("%q: %d pages", data, pages)
		}
	})
}

func FuzzParseLastPID(f *testing.F) {
	f.Add([]byte("0.52 0.58 0.59 2/107 7553\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if pid := parseLastPID(data); pid < 0 || pid > math.MaxInt32 {
			t.Errorf("%q: last pid %d", data, pid)
		}
	})
}

func FuzzParseChildren(f *testing.F) {
	f.Add([]byte("12 13 "))
	f.Fuzz(func(t *testing.T, data []byte) {
		pids, err := parseChildren(data, nil)
		if slices.ContainsFunc(pids, func(pid int) bool { return pid <= 0 || pid > math.MaxInt32 }) {
			t.Errorf("%q: %v", data, pids)
		}
		if again, err2 := parseChildren([]byte(strings.Trim(fmt.Sprint(pids), "[]")), nil); err == nil && (err2 != nil || !slices.Equal(again, pids)) {
			t.Errorf("%v became %v, %v", pids, again, err2)
		}
	})
}

func FuzzParseCommandLine(f *testing.F) {
	f.Add([]byte("sh\x00-c\x00\x00"))
	f.Add([]byte("VLLM::Worker    "))
	f.Fuzz(func(t *testing.T, data []byte) {
		args := parseCommandLine(data)
		for _, a := range args {
			if strings.Contains(a, "\x00") {
				t.Errorf("%q: %q", data, args)
			}
		}
		if len(args) == 1 && (args[0] == "" || strings.HasSuffix(args[0], " ")) {
			t.Errorf("%q: padding remains: %q", data, args)
		}
		if len(args) > 1 { // then nothing was removed
			if got := strings.Join(args, "\x00"); got != strings.TrimSuffix(string(data), "\x00") {
				t.Errorf("%q: %q", data, args)
			}
		}
	})
}

func FuzzParseEnviron(f *testing.F) {
	f.Add([]byte("A=1\x00B=2\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, e := range parseEnviron(data) {
			if strings.IndexByte(e, '=') <= 0 || !strings.Contains(string(data), e) {
				t.Errorf("%q: entry %q", data, e)
			}
		}
	})
}
