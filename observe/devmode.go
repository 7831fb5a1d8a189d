package observe

import (
	"slices"
	"strings"
)

// devModeVariable makes a vLLM server tell its configuration at /server_info
// (vllm/envs.py; vllm/entrypoints/launchers/api_server/routers.py).
const devModeVariable = "VLLM_SERVER_DEV_MODE"

// devModeWarning tells what else it opens: none of it is behind --api-key, which
// guards /v1 and its like alone.
const devModeWarning = "--dev-mode: a vLLM server that the command starts opens its development endpoints, /collective_rpc, /sleep, /reset_prefix_cache and others, to whoever reaches its port, without a key: use it where nobody else can"

// withVariable is an environment in which a variable has this value, whatever it had:
// of two entries the first would count.
func withVariable(env []string, name, value string) []string {
	out := slices.DeleteFunc(slices.Clone(env), func(entry string) bool { return strings.HasPrefix(entry, name+"=") })
	return append(out, name+"="+value)
}

// commandEnv is the environment that the command gets: vobs's own, but for what a
// flag adds.
func (b *bracket) commandEnv() []string {
	env := b.env
	if b.filesDir != "" {
		env = withVariable(env, multiprocVariable, b.filesDir)
	}
	if b.cfg.DevMode {
		b.cfg.Warn(devModeWarning)
		env = withVariable(env, devModeVariable, "1")
	}
	return b.instrumentEnv(env)
}
