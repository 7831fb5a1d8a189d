package doctor

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/vobs/vobs/internal/wandb"
)

// wandb checks the settings for W&B. It never contacts the server, and never shows a key.
func (o *Options) wandb(context.Context) []Check {
	const name = "wandb"
	in := o.WandB
	asked := in.Mode != wandb.Disabled && in.Mode != ""
	if !asked {
		in.Mode = wandb.Auto
	}
	s, err := wandb.Load(in)
	if err != nil {
		const fix = "correct the flag or the variable, or leave --wandb out"
		if asked {
			return []Check{problem(name, fix, "%v", err)}
		}
		return []Check{note(name, fix, "%v", err)}
	}
	if s.Mode == wandb.Disabled {
		return []Check{ok(name, "disabled by WANDB_MODE, WANDB_DISABLED or a settings file")}
	}
	project := cmp.Or(s.Project, wandb.DefaultProject)
	if s.Entity != "" {
		project = s.Entity + "/" + project
	}
	where := s.BaseURL + ", project " + project
	unasked := "not asked for (--wandb)"
	if asked {
		unasked = "mode " + string(s.Mode)
	}
	var checks []Check
	credentials, err := s.Credentials()
	switch {
	case s.Mode == wandb.Offline:
		checks = append(checks, ok(name, "%s, offline: events go to %s", unasked, s.Dir))
	case err == nil:
		checks = append(checks, ok(name, "%s, %s, key from %s", unasked, where, credentials.Source))
	case !asked && errors.Is(err, wandb.ErrNoKey):
		checks = append(checks, ok(name, "%s; there is no key, which --wandb online would need", unasked))
	default:
		message, fix, _ := strings.Cut(err.Error(), ": ")
		checks = append(checks, note(name, cmp.Or(fix, "correct the credentials")+", or use --wandb offline", "%s, %s, but %s: events would be saved as offline runs", unasked, where, message))
	}
	for _, warning := range s.Warnings {
		checks = append(checks, note(name, "", "%s", warning))
	}
	return checks
}
