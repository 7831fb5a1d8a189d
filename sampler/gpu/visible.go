package gpu

import (
	"fmt"
	"strconv"
	"strings"
)

// inventory is the machine's GPUs, by NVML's index.
type inventory []gpuEntry

// gpuEntry is a GPU of the machine.
type gpuEntry struct {
	uuid, name string
	mig        bool // in MIG mode: CUDA shows its instances instead
	instances  []migEntry
	err        error // why it cannot be sampled
}

// migEntry is a MIG instance of a GPU.
type migEntry struct {
	uuid           string
	number, gi, ci int // NVML's index on the GPU; ids of the GPU instance and the compute instance
}

// deviceRef is a device of an inventory: a GPU's index and the index of an instance in
// its list, or -1 for the whole GPU.
type deviceRef struct{ gpu, instance int }

// visible is the devices that the command can see.
type visible struct {
	devices    []deviceRef
	byIndex    []int    // GPUs selected by index: CUDA may number them in another order
	unresolved []string // which entries could not be resolved, and why
	whyNone    string   // why no device is visible, unless an entry is unresolved
}

// resolve returns the devices to sample: those in devices (--device) if there are any,
// otherwise those in list (CUDA_VISIBLE_DEVICES) if it is set, otherwise all.
func (inv inventory) resolve(list *string, devices []string) visible {
	switch {
	case len(devices) > 0:
		return inv.resolveDevices(devices)
	case list != nil:
		return inv.resolveCUDA(*list)
	}
	var v visible
	for i := range inv {
		refs, err := inv.expand(i)
		if err != nil {
			v.unresolved = append(v.unresolved, err.Error())
		}
		v.devices = append(v.devices, refs...)
	}
	if len(inv) == 0 {
		v.whyNone = "NVML works but shows no GPU"
	}
	return v
}

// resolveCUDA interprets CUDA_VISIBLE_DEVICES like CUDA: entries are indices or UUIDs
// or their prefixes; the first entry that does not match a device ends the list, and a
// repeated device makes the whole list invalid. If an entry begins with a number, the
// number counts, as parsed by strtol. Sources: CUDA C Programming Guide, "CUDA
// Environment Variables"; torch/cuda/__init__.py, _parse_visible_devices ("Repeated
// ordinal results in empty set", "Negative value aborts the sequence").
//
// It differs in two ways: entries of different kinds may be mixed, and the index or UUID
// of a GPU in MIG mode stands for all of its instances, whereas CUDA shows a process only
// the first one; a child process may use another one.
func (inv inventory) resolveCUDA(list string) visible {
	var v visible
	if strings.TrimSpace(list) == "" {
		v.whyNone = "CUDA_VISIBLE_DEVICES is empty: no GPU is visible to the command"
		return v
	}
	seen := map[deviceRef]bool{}
	for i, entry := range strings.Split(list, ",") {
		entry = strings.TrimSpace(entry)
		if n, ok := leadingNumber(entry); ok && n < 0 {
			// The documented way to end a list, or to hide every device.
			if i == 0 {
				v.whyNone = fmt.Sprintf("CUDA_VISIBLE_DEVICES=%s: no GPU is visible to the command", clip(list))
			}
			break
		}
		refs, byIndex, err := inv.entry(entry)
		if err != nil {
			v.unresolved = append(v.unresolved, fmt.Sprintf("entry %q of CUDA_VISIBLE_DEVICES=%s cannot be resolved (%v); as in CUDA the list ends there", clip(entry), clip(list), err))
			break
		}
		for _, ref := range refs {
			if seen[ref] {
				return visible{unresolved: []string{fmt.Sprintf("entry %q of CUDA_VISIBLE_DEVICES=%s names a device for the second time; CUDA then shows no device at all", clip(entry), clip(list))}}
			}
			seen[ref] = true
		}
		v.devices = append(v.devices, refs...)
		if byIndex {
			v.byIndex = append(v.byIndex, refs[0].gpu)
		}
	}
	return v
}

// resolveDevices interprets the values of --device: indices in NVML's order of the PCI
// bus, as in nvidia-smi, UUIDs or their prefixes, and 0:1 for MIG device 1 of GPU 0, as
// numbered by `nvidia-smi -L`. An entry that does not match a device is left out and
// becomes a reason in unresolved.
func (inv inventory) resolveDevices(devices []string) visible {
	var v visible
	seen := map[deviceRef]bool{}
	for _, entry := range devices {
		refs, err := inv.deviceEntry(strings.TrimSpace(entry))
		if err != nil {
			v.unresolved = append(v.unresolved, fmt.Sprintf("--device %s cannot be resolved: %v", clip(entry), err))
		}
		for _, ref := range refs {
			if !seen[ref] {
				seen[ref] = true
				v.devices = append(v.devices, ref)
			}
		}
	}
	return v
}

