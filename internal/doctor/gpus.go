package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/environ"
	"github.com/vobs/vobs/internal/render"
	"github.com/vobs/vobs/sampler/gpu"
	"github.com/vobs/vobs/sampler/proc"
)

// driverEvidence returns what shows that there is an NVIDIA driver, or a GPU of NVIDIA without
// one; "" if nothing does.
func (o *Options) driverEvidence() string {
	version := filepath.Join(o.ProcRoot, "driver/nvidia/version")
	if _, err := os.Lstat(version); err == nil {
		return version
	}
	drivers := filepath.Join(o.ProcRoot, "devices")
	if text, err := os.ReadFile(drivers); err == nil && strings.Contains(string(text), " nvidia") {
		return drivers
	}
	// The node alone may be left from a driver, or was made by its library: opening it shows
	// whether there is a driver behind it, and touches no GPU.
	control := filepath.Join(o.DevRoot, "nvidiactl")
	fd, err := unix.Open(control, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	switch {
	case err == nil:
		unix.Close(fd)
		return control
	case !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENXIO) && !errors.Is(err, unix.ENODEV):
		return control
	}
	if dxg := filepath.Join(o.DevRoot, "dxg"); proc.Exists(dxg) { // Windows Subsystem for Linux
		return dxg
	}
	return ""
}

// pciGPU returns the PCI address of a GPU of NVIDIA; "" if there is none. The vendor is 0x10de,
// the class of displays and 3D controllers 0x03 (Documentation/PCI/sysfs-pci.rst, pci.ids).
func (o *Options) pciGPU() string {
	devices, _ := filepath.Glob(filepath.Join(o.SysRoot, "bus/pci/devices/*"))
	for _, dir := range devices {
		vendor, _ := os.ReadFile(filepath.Join(dir, "vendor"))
		class, _ := os.ReadFile(filepath.Join(dir, "class"))
		if strings.TrimSpace(string(vendor)) == "0x10de" && strings.HasPrefix(string(class), "0x03") {
			return filepath.Base(dir)
		}
	}
	return ""
}

// ifDriver returns one of two statuses, by whether there is an NVIDIA driver or GPU.
func (o *Options) ifDriver(there, absent Status) Status {
	if o.driverEvidence() != "" || o.pciGPU() != "" {
		return there
	}
	return absent
}

// container returns what shows that this is a container; "" if nothing does.
func (o *Options) container() string {
	for _, name := range []string{".dockerenv", "run/.containerenv", ".singularity.d"} {
		if _, err := os.Lstat(filepath.Join(o.Root, name)); err == nil {
			return "/" + name
		}
	}
	for _, name := range []string{"KUBERNETES_SERVICE_HOST", "APPTAINER_CONTAINER", "container"} {
		if o.env(name) != "" {
			return name
		}
	}
	return ""
}

// gpus checks NVML, the devices, and whether their processes can be matched.
func (o *Options) gpus(context.Context) []Check {
	cfg := gpu.Config{Order: o.env("CUDA_DEVICE_ORDER"), Devices: o.Devices, ProcRoot: o.ProcRoot}
	if visible, set := environ.Lookup(o.Environ, "CUDA_VISIBLE_DEVICES"); set {
		cfg.Visible = &visible
	}
	in, err := o.InspectGPUs(cfg)
	if err != nil {
		return []Check{o.noNVML(err)}
	}
	library := o.libraryPath()
	if library != "" {
		library = ", " + library
	}
	checks := []Check{ok("nvml", "driver %s%s", orUnknown(in.Driver), library)}
	checks = append(checks, devices(in, len(o.Devices) > 0)...)
	if len(in.Devices) > 0 {
		checks = append(checks, o.gpuProcesses(in))
	}
	return checks
}

