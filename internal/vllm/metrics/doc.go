// Package metrics is the catalog of the Prometheus metrics that vobs reads from vLLM
// and vllm-omni, under every name that an engine version or a collector gives them.
//
// An [ID] is one metric, whatever its name. A [Desc] is one name of it, with its kind,
// the label that splits it and the unit of its values; a renamed metric has several,
// the newest first. A [Naming] is how a page writes names: as vLLM does, or as Ray and
// other collectors rewrite them. A [DescID] is a desc in one naming. [Lookup] maps a
// sample or family name on a page to its DescID.
//
// The descs are in catalog.go (a plain engine), kvoffload.go (KV offloading, KV
// connectors, diffusion language models), omni.go (vllm-omni) and http.go (the API
// server's HTTP front end); naming.go has the namings and the lookup. The package does no I/O.
package metrics
