package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What `make e2e-gpu` runs on a real GPU runs here with the fake library, whose script
// simulates the amounts: it passes if they are as reported, and fails if they are not.
func TestE2EGPU(t *testing.T) {
	t.Parallel()
	if !cgo {
		t.Skip("SKIPPED: reading GPUs needs cgo: CGO_ENABLED=1, and gcc")
	}
	for _, program := range []string{"gcc", "python3", "bash"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("SKIPPED: this test needs %s: install it", program)
		}
	}
	library, err := buildNVML()
	if err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs(filepath.Join("..", "..", "e2e", "gpu"))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		lie   string
		cases string // of run.sh, which runs "all" before any other; uuid behaves like index and prefix
		wants []string
	}{
		"index":          {"", "index", []string{"e2e-gpu: PASS on 2 device(s)", "all: GPU 0 (Simulated GPU,", "all: GPU 1 (", "index: GPU 1 ("}},
		"prefix":         {"", "prefix", []string{"e2e-gpu: PASS on 2 device(s)", "all: GPU 0 (Simulated GPU,", "all: GPU 1 (", "prefix: GPU 1 ("}},
		"a false peak":   {"peak", "all", []string{"FAIL: all: GPU 0: the peak is 2972 MiB above a context's, wanted 3072 MiB", "FAIL: all: GPU 1: the peak is"}},
		"a false device": {"device", "all", []string{"FAIL: all: GPU 0: the peak is 3136 MiB above a context's, wanted 3072 MiB"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			script := "devices 2\n"
			for i := range 2 {
				script += fmt.Sprintf("device %d\nused file %d\nprocess pid=child mem=file:job.%d\n", i, i, i)
				for name, text := range map[string]string{
					fmt.Sprintf("uuid.%d", i): fmt.Sprintf("GPU-fa4e%[1]d%[1]d%[1]d%[1]d-5a5a-4b4b-8c8c-00000000000%[1]d", i),
					fmt.Sprintf("job.%d", i):  "0",
					fmt.Sprint(i):             "300MiB",
				} {
					if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := os.WriteFile(filepath.Join(dir, "gpu"), []byte(script), 0o666); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), filepath.Join(here, "run.sh"), test.cases)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "VOBS=vobs", "OUT="+filepath.Join(dir, "out"), "ALLOC="+filepath.Join(here, "fake_alloc.py"),
				"LD_LIBRARY_PATH="+library, "FAKE_NVML_SCRIPT="+filepath.Join(dir, "gpu"), "FAKE_NVML_LOG="+filepath.Join(dir, "calls"),
				"FAKE_ALLOC="+dir, "FAKE_ALLOC_LIES="+test.lie)
			var output bytes.Buffer
			cmd.Stdout, cmd.Stderr = &output, &output
			err := cmd.Run()
			if (err == nil) != (test.lie == "") || (test.lie == "") == strings.Contains(output.String(), "FAIL") {
				t.Errorf("it ended with %v", err)
			}
			for _, want := range test.wants {
				if !strings.Contains(output.String(), want) {
					t.Errorf("it does not say %q", want)
				}
			}
			if t.Failed() {
				t.Log(output.String())
			}
		})
	}

	// Without a GPU it says so, and does not fail.
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		if _, err := exec.Command("python3", "-c", `import ctypes; ctypes.CDLL("libcuda.so.1")`).CombinedOutput(); err == nil {
			t.Skip("SKIPPED: this machine has CUDA: make e2e-gpu tests it")
		}
		cmd := exec.CommandContext(t.Context(), filepath.Join(here, "run.sh"))
		cmd.Env = append(os.Environ(), "OUT="+t.TempDir())
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "e2e-gpu: SKIPPED: no NVIDIA GPU at hand: libcuda.so.1 cannot be loaded") {
			t.Errorf("%v: %s", err, out)
		}
	})
}
