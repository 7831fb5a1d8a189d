package observe

import (
	"errors"
	"fmt"
	"time"

	"github.com/vobs/vobs/internal/child"
	"github.com/vobs/vobs/internal/environ"
	"github.com/vobs/vobs/internal/privatedir"
	"github.com/vobs/vobs/internal/vllm/args"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/sampler/host"
	"github.com/vobs/vobs/sampler/proc"
	"github.com/vobs/vobs/schema"
)

// whyElsewhere returns why the command may not be able to use a directory that vobs makes for
// it, or "". prometheus_client ends a program that cannot write its files, so such a command
// gets no directory.
func (r *run) whyElsewhere() string {
	l, found := args.ForeignLauncher(r.cfg.Args, func(name string) string {
		value, _ := environ.Lookup(r.env, name)
		return value
	})
	if !found {
		return ""
	}
	return fmt.Sprintf("%s %s, where a directory made here may be unusable: start vobs behind %[1]s (%[1]s … vobs run … -- COMMAND)", l.Name, l.Effect)
}

// prepareMetricsDir makes the prober read the directory in which the command's processes
// share their metrics, if there is one. elsewhere is that of whyElsewhere.
func (r *run) prepareMetricsDir(elsewhere string) {
	dir, err := newMetricsDir(r.cfg.Multiproc, r.cfg.Keep, r.env, r.line.Role == args.OfflineBenchmark, elsewhere)
	r.metricsDir = dir
	switch {
	case err != nil:
		r.warnNoMetricsDir(err.Error())
	case dir.withheld != "" && r.cfg.Multiproc == MultiprocOn:
		r.warnNoMetricsDir("--multiproc: " + dir.withheld)
	case dir.withheld != "":
		r.cfg.Debug("--multiproc: " + dir.withheld)
	case dir.path != "":
		r.cfg.Debug(dir.describe())
		r.prober.Add(probe.Directory(dir.path, dir.made))
	}
}

func (r *run) warnNoMetricsDir(message string) {
	r.cfg.Warn(message)
	r.notes.update(func(n *schema.Notes) { n.Doubt(schema.CodeNoMetricsDirectory, schema.Warning, message, nil) })
}

// reapWait bounds the wait for the reaping of descendants none of which lives any more.
const reapWait = 250 * time.Millisecond

// keepUsedDirs keeps the directories that vobs made as long as descendants of the command
// live, whose environment names them. A later run removes them.
func (r *run) keepUsedDirs(command *child.Command) {
	var dirs []string
	if r.metricsDir.made {
		dirs = append(dirs, r.metricsDir.path)
	}
	if dir := r.introspection.folder.Dir; dir != "" {
		dirs = append(dirs, dir)
	}
	if len(dirs) == 0 || command.WaitNoChildren(0) {
		return
	}
	r.metricsDir.inUse, r.introspection.inUse = true, true
	var users []proc.Process
	var listErr error
	if err := catchPanic(r.cfg.Debug, func() {
		var alive []host.Leftover
		alive, listErr = r.host.Leftovers()
		for _, p := range alive {
			users = append(users, p.Process)
		}
	}); errors.Join(err, listErr) != nil {
		err = errors.Join(err, listErr)
		r.cfg.Debug(err.Error()) // a later run finds the processes by their environment
	} else if len(users) == 0 && r.host.Tree().Err() == nil && command.WaitNoChildren(reapWait) {
		r.metricsDir.inUse, r.introspection.inUse = false, false
		return
	}
	for _, dir := range dirs {
		if err := privatedir.Leave(dir, users); err != nil {
			r.cfg.Warn(fmt.Sprintf("%s will not be removed, because it cannot be recorded who uses it: %v", dir, err))
		}
	}
}
