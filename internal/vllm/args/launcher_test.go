package args

import (
	"strings"
	"testing"
)

func TestForeignLauncher(t *testing.T) {
	for _, c := range []struct {
		line string
		want string // the launcher's name; "" if the command stays where it is
	}{
		// Before vLLM.
		{"vllm bench throughput --model m", ""},
		{"env A=b nice -n 5 timeout -k 5 60 taskset -c 0-3 numactl -N 0 stdbuf -oL ionice -c 2 chrt -f 10 setsid vllm bench throughput", ""},
		{"uv run --with su --from ssh vllm bench throughput", ""},
		{"torchrun --nproc-per-node 2 -m vllm.entrypoints.cli.main bench throughput", ""},
		{"python -m vllm.entrypoints.cli.main bench latency --tokenizer sudo", ""},
		{"vllm bench throughput --model su ssh", ""},
		{"setpriv --reuid 54321 --regid 54321 --clear-groups vllm bench throughput", "setpriv"},
		{"setpriv --reuid=54321 vllm bench throughput", "setpriv"},
		{"setpriv --reset-env vllm bench throughput", "setpriv"},
		{"setpriv --nnp --pdeathsig keep --bounding-set=-all vllm bench throughput", ""},
		{"runuser -u nobody -- vllm bench throughput", "runuser"},
		{"timeout 60 /usr/sbin/runuser -u nobody -- env A=b vllm bench throughput", "runuser"},
		{"sudo vllm bench throughput", "sudo"},
		{"sudo -u user -E vllm bench throughput", "sudo"},
		{"doas -u user vllm bench throughput", "doas"},
		{"gosu nobody vllm bench throughput", "gosu"},
		{"chroot /srv/root vllm bench throughput", "chroot"},
		{"unshare -m vllm bench throughput", "unshare"},
		{"unshare -r vllm bench throughput", "unshare"},
		{"unshare -Urpf --mount-proc vllm bench throughput", "unshare"},
		{"unshare -npf --kill-child=TERM vllm bench throughput", ""},
		{"nsenter -t 1 -m vllm bench throughput", "nsenter"},
		{"bwrap --dev-bind / / vllm bench throughput", "bwrap"},
		{"firejail vllm bench throughput", "firejail"},
		{"srun -n 1 -J job vllm bench throughput", "srun"},
		{"srun -J mpirun vllm bench throughput", "srun"},
		{"mpirun -np 2 vllm bench throughput", ""},
		{"mpirun -np 2 -H a,b vllm bench throughput", "mpirun"},
		{"mpiexec --hostfile=hosts vllm bench throughput", "mpiexec"},
		{"mpiexec.hydra -f hosts vllm bench throughput", "mpiexec.hydra"},
		{"ssh gpu1 vllm bench throughput", "ssh"},
		{"apptainer exec --nv vllm.sif vllm bench throughput", "apptainer"},
		{"singularity run vllm.sif vllm bench throughput", "singularity"},
		{"docker run --entrypoint vllm vllm/vllm-openai bench throughput", "docker"},
		{"docker run rocm/vllm vllm bench throughput", "docker"},
		{"docker exec server vllm bench throughput", "docker"},
		{"sudo docker run vllm/vllm-openai --model m", "sudo"},
		{"podman exec -it server vllm serve m", "podman"},
		{"kubectl exec pod -- vllm bench throughput", "kubectl"},
		{"flatpak run app vllm bench throughput", "flatpak"},
		{"systemd-run --user --wait vllm bench throughput", "systemd-run"},
		{"systemd-run --uid=nobody --scope vllm bench throughput", "systemd-run"},
		{"systemd-run --user --scope -p MemoryMax=8G vllm bench throughput", ""},
		{"parallel -j 2 vllm bench throughput --model ::: a b", ""},
		{"parallel -S gpu1 vllm bench throughput --model ::: a b", "parallel"},
		// Before other commands.
		{"python job.py", ""},
		{"python job.py sudo", ""},
		{"make ssh", ""},
		{"sudo python job.py", "sudo"},
		{"env -u X A=b nice sudo python job.py", "sudo"},
		{"timeout -s INT 60 su nobody -c job", "su"},
		{"timeout ssh job", ""}, // ssh is where the duration would be
		{"flock lock setpriv --euid 5 python job.py", "setpriv"},
		{"setpriv --nnp sudo python job.py", "sudo"},
		{"mpirun -np 2 python job.py -f file", ""},
		{"mpirun --oversubscribe python job.py --host a", ""},
		{"mpirun -x A --host a python job.py", "mpirun"},
		{"docker compose run engine", "docker"},
		{"docker build .", "docker"},
		{"bash run.sh sudo", ""},
		{"bash -x run.sh", ""},
		{"exec", ""},
		{"env", ""},
		{"", ""},
		// In a shell's program: those that pass the environment on.
		{"bash -c vllm bench throughput", ""},
		{"bash -lc setpriv --reuid 5 vllm bench throughput", "setpriv"},
		{"env A=b sh -ec cd /x && A=b exec runuser -u nobody -- python job.py", "runuser"},
		{"sh -c if true; then (chroot /srv python job.py); fi", "chroot"},
		{"sh -c 'timeout 5 unshare -m python job.py'", "unshare"},
		{`sh -c "sh -c 'su nobody -c job'"`, "su"},
		{"sh -c srun python job.py | tee log", "srun"},
		{"sh -c sudo -E python job.py", "sudo"},
		{"sh -c sudo python job.py", ""},
		{"sh -c ssh host true; vllm bench throughput", ""},
		{"sh -c docker pull image; python job.py", ""},
		{"sh -c echo su; python job.py --launcher srun", ""},
		{"sh -c", ""},
	} {
		got, ok := ForeignLauncher(strings.Fields(c.line), func(string) string { return "" })
		if got.Name != c.want || ok != (c.want != "") || ok != (got.Effect != "") {
			t.Errorf("%s: %+v, want %q", c.line, got, c.want)
		}
	}
}

// In an allocation of several hosts, MPI's launchers take them from the environment.
func TestForeignLauncherInAllocation(t *testing.T) {
	line := strings.Fields("mpirun -np 2 vllm bench throughput")
	for _, name := range []string{"SLURM_JOB_NODELIST", "PBS_NODEFILE", "LSB_HOSTS"} {
		got, ok := ForeignLauncher(line, func(n string) string {
			if n == name {
				return "a,b"
			}
			return ""
		})
		if !ok || got.Name != "mpirun" {
			t.Errorf("with %s: %+v, %v", name, got, ok)
		}
	}
}

// A row that no lookup can reach, or a name in two rows, is a mistake.
func TestLaunchersAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, l := range launchers {
		for _, name := range l.names {
			if seen[name] || l.effect == "" {
				t.Errorf("%s is listed twice, or has no effect", name)
			}
			seen[name] = true
			if w, ok := wrappers[name]; ok && l.stays == nil {
				t.Errorf("%s is a launcher that always starts the command elsewhere, and a wrapper: %+v", name, w)
			}
		}
	}
}
