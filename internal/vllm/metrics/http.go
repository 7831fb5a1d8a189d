package metrics

// The metrics of an API server's own: those of its HTTP front end, and of its process.
const (
	HTTPRequests ID = iota + endOfOmni
	ProcessCPU
	ProcessResident
	endOfHTTP
)

// httpDescs are the names of the metrics in this file. They have no label of an engine, and any
// application may export them.
//
// http_requests_total is that of prometheus_fastapi_instrumentator, which vLLM's API server
// attaches to its application (vllm/entrypoints/serve/instrumentator/metrics.py of 0.32.0). Its
// series appear with the first response.
//
// The label handler is the path of the route, or "none" for a request that no route matches;
// vLLM excludes /metrics, /health, /load, /ping, /version and /server_info. status is the class
// of the status with which a response began, as 2xx (middleware.py of version 7).
//
// The others are those of prometheus_client's ProcessCollector (process_collector.py), which
// describes the process that serves the page: in vLLM the API server, not its engine cores and
// workers. It reads /proc, so it exports them on Linux only.
var httpDescs = []Desc{
	{HTTPRequests, KindCounter, "http_requests_total", "status", "checked in 0.32.0", Unscaled},
	{ProcessCPU, KindCounter, "process_cpu_seconds_total", "", "prometheus_client, not in multiprocess mode", Unscaled},
	{ProcessResident, KindGauge, "process_resident_memory_bytes", "", "prometheus_client, not in multiprocess mode", Unscaled},
}

// IsServer reports whether the metric is the API server's own: its series have no label of
// an engine or a stage.
func (m ID) IsServer() bool { return m >= HTTPRequests && m < endOfHTTP }

// IsProcess reports whether the metric describes the process that serves the page, which need
// not be an engine's.
func (m ID) IsProcess() bool { return m == ProcessStart || m == ProcessCPU || m == ProcessResident }
