package args

import (
	"path/filepath"
	"slices"
	"strings"
)

// Launcher is a program in a command line that starts the command behind it elsewhere: as
// another user, in another root directory or mount namespace, or on another host. A
// directory of this process may be unreadable or absent there.
type Launcher struct {
	// Name is the program's name, without its directory.
	Name string
	// Effect is what it does to the command, as the rest of a sentence that begins with Name.
	Effect string
}

// launcher is a row of [launchers].
type launcher struct {
	names  []string
	effect string
	// dropsEnv is set if the environment does not reach the command, so that what is added
	// to it can break nothing.
	dropsEnv bool
	// stays reports whether the words after the name leave the command where it is; nil: they
	// never do. lookup returns environment variables.
	stays func(words []string, lookup func(string) string) bool
}

const (
	otherUser      = "runs the command as another user"
	otherRoot      = "runs the command in another root directory"
	otherNamespace = "runs the command in another mount or user namespace"
	otherHost      = "may run the command on another host"
	inContainer    = "runs the command in a container"
	byManager      = "has the command started by a service manager"
)

// launchers are the programs that start a command elsewhere. Sources: util-linux (setpriv(1),
// runuser(1), su(1), unshare(1), nsenter(1)), coreutils (chroot(1)), sudo(8), doas(1),
// pkexec(1), capsh(1), runit's chpst(8), daemontools' setuidgid(8), s6, gosu, su-exec,
// dpkg's start-stop-daemon(8), bubblewrap, firejail(1), nsjail, minijail0(1), PRoot,
// schroot(1), systemd (systemd-run(1), systemd-nspawn(1), machinectl(1)), Slurm (srun(1)),
// LSF (bsub, jsrun), PBS and Grid Engine (qsub, qrsh), Cray ALPS and PALS (aprun), Flux,
// Open MPI and PRRTE (mpirun(1), prun(1)), MPICH's and Intel MPI's Hydra, OpenSSH, pdsh,
// ClusterShell, GNU parallel, Docker, Podman, nerdctl, Kubernetes, Apptainer, Charliecloud,
// Shifter, Sarus, Enroot, udocker, LXC and Incus, Toolbx, Distrobox, Flatpak, snap.
var launchers = []launcher{
	{names: []string{"sudo"}, effect: otherUser},
	{names: []string{"doas", "pkexec"}, effect: otherUser, dropsEnv: true},
	{names: []string{"su", "runuser", "gosu", "su-exec", "setuidgid", "s6-setuidgid", "s6-applyuidgid", "chpst", "capsh", "start-stop-daemon"}, effect: otherUser},
	{names: []string{"setpriv"}, effect: otherUser, stays: setprivStays},
	{names: []string{"chroot", "fakechroot", "proot", "schroot"}, effect: otherRoot},
	{names: []string{"unshare"}, effect: otherNamespace, stays: unshareStays},
	{names: []string{"nsenter", "bwrap", "firejail", "nsjail", "minijail0", "rootlesskit"}, effect: otherNamespace},
	{names: []string{"apptainer", "singularity", "ch-run", "shifter", "sarus", "enroot", "udocker", "toolbox", "distrobox", "flatpak", "snap"}, effect: inContainer},
	{names: append([]string{"docker-compose", "podman-compose", "crictl", "ctr", "kubectl", "oc", "lxc", "lxc-attach", "incus", "systemd-nspawn", "machinectl", "flatpak-spawn"}, containerEngines...), effect: inContainer, dropsEnv: true},
	{names: []string{"systemd-run"}, effect: byManager, stays: systemdRunStays},
	{names: []string{"srun", "sbatch", "salloc", "bsub", "jsrun", "lsrun", "blaunch", "qsub", "qrsh", "aprun", "pals_mpiexec", "flux", "horovodrun"}, effect: otherHost},
	{names: []string{"mpirun", "mpiexec", "mpiexec.hydra", "mpiexec.openmpi", "mpirun.openmpi", "mpirun.mpich", "mpiexec.mpich", "orterun", "prterun", "prun"}, effect: otherHost, stays: mpiStays},
	{names: []string{"parallel"}, effect: otherHost, stays: parallelStays},
	{names: []string{"ssh", "autossh", "mosh", "rsh", "pdsh", "clush", "pssh", "parallel-ssh"}, effect: otherHost, dropsEnv: true},
}

// wrapper is a launcher that leaves the command where it is. What precedes the command is
// options, of which some have a value in the next word, and a number of arguments.
type wrapper struct {
	values    []string // options with a value
	arguments int
}

