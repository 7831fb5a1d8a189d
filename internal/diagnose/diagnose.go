package diagnose

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/vobs/vobs/schema"
)

// Preset is a set of rules.
type Preset string

const (
	// Default are the rules of docs/diagnosis.md.
	Default Preset = "default"
	// Document are those of the production document that vobs implements, with its thresholds
	// to the letter. Many of them fail on real engines.
	Document Preset = "document"
)

// ParsePreset returns the preset with the given name; "" is [Default].
func ParsePreset(name string) (Preset, error) {
	switch p := Preset(name); p {
	case "":
		return Default, nil
	case Default, Document:
		return p, nil
	}
	return "", fmt.Errorf("unknown preset %q: use default or document", name)
}

// Options are what a diagnosis depends on besides the event.
type Options struct {
	// Preset is the set of rules; "" is [Default].
	Preset Preset
	// SharedPrefix is the share of the prompt tokens, from 0 to 1, that a perfect prefix cache
	// would have found; nil if unknown.
	SharedPrefix *float64
	// MaxNumSeqs and MaxNumBatchedTokens are the flags of each engine's server, for events in
	// which they are unknown; 0 if they are not given.
	MaxNumSeqs, MaxNumBatchedTokens int64
}

// Diagnose returns the diagnosis of an event; nil if it has no figures of an engine. It does not
// change the event, and depends on nothing else.
func Diagnose(e *schema.GenerationObservability, o Options) *schema.Diagnosis {
	if e.Engine == nil {
		return nil
	}
	f := newFigures(e, o)
	rules, verdict := defaultRules(), f.bindingResource
	if o.Preset == Document {
		rules, verdict = documentRules(), noVerdict
	}
	d := &schema.Diagnosis{BindingResource: verdict()}
	f.binding = d.BindingResource.Code
	for _, r := range rules {
		switch result := r.evaluate(f); {
		case result.finding != nil:
			result.finding.Code = r.code
			d.Findings = append(d.Findings, *result.finding)
		case result.missing != "":
			d.NotEvaluated = append(d.NotEvaluated, schema.NotEvaluated{Code: r.code, Reason: result.missing})
		}
	}
	slices.SortStableFunc(d.Findings, func(a, b schema.Finding) int {
		return cmp.Or(cmp.Compare(severityRank(b.Severity), severityRank(a.Severity)), cmp.Compare(b.Confidence, a.Confidence))
	})
	d.FillLists()
	return d
}

func severityRank(s schema.FindingSeverity) int {
	return slices.Index([]schema.FindingSeverity{schema.FindingInfo, schema.FindingWarning, schema.FindingCritical}, s)
}

// rule is one rule of a preset.
type rule struct {
	code     schema.FindingCode
	evaluate func(*figures) result
}

// result is what a rule returns: a finding, or why it could not be evaluated, or neither.
type result struct {
	finding *schema.Finding
	missing string
}

// healthy is the result of a rule whose condition is not met.
var healthy = result{}

// missing is the result of a rule that lacks an input.
func missing(format string, args ...any) result { return result{missing: fmt.Sprintf(format, args...)} }

// found is the result of a rule whose condition is met. Evidence that does not hold is left out.
func found(severity schema.FindingSeverity, confidence float64, message string, evidence ...schema.DiagnosisEvidence) result {
	return result{finding: &schema.Finding{Severity: severity, Confidence: schema.Float(confidence), Message: message, Evidence: holding(evidence)}}
}

// holding returns the evidence whose comparison is true: a rule may list figures of which one is
// enough, or that are unknown.
func holding(evidence []schema.DiagnosisEvidence) []schema.DiagnosisEvidence {
	return slices.DeleteFunc(evidence, func(e schema.DiagnosisEvidence) bool {
		x, ok := e.Value.(schema.Float)
		threshold, isNumber := e.Threshold.(schema.Float)
		if !ok || !isNumber {
			return e.Value == nil
		}
		switch e.Operator {
		case "<":
			return x >= threshold
		case "<=":
			return x > threshold
		case ">":
			return x <= threshold
		case ">=":
			return x < threshold
		}
		return false
	})
}

// because adds the likely causes, the likeliest first.
func (r result) because(causes ...string) result {
	r.finding.Causes = append(r.finding.Causes, causes...)
	return r
}

// fix adds a change.
func (r result) fix(flag string, value any, reason, effect string) result {
	r.finding.Fixes = append(r.finding.Fixes, schema.Fix{Flag: flag, Value: value, Reason: reason, Effect: effect})
	return r
}

// settledBy adds what would settle the finding.
func (r result) settledBy(what ...string) result {
	r.finding.WouldSettle = append(r.finding.WouldSettle, what...)
	return r
}

// defaultRules returns the rules of [Default], in the order of docs/diagnosis.md.
func defaultRules() []rule {
	return []rule{
		{schema.FindingEngineErrors, engineErrors},
		{schema.FindingEngineRestarts, engineRestarts},
		{schema.FindingAdmissionStalled, admissionStalled},
		{schema.FindingKVCacheThrashing, kvCacheThrashing},
		{schema.FindingConcurrencyCap, concurrencyCap},
		{schema.FindingTokenBudgetBound, tokenBudgetBound},
		{schema.FindingPrefillDecodeInterference, prefillDecodeInterference},
		{schema.FindingQueueSaturation, queueSaturation},
		{schema.FindingFrontendBound, frontendBound},
		{schema.FindingClientLimited, clientLimited},
		{schema.FindingPrefixCacheIneffective, prefixCacheIneffective},
		{schema.FindingKVNotReleased, kvNotReleased},
		{schema.FindingHostMemoryLeak, hostMemoryLeak},
		{schema.FindingGPUMemoryGrowth, gpuMemoryGrowth},
		{schema.FindingOffloadBound, offloadBound},
		{schema.FindingKVTransferFailures, kvTransferFailures},
		{schema.FindingSpeculativeWaste, speculativeWaste},
		{schema.FindingReplicaImbalance, replicaImbalance},
		{schema.FindingAbortedRequests, abortedRequests},
		{schema.FindingCPUBoundHost, cpuBoundHost},
		{schema.FindingThrottledGPU, throttledGPU},
		{schema.FindingGPUUnderfed, gpuUnderfed},
		{schema.FindingLongRunningRequests, longRunningRequests},
	}
}
