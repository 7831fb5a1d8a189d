package metrics

// The metrics of an API server's own HTTP front end.
const (
	HTTPRequests ID = iota + endOfOmni
	endOfHTTP
)

// httpDescs are the names of the metrics in this file. They are those of
// prometheus_fastapi_instrumentator, which vLLM's API server attaches to its application
// (vllm/entrypoints/serve/instrumentator/metrics.py of 0.32.0): they have no label of an
// engine, and any application may export them. Their series appear with the first response.
//
// The label handler is the path of the route, or "none" for a request that no route matches;
// vLLM excludes /metrics, /health, /load, /ping, /version and /server_info. status is the class
// of the status with which a response began, as 2xx (middleware.py of version 7).
var httpDescs = []Desc{
	{HTTPRequests, KindCounter, "http_requests_total", "status", "checked in 0.32.0", Unscaled},
}

// IsServer reports whether the metric is the API server's own: its series have no label of
// an engine or a stage.
func (m ID) IsServer() bool { return m == HTTPRequests }
