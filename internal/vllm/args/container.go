package args

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vobs/vobs/internal/pyvalue"
)

// Container is the container in which `docker run` or a command like it starts vLLM.
type Container struct {
	// HostNetwork is set if the container has the host's network.
	HostNetwork bool
	// Remote is set if the command line names another host or context for the containers.
	Remote bool

	published []string // the values of --publish
}

// HostPort returns the address of a port of the container on this host. address is "" if
// the container has the host's own addresses. ok is false if the port is not published, or
// under a port that the container engine chooses.
func (c *Container) HostPort(port string) (address, hostPort string, ok bool) {
	if c.Remote {
		return "", "", false
	}
	if c.HostNetwork {
		return "", port, true
	}
	want, err := strconv.Atoi(port)
	if err != nil {
		return "", "", false
	}
	for _, p := range c.published {
		if address, n, found := publishedAt(p, want); found {
			return address, strconv.Itoa(n), true
		}
	}
	return "", "", false
}

// publishedAt reads a value of --publish, [[ADDRESS:]PORT:]PORT[/PROTOCOL], where each PORT
// may be a range, and returns where it publishes a port of the container.
func publishedAt(publish string, port int) (address string, hostPort int, ok bool) {
	publish, protocol, _ := strings.Cut(publish, "/")
	host, inside, found := cutLast(publish, ":")
	if !found || protocol != "" && protocol != "tcp" {
		return "", 0, false
	}
	address, outside, found := cutLast(host, ":")
	if !found {
		address, outside = "", host
	}
	first, last, ok := portRange(inside)
	if !ok || port < first || port > last {
		return "", 0, false
	}
	from, to, ok := portRange(outside)
	if !ok || to-from != last-first {
		return "", 0, false
	}
	if address = strings.Trim(address, "[]"); address == "" {
		address = "127.0.0.1"
	}
	return address, from + port - first, true
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func portRange(s string) (first, last int, ok bool) {
	from, to, isRange := strings.Cut(s, "-")
	if !isRange {
		to = from
	}
	first, err := strconv.Atoi(from)
	last, err2 := strconv.Atoi(to)
	return first, last, err == nil && err2 == nil && first > 0 && first <= last
}

// containerEngines are the programs whose `run` has the options of docker's.
var containerEngines = []string{"docker", "podman", "nerdctl", "nvidia-docker"}

// engineSwitches are options without a value before `run`, runSwitches those after it
// (docker 28, podman 5, nerdctl 2). All others take a value.
var (
	engineSwitches = []string{"-D", "--debug", "--tls", "--tlsverify", "-r", "--remote", "--debug-full", "--insecure-registry", "--experimental", "--syslog", "--trace"}
	runSwitches    = []string{
		"detach", "disable-content-trust", "init", "interactive", "no-healthcheck", "oom-kill-disable", "privileged", "publish-all", "quiet", "read-only", "rm", "sig-proxy", "tty", "use-api-socket", "help",
		"env-host", "http-proxy", "no-hostname", "no-hosts", "passwd", "read-only-tmpfs", "replace", "rmi", "rootfs", "tls-verify", "unsetenv-all",
	}
)

// runShortSwitches are the one-letter options of `run` without a value.
const runShortSwitches = "ditPq"

// remoteOptions name another host, or a context that may be one.
var remoteOptions = []string{"-H", "--host", "-c", "--context", "--connection", "--url", "-r", "--remote"}

// containerRun is a `docker run` in a command line.
type containerRun struct {
	Container
	image      string
	imageAt    int
	entrypoint []string // nil if the option is absent
}

// findContainerRun finds `docker run` and its image in a command line.
func findContainerRun(args []string) (run containerRun, ok bool) {
	i := slices.IndexFunc(args, func(a string) bool { return slices.Contains(containerEngines, filepath.Base(a)) })
	if i < 0 {
		return run, false
	}
	for i++; i < len(args) && args[i] != "run"; i++ {
		flag, _, hasValue := strings.Cut(args[i], "=")
		switch {
		case slices.Contains(remoteOptions, flag):
			run.Remote = true
		case args[i] == "container":
			continue
		case !strings.HasPrefix(flag, "-"):
			return run, false // another subcommand
		}
		if !hasValue && !slices.Contains(engineSwitches, flag) {
			i++
		}
	}
	for i++; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			continue
		case strings.HasPrefix(arg, "--"):
			name, value, hasValue := strings.Cut(arg[2:], "=")
			if !hasValue && !slices.Contains(runSwitches, name) && i+1 < len(args) {
				i++
				value = args[i]
			}
			run.set(name, value)
		case len(arg) > 1 && arg[0] == '-':
			rest := strings.TrimLeft(arg[1:], runShortSwitches)
			if rest == "" {
				continue
			}
			value := strings.TrimPrefix(rest[1:], "=")
			if value == "" && i+1 < len(args) {
				i++
				value = args[i]
			}
			run.set(rest[:1], value)
		default:
			run.image, run.imageAt = arg, i
			return run, true
		}
	}
	return run, false
}

// set records an option of `docker run`.
func (r *containerRun) set(name, value string) {
	switch name {
	case "net", "network":
		r.HostNetwork = value == "host"
	case "p", "publish":
		r.published = append(r.published, value)
	case "entrypoint":
		r.entrypoint = []string{}
		if list, err := pyvalue.ParseJSON(value); err == nil { // podman takes a list, too
			if words, ok := list.([]any); ok {
				for _, w := range words {
					r.entrypoint = append(r.entrypoint, pyvalue.Str(w))
				}
				return
			}
		}
		if value != "" {
			r.entrypoint = append(r.entrypoint, value)
		}
	}
}

// locate finds vLLM in the container's command: the entry point and the words after the
// image. The entry point of vLLM's images is `vllm serve`, in earlier versions the module of
// the API server, which has the same options (docker/Dockerfile, target vllm-openai).
func (r *containerRun) locate(args []string) Command {
	after := args[r.imageAt+1:]
	if r.entrypoint == nil && r.startsServer(after) {
		return Command{At: r.imageAt + 1, Name: "serve", Container: &r.Container, entry: []string{"serve"}}
	}
	c := locateWords(slices.Concat(r.entrypoint, after))
	if c.At < len(r.entrypoint) {
		c.entry, c.At = r.entrypoint[c.At:], len(r.entrypoint)
	}
	c.At += r.imageAt + 1 - len(r.entrypoint)
	c.Container = &r.Container
	return c
}

// startsServer reports whether the image's own entry point is vLLM's server. Images with
// other programs (rocm/vllm, nvcr.io/nvidia/vllm) are given a command, and those that users
// build for other devices (vllm-cpu-env) are given options.
func (r *containerRun) startsServer(after []string) bool {
	name, _, _ := strings.Cut(r.image, "@")
	name = name[strings.LastIndexByte(name, '/')+1:]
	name, _, _ = strings.Cut(name, ":")
	options := len(after) > 0 && strings.HasPrefix(after[0], "-")
	return strings.HasPrefix(name, "vllm-openai") && (options || locateWords(after).Name == "") || strings.Contains(name, "vllm") && options
}
