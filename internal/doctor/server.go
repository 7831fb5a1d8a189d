package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vobs/vobs/internal/environ"
	"github.com/vobs/vobs/internal/vllm"
	"github.com/vobs/vobs/internal/vllm/args"
	"github.com/vobs/vobs/internal/vllm/config"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/sampler/proc"
)

// usualPorts are the ports of this host where a vLLM server is looked for: the default, and that
// of a second server.
var usualPorts = []string{vllm.DefaultPort, "8001"}

// maxServers bounds the addresses that are looked at besides the usual and the given ones.
const maxServers = 8

// servers checks the servers of --metrics-url, and those that run on this host already.
func (o *Options) servers(ctx context.Context) []Check {
	targets := slices.Clone(o.Targets)
	add := func(address string) {
		t, err := scrape.ParseTarget(address)
		if err == nil && !slices.ContainsFunc(targets, t.Same) {
			t.Origin = scrape.FromTree // headers go to the given addresses only
			targets = append(targets, t)
		}
	}
	for _, port := range o.Ports {
		add("http://127.0.0.1:" + port)
	}
	for _, address := range o.listeningEngines() {
		add(address)
	}
	results := make([][]Check, len(targets))
	var wg sync.WaitGroup
	for i, t := range targets {
		wg.Go(func() { results[i] = o.server(ctx, t, i < len(o.Targets)) })
	}
	wg.Wait()
	checks := slices.Concat(results...)
	if len(checks) == 0 {
		checks = append(checks, Check{"server", Note, "nothing listens on the usual ports of this host (" + strings.Join(o.Ports, ", ") + ")", "for a server elsewhere, give --metrics-url; one that the command starts, or whose address is among its arguments, is found by itself"})
	}
	return checks
}

// server checks what answers at one address. given reports whether the user named it.
func (o *Options) server(ctx context.Context, t scrape.Target, given bool) []Check {
	const name = "server"
	// Earlier than the end of the whole check, so that its result is known by then.
	if deadline, limited := ctx.Deadline(); limited {
		var cancel func()
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-o.Timeout/4))
		defer cancel()
	}
	if !probe.Listening(ctx, t) {
		if !given {
			return nil
		}
		return []Check{problem(name, "start the server first, or correct the address", "nothing listens at %s", t.Name())}
	}
	err := probe.Check(ctx, o.probeFor(t), t)
	late := ctx.Err() != nil || err != nil && strings.Contains(err.Error(), "timed out: ") // as package scrape words it
	about := t.Name()
	version, isVLLM := o.identify(ctx, t)
	if isVLLM {
		about += " is vLLM"
	}
	if version != "" && isVLLM {
		about += " " + version
	}
	owner := o.owner(ctx, t)
	switch {
	case err == nil && version == "" && !isVLLM:
		about += " exports metrics of an engine"
		fallthrough
	case err == nil:
		fix := ""
		if !given {
			fix = "vobs run --metrics-url " + t.Name() + ", unless the address is among the command's arguments"
		}
		return append([]Check{{name, OK, about + ", and its metrics can be read" + owner.describe(), fix}}, owner.check()...)
	case late:
		check := note(name, "look at what keeps the server: a run waits no more than 2 s for a page either", "%s accepts connections, but does not answer in time", t.Name())
		if given {
			check.Status = Problem
		}
		return []Check{check}
	case isVLLM:
		status := Note
		if given {
			status = Problem
		}
		return []Check{{name, status, about + ", without metrics: " + reason(err), "start it without --disable-log-stats"}}
	case given:
		return []Check{problem(name, fixOf(err), "%s", reason(err))}
	}
	return []Check{note(name, "choose another port for a vLLM server that the command starts", "something that is not vLLM answers at %s%s", t.Name(), owner.describe())}
}

// fixOf returns what to do about a server that was given and cannot be read as an engine.
func fixOf(err error) string {
	var status *scrape.StatusError
	switch {
	case !errors.As(err, &status):
		return "give the address of a vLLM server that runs"
	case status.Status == http.StatusUnauthorized, status.Status == http.StatusForbidden:
		return "give the server's key: --metrics-header 'Authorization: Bearer KEY'"
	case status.Status >= http.StatusInternalServerError:
		return "look at the server's log"
	}
	return "correct the address"
}

// probeFor returns how a target is read.
func (o *Options) probeFor(t scrape.Target) probe.Config {
	cfg := o.Probe
	if t.Origin != scrape.FromFlag {
		cfg.Headers = nil
	}
	return cfg
}

