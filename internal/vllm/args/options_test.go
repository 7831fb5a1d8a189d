package args

import (
	"strings"
	"testing"
)

func TestSecretOptions(t *testing.T) {
	for name, want := range map[string]bool{"api-key": true, "api_key": true, "hf_token": true, "long_prefill_token_threshold": false, "no-such": false} {
		if got := IsSecretOption(name); got != want {
			t.Errorf("IsSecretOption(%q) = %v", name, got)
		}
	}
	// They are options of the table, and abbreviations stand for them as in argparse.
	serve := Locate([]string{"vllm", "serve", "m"})
	for _, flag := range secretOptions {
		if !IsOption(strings.TrimPrefix(flag, "--")) {
			t.Errorf("vLLM has no %s", flag)
		}
	}
	for flag, want := range map[string]bool{
		"--api-key": true, "--api_key=x": true, "--api-k": true, "--hf-t": true, "--hf_tok=x": true, "--hf-token": true,
		"--api": false, "--api-s": false, "--hf": false, "--h": false, "--": false, "--api-keys": false, "api-key": false, "-api-key": false, "": false,
	} {
		if got := serve.IsSecretFlag(flag); got != want {
			t.Errorf("IsSecretFlag(%q) = %v", flag, got)
		}
		if (Command{}).IsSecretFlag(flag) {
			t.Errorf("IsSecretFlag(%q) without vLLM", flag)
		}
	}
	for flag, want := range map[string]bool{"-tp": true, "-asc": true, "--port": false, "-zz": false, "-": false} {
		if got := IsShortFlag(flag); got != want {
			t.Errorf("IsShortFlag(%q) = %v", flag, got)
		}
	}
}
