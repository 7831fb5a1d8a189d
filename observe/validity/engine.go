package validity

import (
	"fmt"
	"strings"

	"github.com/vobs/vobs/schema"
)

// warmShare is the share of the run's prompt tokens from a warm prefix cache that is noted.
const warmShare = 0.01

// flagDidNotEngage notes intended settings that the engine reports otherwise.
func flagDidNotEngage(in Input, n *schema.Notes) {
	if m := in.Event.FlagMismatches; len(m) > 0 {
		n.Doubt(schema.CodeFlagDidNotEngage, schema.Warning,
			"intended settings did not take effect: "+strings.Join(m, "; "),
			&schema.Evidence{Field: "flag_mismatches", Value: len(m), Threshold: 0})
	}
}

// statsDisabled notes engines without statistics.
func statsDisabled(in Input, n *schema.Notes) {
	if names := in.Engines.WithoutStats; len(names) > 0 {
		n.Doubt(schema.CodeStatsDisabled, schema.Warning,
			fmt.Sprintf("vLLM answers at %s without its metrics, as with --disable-log-stats: no figure includes its engine", strings.Join(names, ", ")), nil)
	}
}

// warmPrefixCache notes that the prefix cache had been filled before the run.
func warmPrefixCache(in Input, n *schema.Notes) {
	w := in.Engines.WarmCache
	if w == nil || w.Prompt <= 0 {
		return
	}
	share := float64(w.Hits) / float64(w.Prompt)
	if share < warmShare {
		return
	}
	field := "engine.prefix_cache.local"
	if e := in.Event.Engine; e != nil && e.Tokens != nil && e.Tokens.PromptBySource != nil {
		field = "engine.tokens.prompt_by_source"
	}
	n.Doubt(schema.CodeWarmPrefixCache, schema.Warning,
		fmt.Sprintf("the engine had served requests before the run, and %.1f %% of this run's prompt tokens came from its prefix cache: a run on a fresh engine may be slower", 100*share),
		&schema.Evidence{Field: field, Value: schema.Float(share), Threshold: schema.Float(warmShare)})
}

// engineWarmedUp notes that requests were served by an engine that had just come up.
func engineWarmedUp(in Input, n *schema.Notes) {
	if names := in.Engines.CameUp; len(names) > 0 {
		n.Doubt(schema.CodeEngineWarmedUp, schema.Info,
			fmt.Sprintf("the engine at %s came up during the run: its first requests may have paid for compilation and graph capture", strings.Join(names, ", ")),
			&schema.Evidence{Field: "engine.window.base", Value: in.base()})
	}
}

// base returns engine.window.base, or nil.
func (in Input) base() any {
	if e := in.Event.Engine; e != nil && e.Window != nil {
		return e.Window.Base
	}
	return nil
}