// identify asks a server for its version, and whether it is vLLM.
func (o *Options) identify(ctx context.Context, t scrape.Target) (version string, isVLLM bool) {
	cfg := o.probeFor(t)
	client := scrape.NewClient(t, cfg.Headers, cfg.CA)
	defer client.Close()
	if body, resp := client.Get(ctx, vllm.ModelsPath, ""); resp.Err == nil {
		isVLLM = config.OwnedByVLLM(body)
	}
	if body, resp := client.Get(ctx, vllm.VersionPath, ""); resp.Err == nil {
		if values, err := config.FromVersion(body); err == nil {
			version, _ = values["vllm_version"].(string)
		}
	}
	return version, isVLLM
}

// reason shortens an error of probe.Check.
func reason(err error) string { return strings.TrimPrefix(err.Error(), "no engine: ") }

// owner is the process behind an address of this host.
type owner struct {
	pid int
	err error // why it is unknown; nil if it is not on this host
	// dir is its directory of metrics files, "" if it has none; dirErr is why that cannot be read.
	dir    string
	dirErr error
}

// owner finds the process behind an address of this host, and its directory of metrics files.
func (o *Options) owner(ctx context.Context, t scrape.Target) (found owner) {
	port, local := t.Loopback()
	if !local || port == 0 {
		return owner{}
	}
	ip, err := netip.ParseAddr(t.URL.Hostname())
	if err != nil {
		ip = netip.IPv4Unspecified()
	}
	sockets := proc.NewSockets(proc.NewTable(o.ProcRoot), nil)
	for {
		found.pid, found.err = sockets.Owner(ip, port)
		if !errors.Is(found.err, proc.ErrSearching) {
			break
		}
		select {
		case <-ctx.Done():
			return found
		case <-time.After(10 * time.Millisecond):
		}
	}
	if found.err != nil {
		return found
	}
	env, err := proc.Environ(o.ProcRoot, found.pid)
	if err != nil {
		found.err = err
		return found
	}
	if dir, set := environ.Lookup(env, vllm.MultiprocDirVariable); set && dir != "" {
		found.dir = dir
		_, found.dirErr = os.ReadDir(dir)
	}
	return found
}

func (w owner) describe() string {
	if w.pid == 0 {
		return ""
	}
	return fmt.Sprintf(" (process %d)", w.pid)
}

// check returns what is worth knowing about the process.
func (w owner) check() []Check {
	const name = "server-process"
	const lost = "its memory on the GPUs and its resources will not count as the engine's"
	switch {
	case errors.Is(w.err, proc.ErrOwnerHidden), errors.Is(w.err, fs.ErrPermission):
		return []Check{note(name, "run vobs as the user of the server; for one in a container, in the same pid namespace or on its host", "the server's process may not be inspected: it is another user's, or in another pid namespace; %s", lost)}
	case w.dir != "" && w.dirErr != nil:
		return []Check{note(name, "", "the server's directory of metrics files cannot be read: %v; with several API servers a page shows the gauges of one of them", w.dirErr)}
	case w.dir != "":
		return []Check{ok(name, "its processes share metrics in %s, which can be read", w.dir)}
	}
	return nil
}

// listeningEngines returns the addresses of this host where vLLM's processes listen, as far as
// they can be inspected.
func (o *Options) listeningEngines() (addresses []string) {
	pids := o.serverProcesses()
	if len(pids) == 0 {
		return nil
	}
	// An error means that some could not be inspected; the others still count.
	listeners, _ := proc.NewSockets(proc.NewTable(o.ProcRoot), nil).ListenersOf(pids)
	for _, l := range listeners {
		if l.Port == 0 || len(addresses) == maxServers {
			continue
		}
		ip, err := netip.ParseAddr(l.Addr)
		if err != nil || !ip.IsUnspecified() && !ip.IsLoopback() {
			continue
		}
		host := "127.0.0.1"
		if ip.IsLoopback() {
			host = ip.String()
		}
		addresses = append(addresses, "http://"+net.JoinHostPort(host, strconv.Itoa(l.Port)))
	}
	return addresses
}

// serverProcesses returns the processes of this host that are vLLM's servers, by their command
// lines.
func (o *Options) serverProcesses() map[int]bool {
	pids := map[int]bool{}
	entries, _ := os.ReadDir(o.ProcRoot)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		p, err := proc.Read(o.ProcRoot, pid)
		if err != nil || !strings.HasPrefix(p.Comm, "vllm") && !strings.HasPrefix(p.Comm, "python") && !strings.HasPrefix(p.Comm, vllm.TitlePrefix) {
			continue
		}
		argv, err := proc.CommandLine(o.ProcRoot, pid)
		if err != nil || len(argv) == 0 {
			continue
		}
		dir, _ := os.Readlink(filepath.Join(o.ProcRoot, e.Name(), "cwd"))
		if args.Parse(argv, dir).Role == args.Server || strings.HasPrefix(argv[0], vllm.TitlePrefix+"APIServer") {
			pids[pid] = true
		}
	}
	return pids
}
