package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vobs/vobs/internal/bracket"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/schema"
)

// checkTimeout is how long the engines may take to answer before a live reading begins.
const checkTimeout = 5 * time.Second

// LiveOptions are those of [Live].
type LiveOptions struct {
	// Program is the path of vobs.
	Program string
	// Targets are the addresses of the engines.
	Targets []scrape.Target
	// Probe has the headers and the certificates for them.
	Probe probe.Config
	// Flags are those of vobs run that name the addresses and how they are read.
	Flags []string
	// For is how long the engines are read.
	For time.Duration
	// Warn receives one-line warnings for the user.
	Warn func(string)
}

// Live reads engines for a while and returns the event: vobs run reads them, the host and its GPUs
// while a command waits. If the context ends, so does the reading, and the event is about the time
// until then. An error wraps [ErrNoEngine] if no address is an engine's.
func Live(ctx context.Context, o LiveOptions) (*schema.GenerationObservability, error) {
	if err := o.check(ctx); err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "vobs-diagnose-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for the event: %w", err)
	}
	defer os.RemoveAll(folder)
	e, _, err := bracket.Run(ctx, bracket.Options{
		Program:  o.Program,
		Flags:    slices.Concat([]string{"--quiet"}, o.Flags),
		Command:  []string{"sleep", strconv.FormatFloat(o.For.Seconds(), 'f', -1, 64)},
		Env:      environment(),
		Event:    filepath.Join(folder, "event.json"),
		Output:   os.Stderr,
		OwnGroup: true,
	})
	if err != nil {
		return nil, err
	}
	return e.GenerationObservability, nil
}

// keptVariables are the variables of vobs run that say how addresses are read. They may hold
// secrets, which a flag would show to everyone on the host.
var keptVariables = []string{"VOBS_METRICS_HEADER", "VOBS_METRICS_CA"}

// environment returns this process's environment without the other variables of vobs run, which
// are meant for runs of the user's own: where their events go, for example.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return strings.HasPrefix(name, "VOBS_") && !slices.Contains(keptVariables, name)
	})
}

// check returns an error unless one of the addresses is an engine's, and warns of those that are
// not.
func (o *LiveOptions) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	errs := make([]error, len(o.Targets))
	var wg sync.WaitGroup
	for i, t := range o.Targets {
		wg.Go(func() { errs[i] = probe.Check(ctx, o.Probe, t) })
	}
	wg.Wait()
	failed := slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(failed) == len(o.Targets) {
		return fmt.Errorf("%w answers: %w", ErrNoEngine, errors.Unwrap(failed[0]))
	}
	for _, err := range failed {
		o.Warn(err.Error())
	}
	return nil
}
