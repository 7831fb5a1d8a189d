package aggregate

import (
	"strings"

	"github.com/vobs/vobs/internal/vllm"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/window"
)

// http returns the responses of the API servers by class of status. vLLM's own counters have
// no request that was refused: it did not reach an engine.
func (v view) http() map[string]int64 {
	const path = "engine.http"
	v = v.at("") // the series have no stage: a server may have several
	found, why := v.selectMetrics(func(*endpoint) metrics.ID { return metrics.HTTPRequests }, isGenerationResponse)
	if why != "" {
		if !v.everExported(metrics.HTTPRequests) {
			why = "http_requests_total is not exported: an API server of vLLM exports it on its own page, an engine without one does not"
		}
		v.Notes.Missing(path, why)
		return nil
	}
	out := map[string]int64{"2xx": 0, "4xx": 0, "5xx": 0}
	for _, m := range found {
		out[statusClass(m.LabelValue)] += int64(m.Gain())
	}
	return out
}

// isGenerationResponse reports whether a series counts responses to requests for generation:
// those of the handlers under /v1 and /inference, and those of no handler. The list of models
// is left out because vobs queries it too, as do clients that wait for a server.
func isGenerationResponse(m *window.Metric) bool {
	handler := m.Labels.Get("handler")
	switch {
	case handler == vllm.ModelsPath, strings.HasPrefix(handler, vllm.ModelsPath+"/"):
		return false
	}
	return handler == "none" || strings.HasPrefix(handler, "/v1/") || strings.HasPrefix(handler, "/inference/")
}

// statusClass returns the class of a status, as 4xx. vLLM exports the classes; an application
// that does not group them exports 404.
func statusClass(status string) string {
	if len(status) == 3 && status[0] >= '1' && status[0] <= '5' {
		return status[:1] + "xx"
	}
	return status
}