// noNVML explains why NVML does not work.
func (o *Options) noNVML(err error) Check {
	const name = "nvml"
	const noGPU = "this machine shows no NVIDIA driver and no GPU: figures of GPUs will be missing"
	evidence, pci := o.driverEvidence(), o.pciGPU()
	what := libraryState(err)
	if evidence == "" && pci == "" {
		switch {
		case errors.Is(err, gpu.ErrNoSupport):
			return note(name, "", "%s", what)
		case o.container() != "":
			return note(name, "if the host has GPUs, "+giveAccess, "%s (%s)", noGPU, what)
		}
		return note(name, "", "%s (%s)", noGPU, what)
	}
	there := "an NVIDIA driver is there (" + evidence + ")"
	if evidence == "" {
		there = "an NVIDIA GPU is there (PCI " + pci + ")"
	}
	return problem(name, o.repair(err, evidence != ""), "%s; %s", what, there)
}

// giveAccess is what to do about a container without GPUs.
const giveAccess = "give the container access: docker run --gpus all; in Kubernetes runtimeClassName nvidia and a limit nvidia.com/gpu; --nv for Apptainer; the host needs the NVIDIA Container Toolkit"

// repair returns what to do about an error of NVML on a machine with a GPU. driver reports whether
// there is a driver.
func (o *Options) repair(err error, driver bool) string {
	inContainer := o.container() != ""
	capabilities, limited := environ.Lookup(o.Environ, "NVIDIA_DRIVER_CAPABILITIES")
	limited = limited && !strings.Contains(capabilities, "utility") && !strings.Contains(capabilities, "all")
	switch {
	case errors.Is(err, gpu.ErrNoSupport):
		return "use a build with cgo: make build"
	case errors.Is(err, gpu.ErrNoLibrary) && inContainer && limited:
		return "add utility to NVIDIA_DRIVER_CAPABILITIES (" + capabilities + "): without it the container gets no libnvidia-ml.so.1"
	case (errors.Is(err, gpu.ErrNoLibrary) || errors.Is(err, gpu.ErrNoDriver)) && inContainer:
		return giveAccess
	case (errors.Is(err, gpu.ErrNoLibrary) || errors.Is(err, gpu.ErrNoDriver)) && !driver:
		return "install the NVIDIA driver, or load it: modprobe nvidia"
	case errors.Is(err, gpu.ErrNoLibrary):
		return "install the driver's library libnvidia-ml.so.1 (Debian: libnvidia-ml1; Ubuntu: libnvidia-compute-…), or add its directory to LD_LIBRARY_PATH"
	case errors.Is(err, gpu.ErrNoDriver):
		return "load the driver (modprobe nvidia) and check that nvidia-smi works; with Secure Boot the module must be signed"
	case errors.Is(err, gpu.ErrMismatch) && inContainer:
		return "use the host's NVIDIA libraries, not those of the image; after an update of the driver, restart the container"
	case errors.Is(err, gpu.ErrMismatch):
		return "reboot, or reload the kernel module: the driver was updated while it was loaded"
	case errors.Is(err, gpu.ErrNoPermission):
		return "get access to /dev/nvidia*: by the group that owns them (video), or by the device list of the container or the batch system"
	}
	return "check that nvidia-smi works"
}

// libraryState describes an error of the initialization in a few words.
func libraryState(err error) string {
	for _, known := range []error{gpu.ErrNoDriver, gpu.ErrMismatch, gpu.ErrNoPermission} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	// The message of the dynamic loader distinguishes a missing library from a broken one. What
	// to check follows from the other checks.
	text, _, _ := strings.Cut(err.Error(), ": check that")
	return text
}

// libraryPath returns the file of the loaded NVML library; "" if it is not known. Its name has
// the version.
func (o *Options) libraryPath() string {
	maps, err := proc.ReadFile(filepath.Join(o.ProcRoot, "self/maps"), proc.MaxTableFile)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(maps)) {
		if i := strings.IndexByte(line, '/'); i >= 0 && strings.Contains(line[i:], "libnvidia-ml.so") {
			path := strings.TrimSpace(line[i:])
			if target, err := filepath.EvalSymlinks(path); err == nil {
				return target
			}
			return path
		}
	}
	return ""
}

