package ab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vobs/vobs/internal/bracket"
	"github.com/vobs/vobs/internal/compare"
	"github.com/vobs/vobs/internal/deliver"
	"github.com/vobs/vobs/internal/events"
	"github.com/vobs/vobs/schema"
)

// resetTimeout bounds a request that empties a prefix cache.
const resetTimeout = 30 * time.Second

// ErrStopped is returned if the context ended before all runs were done.
var ErrStopped = errors.New("stopped")

// FailedError reports that a command failed.
type FailedError struct {
	Step Step
	Code int // its exit code; 128 and the signal's number if a signal killed it
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("the command of side %s failed with exit code %d (%s)", e.Step.Side, e.Code, e.Step)
}

func (s Step) String() string {
	if s.Pair == 0 {
		return "warm-up"
	}
	return fmt.Sprintf("run %d, pair %d", s.Position, s.Pair)
}

// Options of [Run].
type Options struct {
	Commands map[Side][]string
	Steps    []Step
	// Program is the path of vobs.
	Program string
	// Flags are flags of vobs run for every run; Labels are added to those of package ab.
	Flags  []string
	Labels map[string]string
	// Append is a file that every event is appended to; "" for none.
	Append string
	// Settle is waited for before each run but the first.
	Settle Settle
	// ResetURLs are servers whose prefix cache is emptied before each run, by a POST of
	// /reset_prefix_cache (vLLM: VLLM_SERVER_DEV_MODE=1).
	ResetURLs []string
	// KeepGoing goes on after a command that fails; its pair does not count.
	KeepGoing bool
	// Output takes the output of the commands.
	Output *os.File
	// Before is called before each run, with the time that all runs from it on will
	// probably take; 0 if unknown.
	Before func(step Step, left time.Duration)
	// Failed is called with each command that fails, if KeepGoing is set.
	Failed func(*FailedError)
	// Waiting is called with what Settle waits for, if it has to.
	Waiting func(why string)
	// Done is called with each event that counts, in order.
	Done func(step Step, e *schema.GenerationObservability)
}

// Run makes the runs of a plan. It returns a [FailedError] at a command that fails, and
// ErrStopped once ctx has ended and the run in progress is over.
func Run(ctx context.Context, opt Options) error {
	folder, err := os.MkdirTemp("", "vobs-ab-")
	if err != nil {
		return fmt.Errorf("making a folder for events: %w", err)
	}
	defer os.RemoveAll(folder)
	if opt.Append != "" { // what is wrong with the file is reported before the first run
		if _, err := deliver.Open(deliver.Spec{Append: opt.Append}); err != nil {
			return err
		}
	}
	var total time.Duration
	for i, step := range opt.Steps {
		if ctx.Err() != nil {
			return ErrStopped
		}
		began := time.Now()
		var left time.Duration
		if i > 0 {
			left = total / time.Duration(i) * time.Duration(len(opt.Steps)-i)
			if err := opt.Settle.wait(ctx, opt.Waiting); err != nil {
				return err
			}
		}
		opt.Before(step, left)
		for _, url := range opt.ResetURLs {
			if err := resetPrefixCache(ctx, url); err != nil {
				if ctx.Err() != nil {
					return ErrStopped
				}
				return err
			}
		}
		e, err := opt.run(ctx, step, filepath.Join(folder, strconv.Itoa(i)))
		total += time.Since(began)
		if e != nil && step.Pair > 0 {
			if opt.Append != "" {
				out, appendErr := deliver.Open(deliver.Spec{Append: opt.Append})
				if appendErr == nil {
					appendErr = out.Write(context.WithoutCancel(ctx), e.Line)
				}
				if appendErr != nil {
					return appendErr
				}
			}
			opt.Done(step, e.GenerationObservability)
		}
		if ctx.Err() != nil {
			return ErrStopped
		}
		if err != nil {
			failed := (*FailedError)(nil)
			if !opt.KeepGoing || !errors.As(err, &failed) {
				return err
			}
			opt.Failed(failed)
		}
	}
	return nil
}

// pause waits, and reports whether the context has not ended.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// run makes one run. It returns its event as well as an error if the command failed.
func (o *Options) run(ctx context.Context, step Step, file string) (*events.Event, error) {
	flags := slices.Clone(o.Flags)
	for name, value := range o.Labels {
		flags = append(flags, "--label", name+"="+value)
	}
	if step.Pair > 0 {
		for name, value := range map[string]string{
			compare.LabelSide: string(step.Side), compare.LabelPair: strconv.Itoa(step.Pair), compare.LabelPosition: strconv.Itoa(step.Position),
		} {
			flags = append(flags, "--label", name+"="+value)
		}
	}
	e, code, err := bracket.Run(ctx, bracket.Options{Program: o.Program, Flags: flags, Command: o.Commands[step.Side], Event: file, Output: o.Output})
	if notRun := (*bracket.NotRunError)(nil); errors.As(err, &notRun) {
		return nil, fmt.Errorf("vobs run could not run the command of side %s (exit code %d): see its message above", step.Side, notRun.Code)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", step, err)
	}
	if code == 128+int(syscall.SIGINT) {
		return e, ErrStopped // a Ctrl-C is for all of it
	}
	if code != 0 {
		return e, &FailedError{step, code}
	}
	return e, nil
}

// resetPrefixCache empties the prefix cache of a vLLM server.
func resetPrefixCache(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, resetTimeout)
	defer cancel()
	address := strings.TrimSuffix(url, "/") + "/reset_prefix_cache"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, nil)
	if err != nil {
		return fmt.Errorf("--reset-prefix-cache %s: %w", url, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("emptying the prefix cache: %w", err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<20))
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("emptying the prefix cache: POST %s: %s (vLLM has this address only with VLLM_SERVER_DEV_MODE=1)", address, response.Status)
	}
	return nil
}
