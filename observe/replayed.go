package observe

import (
	"github.com/vobs/vobs/observe/validity"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/schema"
)

// Replayed returns an event about a window of time in which no command was run: the engine's
// figures were recorded by another program (see [probe.Replay]). notRead is the reason why there
// are no figures of the host and the GPUs.
func Replayed(about schema.Run, read aggregate.Output, notRead string) *schema.GenerationObservability {
	notes := read.Notes
	for _, field := range []string{
		"run.exit_code", "peak_vram_gb", "loadavg_pre", "loadavg_post", "flag_mismatches", "flags_checked", "flags_unchecked",
		"overhead", "host", "gpus", "efficiency",
	} {
		notes.Missing(field, notRead)
	}
	e := newEvent(about, &read)
	e.Series = series(read.Curves, seconds(about.DurationSeconds))
	if e.Series == nil {
		notes.Missing("series", "no figure has a reading in the window")
	}
	validity.Check(validity.Input{Event: e, Engines: engineConditions(read.Conditions)}, &notes)
	e.Validity, e.Unavailable = notes.Validity, notes.Unavailable
	return e
}

// newEvent returns an event that has the engine's figures.
func newEvent(about schema.Run, read *aggregate.Output) *schema.GenerationObservability {
	return &schema.GenerationObservability{
		Core: schema.Core{
			KVCacheUsagePerc:    read.KVCacheUsagePerc,
			PrefixCacheHitRate:  read.PrefixCacheHitRate,
			SpecAcceptRate:      read.SpecAcceptRate,
			EngineRuntimeConfig: read.EngineRuntimeConfig,
		},
		SchemaVersion: schema.Version,
		Run:           about,
		Engine:        read.Engine,
		Omni:          read.Omni,
	}
}

// engineConditions returns what the rules of package validity look at of engines.
func engineConditions(c aggregate.Conditions) validity.Engines {
	return validity.Engines{
		WarmCache: (*validity.WarmCache)(c.WarmCache), CameUp: c.CameUp, WithoutStats: c.WithoutStats, Profiled: c.Profiled,
	}
}
