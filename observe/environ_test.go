package observe

import (
	"slices"
	"testing"
)

// --dev-mode replaces every entry that the command's environment had, and warns.
func TestCommandEnvWithDevMode(t *testing.T) {
	env := []string{"A=1", "VLLM_SERVER_DEV_MODE=0", "VLLM_SERVER_DEV_MODES=x", "VLLM_SERVER_DEV_MODE=", "B=2"}
	warned := ""
	r := &run{env: env, cfg: Config{DevMode: true, Warn: func(message string) { warned = message }}, introspection: &introspection{}}
	if got := r.commandEnv(); !slices.Equal(got, []string{"A=1", "VLLM_SERVER_DEV_MODES=x", "B=2", "VLLM_SERVER_DEV_MODE=1"}) || env[1] != "VLLM_SERVER_DEV_MODE=0" {
		t.Errorf("%q, from %q", got, env)
	}
	if warned != devModeWarning {
		t.Errorf("warned %q", warned)
	}
}

// The metrics directory is in the command's environment once, even if an empty entry was
// there, which getenv would find first.
func TestCommandEnv(t *testing.T) {
	r := &run{env: []string{"A=1", "PROMETHEUS_MULTIPROC_DIR=", "B=2"}, metricsDir: metricsDir{path: "/made", made: true}, introspection: &introspection{}}
	if got := r.commandEnv(); !slices.Equal(got, []string{"A=1", "B=2", "PROMETHEUS_MULTIPROC_DIR=/made"}) {
		t.Errorf("%q", got)
	}
	for _, dir := range []metricsDir{{}, {path: "/own"}} {
		r.metricsDir = dir
		if got := r.commandEnv(); !slices.Equal(got, r.env) {
			t.Errorf("with %+v: %q", dir, got)
		}
	}
}

func TestLookup(t *testing.T) {
	env := []string{"A=1", "A=2", "AB=3", "E=", "odd", "=x"}
	for name, want := range map[string]string{"A": "1", "AB": "3", "E": "", "odd": "none", "B": "none"} {
		got := "none"
		if value := lookup(env, name); value != nil {
			got = *value
		}
		if got != want {
			t.Errorf("lookup(%q) = %q, want %q", name, got, want)
		}
	}
}
