package observe

import (
	"fmt"
	"maps"
	"strings"

	"github.com/vobs/vobs/internal/intent"
	"github.com/vobs/vobs/internal/redact"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/schema"
)

// compareIntents compares the intended settings with those that the engine reports,
// whichever source reported them and whether the event has them or not.
func (r *run) compareIntents(e *schema.GenerationObservability, engine *aggregate.Output, notes *schema.Notes) {
	in, secret := r.publicIntents()
	effective := effectiveSettings(e, engine)
	why := ""
	switch {
	case in.Empty() && len(secret) == 0:
		why = "no settings were intended: the command line sets none of the engine's options: give --intend or --intend-file"
		if in.Reason != "" {
			why = "no settings were intended: " + in.Reason
		}
	case len(effective) == 0 && len(engine.Off) == 0 && len(engine.Reported) == 0:
		why = "the engine's settings are unknown: see engine_runtime_config and engine.config in unavailable"
	}
	if why != "" {
		for _, field := range []string{"flag_mismatches", "flags_checked", "flags_unchecked"} {
			notes.Missing(field, why)
		}
		return
	}
	c := intent.Compare(in, intent.Effective{
		Values: effective, Off: engine.Off, Find: engine.Reported.Find,
		Why: func(name string) string { return whyUnknown(e, engine, notes, name) },
	})
	e.FlagDidNotEngage = c.DidNotEngage
	e.FlagsChecked, e.FlagsUnchecked = c.Checked, append(c.Unchecked, secret...)
	if len(c.Checked) == 0 {
		notes.Missing("flag_mismatches", "none of the intended settings could be compared: see flags_unchecked")
	} else {
		e.FlagMismatches = c.Mismatches
	}
	for i := range e.FlagMismatches {
		e.FlagMismatches[i] = r.redactor.Text(e.FlagMismatches[i])
	}
	for i := range e.FlagsChecked {
		e.FlagsChecked[i] = r.redactor.Text(e.FlagsChecked[i])
	}
	for i := range e.FlagsUnchecked {
		e.FlagsUnchecked[i].Flag = r.redactor.Text(e.FlagsUnchecked[i].Flag)
		e.FlagsUnchecked[i].Reason = r.redactor.Text(r.redactor.Quoting(e.FlagsUnchecked[i].Reason, r.cfg.Args))
	}
}

// publicIntents returns the intended settings without those whose name is a secret's:
// their values must not appear anywhere. It lists these separately.
func (r *run) publicIntents() (public intent.Intents, secret []schema.FlagUnchecked) {
	public = intent.Intents{}.Over(r.intents) // a copy
	for _, name := range public.Names() {
		if redact.IsSecretName(name) {
			delete(public.Values, name)
			secret = append(secret, schema.FlagUnchecked{Flag: name, Reason: "it is a secret"})
		}
	}
	for name := range public.Problems {
		if redact.IsSecretName(name) {
			public.Problems[name] = "it is a secret and cannot be read"
		}
	}
	return public, secret
}

// effectiveSettings returns the engine's settings by the event's names: those of
// engine.config and the six of engine_runtime_config.
func effectiveSettings(e *schema.GenerationObservability, engine *aggregate.Output) map[string]any {
	out := map[string]any{}
	maps.Copy(out, engine.Settings)
	for _, s := range e.EngineRuntimeConfig.Settings() {
		out[s.Key] = s.Value
	}
	return out
}

// whyUnknown returns why the engine does not report a setting, by the event's reasons, or "".
func whyUnknown(e *schema.GenerationObservability, engine *aggregate.Output, notes *schema.Notes, name string) string {
	for _, u := range notes.Unavailable {
		if u.Field == "engine_runtime_config."+name || u.Field == "engine.config.values."+name {
			return u.Reason
		}
	}
	for _, u := range notes.Unavailable {
		switch u.Field {
		case "engine_runtime_config", "engine.config", "engine.config.values":
			if mentions(u.Reason, name) {
				return fmt.Sprintf("the engine does not report it: see %s in unavailable", u.Field)
			}
		}
	}
	if (e.Engine == nil || e.Engine.Config == nil) && len(engine.Reported) == 0 {
		return "only the settings in engine_runtime_config are known: see engine.config in unavailable"
	}
	return ""
}

// mentions reports whether a reason contains the name of a setting as a word.
func mentions(reason, name string) bool {
	for _, word := range strings.FieldsFunc(reason, func(r rune) bool { return strings.ContainsRune(" ,;:()", r) }) {
		if word == name {
			return true
		}
	}
	return false
}