// wrappers are the launchers behind which another one is looked for even if no vLLM command is
// found (coreutils, util-linux, numactl(8), time(1), tini, bash).
var wrappers = map[string]wrapper{
	"env":       {values: []string{"-u", "--unset", "-C", "--chdir"}},
	"nice":      {values: []string{"-n", "--adjustment"}},
	"ionice":    {values: []string{"-c", "--class", "-n", "--classdata"}},
	"timeout":   {values: []string{"-k", "--kill-after", "-s", "--signal"}, arguments: 1},
	"time":      {values: []string{"-o", "--output", "-f", "--format"}},
	"taskset":   {arguments: 1},
	"chrt":      {values: []string{"-T", "--sched-runtime", "-P", "--sched-period", "-D", "--sched-deadline"}, arguments: 1},
	"numactl":   {values: []string{"-C", "--physcpubind", "-N", "--cpunodebind", "-m", "--membind", "-i", "--interleave", "-p", "--preferred", "-P", "--preferred-many", "-w", "--weighted-interleave"}},
	"stdbuf":    {values: []string{"-i", "--input", "-o", "--output", "-e", "--error"}},
	"flock":     {values: []string{"-w", "--wait", "--timeout", "-E", "--conflict-exit-code"}, arguments: 1},
	"tini":      {values: []string{"-p", "-e"}},
	"setpriv":   {values: setprivValues},
	"setsid":    {},
	"nohup":     {},
	"prlimit":   {},
	"unbuffer":  {},
	"dumb-init": {},
	"unshare":   {},
	"exec":      {values: []string{"-a"}},
	"command":   {},
	"builtin":   {},
}

// ForeignLauncher returns the first launcher in a command line that starts the command
// elsewhere. Before a vLLM command all words count; if none is found, the launchers at the
// beginning do, and in the program of `sh -c` those that pass the environment on. lookup
// returns environment variables: a batch system names an allocation's hosts there. Launchers
// in scripts are not seen.
func ForeignLauncher(argv []string, lookup func(string) string) (Launcher, bool) {
	if c := Locate(argv); c.Name != "" {
		for i, word := range argv[:c.At] {
			if i > 0 && slices.Contains(valueFlags, argv[i-1]) {
				continue
			}
			if l, ok := foreignAt(word, argv[i+1:c.At], lookup); ok {
				return Launcher{Name: filepath.Base(word), Effect: l.effect}, true
			}
		}
		return Launcher{}, false
	}
	return leadingLauncher(argv, lookup, false)
}

// foreignAt returns the row of a launcher that, followed by these words, starts a command elsewhere.
func foreignAt(word string, after []string, lookup func(string) string) (launcher, bool) {
	base := filepath.Base(word)
	i := slices.IndexFunc(launchers, func(l launcher) bool { return slices.Contains(l.names, base) })
	if i < 0 || launchers[i].stays != nil && launchers[i].stays(after, lookup) {
		return launcher{}, false
	}
	return launchers[i], true
}

// leadingLauncher is [ForeignLauncher] for the launchers at the beginning of a command. If
// inScript is set, those that drop the environment are skipped: what they start needs no
// protection, and the rest of the script is not started by them.
func leadingLauncher(words []string, lookup func(string) string, inScript bool) (Launcher, bool) {
	for len(words) > 0 {
		base := filepath.Base(words[0])
		after := words[1:]
		if l, ok := foreignAt(words[0], after, lookup); ok {
			if inScript && (l.dropsEnv || base == "sudo" && !sudoKeepsEnv(after)) {
				return Launcher{}, false
			}
			return Launcher{Name: base, Effect: l.effect}, true
		}
		if isShell(base) {
			return launcherInShell(after, lookup)
		}
		w, ok := wrappers[base]
		if !ok {
			return Launcher{}, false
		}
		_, words = splitOptions(after, w.values)
		for len(words) > 0 && base == "env" && strings.Contains(words[0], "=") {
			words = words[1:]
		}
		words = words[min(w.arguments, len(words)):]
	}
	return Launcher{}, false
}

// launcherInShell looks for launchers in the program of `sh -c`.
func launcherInShell(words []string, lookup func(string) string) (Launcher, bool) {
	for i, word := range words {
		if !strings.HasPrefix(word, "-") {
			return Launcher{}, false // a script
		}
		if !strings.HasPrefix(word, "--") && strings.Contains(word, "c") {
			return launcherInText(strings.Join(words[i+1:], " "), lookup)
		}
	}
	return Launcher{}, false
}

// shellKeywords precede a command in a shell's program.
var shellKeywords = []string{"if", "then", "else", "elif", "do", "while", "until", "!", "time"}

// launcherInText looks for launchers at the beginning of each simple command of a shell's
// program. It does not know quotes, so a text that looks like a command counts as one.
func launcherInText(text string, lookup func(string) string) (Launcher, bool) {
	text = strings.ReplaceAll(text, "\\\n", " ")
	for command := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(";&|\n(){}`", r) }) {
		words := strings.Fields(strings.NewReplacer(`"`, "", `'`, "").Replace(command))
		for len(words) > 0 && (slices.Contains(shellKeywords, words[0]) || strings.Contains(words[0], "=")) {
			words = words[1:]
		}
		if l, ok := leadingLauncher(words, lookup, true); ok {
			return l, true
		}
	}
	return Launcher{}, false
}

