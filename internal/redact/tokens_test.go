package redact

import (
	"strings"
	"testing"
)

// The tokens are made up, in the forms that their issuers document.
func TestTokens(t *testing.T) {
	const letters, digits, capitals = "abcdefghijklmnopqrstuvwxyzABCDEFGH", "0123456789abcdef", "ABCDEFGH"
	long := strings.Repeat(letters+digits, 4)
	for _, token := range []string{
		"hf_" + letters, "sk-proj-" + long[:60] + "_" + long[:60], "sk-" + long[:20] + "T3BlbkFJ" + long[:20], "sk-ant-api03-" + long[:93] + "AA",
		"sk-or-v1-" + digits + digits, "sk-" + digits + digits, "ghp_" + long[:36], "gho_" + long[:36], "ghs_" + long[:36], "github_pat_" + long[:22] + "_" + long[:59],
		"glpat-" + long[:20], "AKIAIOSFODNN7EXAMPLE", "ASIA" + capitals + "01234567", "AIza" + long[:35], "xoxb-" + "0123456789-" + long[:24],
		"npm_" + long[:36], "nvapi-" + long[:64], "gsk_" + long[:52], "r8_" + long[:37], "dckr_pat_" + long[:27], "sk_live_" + long[:24], "wandb_v1_" + long[:40],
		"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
		"eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.", "eyJhbGciOiJSU0EtT0FFUCJ9." + digits + ".AxY8DCtDaGlsbGljb3RoZQ.KDlTtXchhZTGufMYmOYGS4." + digits,
		"-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
	} {
		for _, around := range []string{"%", "a %, b", "--x=%", "'%'", "/%/", `{"a":"%"}`, "x:%", "[%]"} {
			in, want := strings.ReplaceAll(around, "%", token), strings.ReplaceAll(around, "%", redacted)
			if got := redactTokens(in); got != want {
				t.Errorf("%s becomes %s", in, got)
			}
			if got := New(nil).Command([]string{"x", in})[1]; strings.Contains(got, token[len(token)/2:]) {
				t.Errorf("%s becomes %s in a command line", in, got)
			}
		}
	}
	if got := redactTokens("-H Bearer " + letters + digits + " x"); got != "-H Bearer "+redacted+" x" {
		t.Error(got)
	}
	for _, s := range []string{
		"meta-llama/Llama-3.1-8B-Instruct", "facebook/opt-125m", "/root/.cache/huggingface/hub/models--Qwen--Qwen2.5-0.5B/snapshots/0123456789abcdef0123456789abcdef01234567",
		"0123456789abcdef0123456789abcdef01234567", "sha256:" + digits + digits + digits + digits, "hf_transfer", "hf_overrides", "hf_hub_enable_hf_transfer", "risk-averse-model-selection",
		"sk-learn-pipeline-for-classification-v2", "task-" + digits, "disk-" + digits, "AKIA", "AKIAX", "MAKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLEX", "eyJ", "eyJhbGciOiJub25lIn0", "eyJ.x.y",
		"ghp_x", "npm_config_registry", "pypi-server", "xoxb-1", "dapi", "Bearer of good news", "Basic understanding of things", "glpat-short", "SG.1", "gsk_x", "r8_x",
		"-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----", "01890a5d-ac96-774b-bcce-b302099a8057",
	} {
		if got := redactTokens(s); got != s {
			t.Errorf("%s becomes %s", s, got)
		}
	}
}
