package intent

import (
	"os"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/vllm/args"
)

// FuzzCommandLine checks that no arguments cause a panic and that no setting is both read and
// reported as a problem.
func FuzzCommandLine(f *testing.F) {
	text, err := os.ReadFile("../vllm/args/testdata/spellings.txt")
	if err != nil {
		f.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		if n++; n%9 == 0 && !strings.Contains(line, "--config") {
			f.Add("vllm\x00" + strings.Join(testkit.ShellWords(strings.TrimSpace(line)), "\x00"))
		}
	}
	f.Add("env\x00A=b\x00python\x00-mvllm.entrypoints.openai.api_server\x00--model\x00m")
	f.Fuzz(func(t *testing.T, line string) {
		argv := strings.Split(line, "\x00")
		for i := range argv {
			argv[i] = strings.ReplaceAll(argv[i], "--config", "--confiq") // no file of this machine is read
		}
		got := FromCommandLine(args.Parse(argv, ""))
		for name := range got.Problems {
			if _, both := got.Values[name]; both {
				t.Errorf("%q: %s is read and is not: %v", argv, name, got)
			}
		}
		if got.Reason != "" && len(got.Values)+len(got.Problems) > 0 {
			t.Errorf("%q: a reason and values: %v", argv, got)
		}
	})
}
