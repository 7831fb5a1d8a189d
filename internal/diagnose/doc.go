// Package diagnose says what limits a vLLM engine, and what to change, from the figures of one
// event. It reads nothing else: docs/diagnosis.md describes each rule, and where its threshold
// comes from.
package diagnose
