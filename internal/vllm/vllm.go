// Package vllm has general facts about vLLM: its port, paths, environment variables and
// process titles. Its subpackages know vLLM's metrics, command lines and configuration, and
// have the plugin that runs inside vLLM. Nearly everything that a new version of vLLM can
// change is in this directory.
package vllm

// DefaultPort is the port of `vllm serve` and `vllm bench serve`
// (vllm/entrypoints/openai/cli_args.py, vllm/benchmarks/serve.py).
const DefaultPort = "8000"

// OldestVersion and NewestVersion are the minor versions of vLLM that vobs supports, both
// included. Others work as far as they are alike.
const (
	OldestVersion = "0.8"
	NewestVersion = "0.32"
)

// Paths of a server (vllm/entrypoints/serve/, vllm/entrypoints/openai/).
const (
	MetricsPath = "/metrics"
	// HealthPath answers 200, and 503 once the server knows that its engine is dead
	// (vllm/entrypoints/serve/instrumentator/health.py).
	HealthPath  = "/health"
	VersionPath = "/version"
	ModelsPath  = "/v1/models"
	// ServerInfoPath exists only in a server's development mode
	// (vllm/entrypoints/serve/dev/server_info/api_router.py).
	ServerInfoPath = "/server_info"
	// StartProfilePath and StopProfilePath exist if a profiler is configured
	// (vllm/entrypoints/serve/profile/api_router.py).
	StartProfilePath = "/start_profile"
	StopProfilePath  = "/stop_profile"
	// ResetPrefixCachePath exists only in a server's development mode
	// (vllm/entrypoints/serve/dev/cache/api_router.py).
	ResetPrefixCachePath = "/reset_prefix_cache"
)

// Environment variables.
const (
	// DevModeVariable set to 1 makes a server report its configuration at ServerInfoPath
	// (vllm/envs.py; vllm/entrypoints/launchers/api_server/routers.py).
	DevModeVariable = "VLLM_SERVER_DEV_MODE"
	// PluginsVariable, if set, names the plugins that vLLM loads (vllm/envs.py); set to
	// nothing it loads none.
	PluginsVariable = "VLLM_PLUGINS"
	// MultiprocDirVariable names the directory in which the processes of
	// prometheus_client share their metrics (prometheus_client/values.py). vLLM makes a
	// directory of its own if it starts several API servers without one
	// (vllm/v1/metrics/prometheus.py).
	MultiprocDirVariable = "PROMETHEUS_MULTIPROC_DIR"
)

// The titles that vLLM's processes give themselves (seen on 0.32.0), cut to 15 bytes by
// the kernel. With several ranks they are VLLM::EngineCore_DP0 and VLLM::Worker_TP1.
const (
	// TitlePrefix begins them all, VLLM::APIServer included.
	TitlePrefix      = "VLLM::"
	EngineCoreTitle  = "VLLM::EngineCor"
	WorkerTitle      = "VLLM::Worker"
	CoordinatorTitle = "VLLM::DPCoordin"
)

// RayWorkerTitle is in the titles of the actors in which vLLM's workers run under Ray, which Ray
// names after their class (vllm/v1/executor/ray_utils.py).
const RayWorkerTitle = "RayWorkerWrapper"

// The packages whose modules are commands: vLLM's and vllm-omni's.
const (
	ModulePrefix     = "vllm.entrypoints."
	OmniModulePrefix = "vllm_omni.entrypoints."
)

// MaxNumSeqs is the largest plausible value of --max-num-seqs.
const MaxNumSeqs = 1 << 20

// MaxNumBatchedTokens is the largest plausible value of --max-num-batched-tokens.
const MaxNumBatchedTokens = 1 << 30