// devices checks the devices that a run would sample.
func devices(in *gpu.Inspection, given bool) []Check {
	var checks []Check
	for _, why := range in.Unresolved {
		status := Note
		if given || len(in.Devices) == 0 {
			status = Problem
		}
		checks = append(checks, Check{"gpus", status, why, "nvidia-smi -L lists the devices"})
	}
	if in.WhyNone != "" {
		checks = append(checks, note("gpus", "unset CUDA_VISIBLE_DEVICES, or sample with --device, if the command is to use GPUs", "%s", in.WhyNone))
	}
	if in.OrderUnknown {
		checks = append(checks, note("gpus", "set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name GPUs by UUID", "GPUs of several models are selected by index: CUDA may number them in another order than NVML"))
	}
	for _, d := range in.Devices {
		name := fmt.Sprintf("GPU %d: %s", d.Index, d.Name)
		if d.MIG {
			name += ", MIG instance " + d.UUID
		}
		if d.MemoryErr != nil {
			checks = append(checks, problem("gpus", "check that nvidia-smi shows its memory", "%s: the memory cannot be read: %v", name, d.MemoryErr))
			continue
		}
		text := fmt.Sprintf("%s, %s of %s used", name, render.Bytes(int64(d.UsedBytes)), render.Bytes(int64(d.TotalBytes)))
		if d.MemoryAPI == "v1" {
			text += " (an old driver: with what it reserves for itself)"
		}
		var missing []string
		if d.EnergyErr != nil {
			missing = append(missing, "energy")
		}
		if d.PowerErr != nil {
			missing = append(missing, "power")
		}
		if len(missing) > 0 && !d.MIG { // of a MIG instance they are those of its GPU
			text += ", without " + strings.Join(missing, " and ")
		}
		checks = append(checks, ok("gpus", "%s", text))
	}
	return checks
}

// initialPIDNamespace is the inode of the initial pid namespace (PROC_PID_INIT_INO in
// include/linux/proc_ns.h of Linux).
const initialPIDNamespace = "pid:[4026531836]"

// gpuProcesses checks whether processes that NVML lists can be matched with the command's.
func (o *Options) gpuProcesses(in *gpu.Inspection) Check {
	const name = "gpu-processes"
	const fix = "start the container in the host's pid namespace: docker run --pid=host, hostPID: true in Kubernetes"
	var listed, unseen []int
	var listErr error
	for _, d := range in.Devices {
		if d.PIDsErr != nil {
			listErr = d.PIDsErr
		}
		for _, pid := range d.PIDs {
			listed = append(listed, pid)
			if _, err := os.Lstat(filepath.Join(o.ProcRoot, strconv.Itoa(pid))); err != nil {
				unseen = append(unseen, pid)
			}
		}
	}
	slices.Sort(listed)
	listed = slices.Compact(listed)
	unseen = slices.Compact(slices.Sorted(slices.Values(unseen)))
	const lost = "used_by_job and job_peak_bytes will be null, and peak_vram_gb is the highest of all devices"
	namespace, err := os.Readlink(filepath.Join(o.ProcRoot, "self/ns/pid"))
	switch {
	case listErr != nil:
		return note(name, "check that nvidia-smi lists processes", "the driver does not list the processes on a GPU: %v; %s", listErr, lost)
	case len(unseen) > 0:
		return note(name, fix, "%d of the %s on the GPUs have a pid that is not in %s: another pid namespace, or hidepid; %s", len(unseen), render.Count(len(listed), "process"), o.ProcRoot, lost)
	case err == nil && namespace != initialPIDNamespace:
		return note(name, fix, "vobs is in a pid namespace of its own, and the driver lists pids of the host; %s", lost)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return note(name, "", "the pid namespace is unknown: %v", err)
	}
	return ok(name, "the driver's pids are those of this pid namespace (%s on the GPUs now)", render.Count(len(listed), "process"))
}

func orUnknown(text string) string {
	if text == "" {
		return "of unknown version"
	}
	return text
}
