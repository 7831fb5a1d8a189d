package observe

import (
	"github.com/vobs/vobs/internal/environ"
	"github.com/vobs/vobs/internal/vllm"
)

// devModeWarning tells what else it opens: none of it is behind --api-key, which
// guards /v1 and its like alone.
const devModeWarning = "--dev-mode: a vLLM server that the command starts opens its development endpoints, /collective_rpc, /sleep, /reset_prefix_cache and others, to whoever reaches its port, without a key: use it where nobody else can"

// commandEnv is the environment that the command gets: vobs's own, but for what a
// flag adds.
func (b *bracket) commandEnv() []string {
	env := b.env
	if b.filesDir != "" {
		env = environ.With(env, vllm.MultiprocDirVariable, b.filesDir)
	}
	if b.cfg.DevMode {
		b.cfg.Warn(devModeWarning)
		env = environ.With(env, vllm.DevModeVariable, "1")
	}
	return b.instrumentEnv(env)
}