// deviceEntry resolves a value of --device.
func (inv inventory) deviceEntry(entry string) ([]deviceRef, error) {
	if gpu, number, ok := strings.Cut(entry, ":"); ok {
		i, err1 := strconv.Atoi(gpu)
		n, err2 := strconv.Atoi(number)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("name a MIG instance GPU:INSTANCE, such as 0:1, or by its UUID")
		}
		if i < 0 || i >= len(inv) {
			return nil, inv.noIndex(i)
		}
		for k, m := range inv[i].instances {
			if m.number == n {
				return []deviceRef{{i, k}}, nil
			}
		}
		return nil, fmt.Errorf("GPU %d has no MIG instance %d: see nvidia-smi -L", i, n)
	}
	if !strings.HasPrefix(entry, "GPU-") && !strings.HasPrefix(entry, "MIG-") {
		if _, err := strconv.Atoi(entry); err != nil {
			return nil, fmt.Errorf("it is neither an index nor a UUID: see nvidia-smi -L")
		}
	}
	refs, _, err := inv.entry(entry)
	return refs, err
}

// entry resolves an index, a UUID or its prefix.
func (inv inventory) entry(entry string) (refs []deviceRef, byIndex bool, err error) {
	switch {
	case strings.HasPrefix(entry, "GPU-"):
		var found []int
		for i, g := range inv {
			if len(entry) > len("GPU-") && strings.HasPrefix(g.uuid, entry) {
				found = append(found, i)
			}
		}
		if len(found) != 1 {
			return nil, false, fmt.Errorf("%d GPUs have a UUID with this prefix: see nvidia-smi -L", len(found))
		}
		refs, err = inv.expand(found[0])
		return refs, false, err
	case strings.HasPrefix(entry, "MIG-"):
		for i, g := range inv {
			for k, m := range g.instances {
				// Drivers before R470 name an instance MIG-<GPU UUID>/<GPU instance>/<compute instance>.
				if entry == fmt.Sprintf("MIG-%s/%d/%d", g.uuid, m.gi, m.ci) {
					return []deviceRef{{i, k}}, false, nil
				}
				if len(entry) > len("MIG-") && strings.HasPrefix(m.uuid, entry) {
					refs = append(refs, deviceRef{i, k})
				}
			}
		}
		if len(refs) != 1 {
			return nil, false, fmt.Errorf("%d MIG instances have a UUID with this prefix: see nvidia-smi -L", len(refs))
		}
		return refs, false, nil
	}
	n, ok := leadingNumber(entry)
	if !ok {
		return nil, false, fmt.Errorf("it is neither an index nor a UUID")
	}
	if n < 0 || n >= len(inv) {
		return nil, false, inv.noIndex(n)
	}
	refs, err = inv.expand(n)
	return refs, true, err
}

// expand returns GPU i, or its instances if it is in MIG mode.
func (inv inventory) expand(i int) ([]deviceRef, error) {
	g := inv[i]
	switch {
	case g.err != nil:
		return nil, fmt.Errorf("GPU %d cannot be sampled: %w", i, g.err)
	case !g.mig:
		return []deviceRef{{i, -1}}, nil
	case len(g.instances) == 0:
		return nil, fmt.Errorf("GPU %d is in MIG mode and has no instance", i)
	}
	var refs []deviceRef
	for k := range g.instances {
		refs = append(refs, deviceRef{i, k})
	}
	return refs, nil
}

func (inv inventory) noIndex(n int) error {
	return fmt.Errorf("there is no GPU %d: NVML shows %d", n, len(inv))
}

// orderUnknown reports whether the selected indices may mean other devices for CUDA than
// for NVML: CUDA numbers the fastest GPU first unless CUDA_DEVICE_ORDER is PCI_BUS_ID,
// which matters if the GPUs are of different models and not all are selected.
func (inv inventory) orderUnknown(v visible, order string) bool {
	// byIndex has no duplicates, so its length shows whether all are selected.
	if len(v.byIndex) == 0 || len(v.byIndex) == len(inv) || order == "PCI_BUS_ID" {
		return false
	}
	for _, g := range inv {
		if g.name != inv[0].name {
			return true
		}
	}
	return false
}

// leadingNumber parses the decimal number at the beginning of s, like strtol. It limits a
// huge number to one that is out of range as an index.
func leadingNumber(s string) (int, bool) {
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 {
		return 0, false
	}
	n, i := 0, 0
	for ; i < len(digits) && digits[i] >= '0' && digits[i] <= '9'; i++ {
		n = min(n*10+int(digits[i]-'0'), 1<<30)
	}
	if i == 0 {
		return 0, false
	}
	if s[0] == '-' {
		n = -n
	}
	return n, true
}

// clip truncates a user's text, so that it cannot fill the event.
func clip(s string) string {
	const limit = 200
	if len(s) <= limit {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.ToValidUTF8(s[:limit], "\uFFFD") + "…"
}