// splitOptions returns the options at the beginning of words and what follows them. The
// value of an option in values is the next word, unless it is attached. One-letter options
// without a value are returned one by one.
func splitOptions(words, values []string) (options, rest []string) {
	for i := 0; i < len(words); i++ {
		word := words[i]
		switch {
		case word == "--":
			return options, words[i+1:]
		case len(word) < 2 || word[0] != '-':
			return options, words[i:]
		case slices.Contains(values, word):
			options = append(options, word)
			i++
		case word[1] == '-':
			name, _, _ := strings.Cut(word, "=")
			options = append(options, name)
		case slices.Contains(values, word[:2]):
			options = append(options, word[:2])
		default:
			for _, letter := range word[1:] {
				options = append(options, "-"+string(letter))
			}
		}
	}
	return options, nil
}

func onlyHas(options, allowed []string) bool {
	return !slices.ContainsFunc(options, func(o string) bool { return !slices.Contains(allowed, o) })
}

var (
	setprivValues = []string{"--ambient-caps", "--inh-caps", "--bounding-set", "--groups", "--regid", "--rgid", "--egid", "--securebits", "--pdeathsig", "--ptracer", "--ruid", "--euid", "--reuid", "--selinux-label", "--apparmor-profile", "--landlock-access", "--landlock-rule", "--seccomp-filter"}
	// setprivKeeps are those options of setpriv(1) that keep the user, the environment and
	// the access to files. The owner of a directory needs no capability for it.
	setprivKeeps = []string{"--nnp", "--no-new-privs", "--ambient-caps", "--inh-caps", "--bounding-set", "--clear-groups", "--keep-groups", "--init-groups", "--groups", "--regid", "--rgid", "--egid", "--securebits", "--pdeathsig", "--ptracer"}
	// unshareKeeps are the namespaces that do not matter to files, and what goes with them.
	unshareKeeps = []string{"-n", "--net", "-u", "--uts", "-i", "--ipc", "-p", "--pid", "-f", "--fork", "-C", "--cgroup", "-T", "--time", "--kill-child"}
)

func setprivStays(words []string, _ func(string) string) bool {
	options, _ := splitOptions(words, setprivValues)
	return onlyHas(options, setprivKeeps)
}

func unshareStays(words []string, _ func(string) string) bool {
	options, _ := splitOptions(words, nil)
	return onlyHas(options, unshareKeeps)
}

// systemdRunStays: with --scope, systemd-run(1) itself becomes the command.
func systemdRunStays(words []string, _ func(string) string) bool {
	options := leadingWords(words)
	return hasOption(options, "--scope") && !hasOption(options, "--uid", "--gid", "-M", "--machine", "-H", "--host")
}

// mpiStays: without a list of hosts MPI's launchers start the command on this one. They find
// the lists of batch systems and of their own variables in the environment.
func mpiStays(words []string, lookup func(string) string) bool {
	for _, name := range []string{"SLURM_JOB_NODELIST", "SLURM_NODELIST", "PBS_NODEFILE", "PE_HOSTFILE", "LSB_HOSTS", "LSB_MCPU_HOSTS", "LSB_DJOB_HOSTFILE", "COBALT_NODEFILE", "HYDRA_HOST_FILE", "I_MPI_HYDRA_HOST_FILE", "I_MPI_HYDRA_HOSTS_LIST", "OMPI_MCA_orte_default_hostfile", "PRTE_MCA_prte_default_hostfile"} {
		if lookup(name) != "" {
			return false
		}
	}
	return !hasOption(leadingWords(words), "-H", "-host", "--host", "-hosts", "-hostlist", "-hostfile", "--hostfile", "-machinefile", "--machinefile", "--default-hostfile", "-default-hostfile", "-f", "-configfile", "--rankfile", "-rf", "--add-host", "--add-hostfile")
}

func parallelStays(words []string, _ func(string) string) bool {
	return !hasOption(leadingWords(words), "-S", "--sshlogin", "--slf", "--sshloginfile")
}

func sudoKeepsEnv(words []string) bool {
	return hasOption(leadingWords(words), "-E", "--preserve-env")
}

// leadingWords returns the options of a launcher whose options are not all known, with their
// values: the words before the second of two that are not options.
func leadingWords(words []string) []string {
	for i, word := range words {
		if word == "--" || i > 0 && !strings.HasPrefix(word, "-") && !strings.HasPrefix(words[i-1], "-") {
			return words[:i]
		}
	}
	return words
}

// hasOption reports whether one of the names is among the words, alone or with its value.
func hasOption(words []string, names ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool {
		name, _, _ := strings.Cut(w, "=")
		return slices.Contains(names, name)
	})
}
