package cli

import (
	"flag"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience bounds waits for what takes milliseconds on an idle machine.
const patience = 60 * time.Second

// samplingPatience bounds waits for what vobs reads. On an idle machine enough readings of
// the GPUs take up to 30 s, because vobs spends less than 1 % of a core on them.
const samplingPatience = 4 * time.Minute

// The test binary is several programs, chosen by the name it is called by: vobs as main.go
// makes it, an engine with its client, commands for the fake GPU.
var programs = map[string]func(){
	"vobs":   func() { os.Exit(Main(os.Args)) },
	"vllm":   func() { os.Exit(engineMain(os.Args[1:])) },
	"client": func() { os.Exit(clientMain(os.Args[1:])) },

	"openai": func() { os.Exit(openaiMain(os.Args[1:])) },

	"until-sampled": func() { os.Exit(untilSampledMain(os.Args[1:])) },
	"catch":         func() { os.Exit(catchMain(os.Args[1:])) },
	"become-root":   func() { os.Exit(becomeRootMain(os.Args[1:])) },
}

func TestMain(m *testing.M) {
	if programs[filepath.Base(os.Args[0])] == nil {
		prepareMain()
	}
	testscript.Main(m, programs)
}

// prepareMain is for the test process itself.
func prepareMain() {
	// In the background of a script, go test has INT and QUIT ignored, and so would have
	// everything started here: start again without that.
	var ignored []os.Signal
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP} {
		if signal.Ignored(sig) {
			ignored = append(ignored, sig)
		}
	}
	if len(ignored) > 0 {
		self, err := os.Executable()
		if err != nil {
			panic(err)
		}
		signal.Notify(make(chan os.Signal, 1), ignored...)
		panic(syscall.Exec(self, os.Args, os.Environ()))
	}
	// What the tests start must not report to the job that runs them.
	os.Unsetenv("GITHUB_ACTIONS")
	os.Unsetenv("GITHUB_STEP_SUMMARY")
	// The race detector makes every normal exit wait for a second.
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	// Most tests wait for other processes: run more of them than there are cores.
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
}
