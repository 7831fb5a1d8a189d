package observe

import (
	"github.com/vobs/vobs/internal/environ"
	"github.com/vobs/vobs/internal/vllm"
)

// devModeWarning names what else development mode opens. --api-key guards none of it: it
// applies to /v1 and a few others.
const devModeWarning = "--dev-mode: a vLLM server that the command starts opens its development endpoints, /collective_rpc, /sleep, /reset_prefix_cache and others, to anyone who can reach its port, without a key: use it only if nobody else can"

// commandEnv returns the environment of the command: that of vobs, with what the flags add.
func (r *run) commandEnv() []string {
	env := r.metricsDir.environ(r.env)
	if r.cfg.DevMode {
		r.cfg.Warn(devModeWarning)
		env = environ.With(env, vllm.DevModeVariable, "1")
	}
	return r.introspection.environ(env, r.metricsDir.made || r.cfg.Multiproc == MultiprocOn)
}

// lookup returns the value of a variable, or nil if it is not set.
func lookup(env []string, name string) *string {
	if value, ok := environ.Lookup(env, name); ok {
		return &value
	}
	return nil
}
