package gpu

import (
	"fmt"
	"strconv"
	"strings"
)

// inventory is what the machine has, by NVML's index.
type inventory []gpuEntry

// gpuEntry is a GPU of the machine.
type gpuEntry struct {
	uuid, name string
	mig        bool // in MIG mode: CUDA shows its instances in its place
	instances  []migEntry
	err        error // why it cannot be sampled
}

// migEntry is a MIG instance of a GPU.
type migEntry struct {
	uuid           string
	number, gi, ci int // NVML's index on the GPU; ids of the GPU and the compute instance
}

// deviceRef is a device of an inventory: a GPU's index, and the place of an instance
// in its list, or -1 for the whole GPU.
type deviceRef struct{ gpu, instance int }

// visible is what the command can see.
type visible struct {
	places  []deviceRef
	indexed []int    // GPUs that an index named: CUDA may count in another order
	missing []string // what could not be resolved, and why
	none    string   // why nothing is visible, where that was asked for
}

// resolve gives the devices to sample: those of devices (--device), else those
// of list (CUDA_VISIBLE_DEVICES), else all.
func (inv inventory) resolve(list *string, devices []string) visible {
	switch {
	case len(devices) > 0:
		return inv.resolveDevices(devices)
	case list != nil:
		return inv.resolveCUDA(*list)
	}
	var v visible
	for i := range inv {
		places, err := inv.whole(i)
		if err != nil {
			v.missing = append(v.missing, err.Error())
		}
		v.places = append(v.places, places...)
	}
	if len(inv) == 0 {
		v.none = "NVML is there and shows no GPU"
	}
	return v
}

// resolveCUDA reads CUDA_VISIBLE_DEVICES as CUDA does: entries are indices or
// (the beginnings of) UUIDs; the first that names no device ends the list, and
// one device named twice makes the whole list invalid. Of an entry with a
// number in front the number counts, as strtol reads it. Sources: CUDA C
// Programming Guide, "CUDA Environment Variables"; torch/cuda/__init__.py,
// _parse_visible_devices ("Repeated ordinal results in empty set", "Negative
// value aborts the sequence").
//
// Two choices go beyond: entries of different kinds may be mixed, and the index
// or UUID of a GPU in MIG mode stands for all of its instances, where CUDA shows
// a process the first one alone; a child process may have been given another.
func (inv inventory) resolveCUDA(list string) visible {
	var v visible
	if strings.TrimSpace(list) == "" {
		v.none = "CUDA_VISIBLE_DEVICES is empty: no GPU is visible to the command"
		return v
	}
	seen := map[deviceRef]bool{}
	for i, entry := range strings.Split(list, ",") {
		entry = strings.TrimSpace(entry)
		if n, ok := leadingNumber(entry); ok && n < 0 {
			// The documented way to end a list, or to hide every device.
			if i == 0 {
				v.none = fmt.Sprintf("CUDA_VISIBLE_DEVICES=%s: no GPU is visible to the command", clip(list))
			}
			break
		}
		places, byIndex, err := inv.entry(entry)
		if err != nil {
			v.missing = append(v.missing, fmt.Sprintf("entry %q of CUDA_VISIBLE_DEVICES=%s cannot be resolved (%v); as in CUDA the list ends there", clip(entry), clip(list), err))
			break
		}
		for _, p := range places {
			if seen[p] {
				return visible{missing: []string{fmt.Sprintf("entry %q of CUDA_VISIBLE_DEVICES=%s names a device for the second time; CUDA then shows no device at all", clip(entry), clip(list))}}
			}
			seen[p] = true
		}
		v.places = append(v.places, places...)
		if byIndex {
			v.indexed = append(v.indexed, places[0].gpu)
		}
	}
	return v
}

// resolveDevices reads what --device asks for, in NVML's order of the PCI bus,
// as nvidia-smi counts: indices, UUIDs or their beginnings, and 0:1 for GPU 0's
// MIG device 1 as `nvidia-smi -L` numbers them. An entry that names nothing is
// left out, and told.
func (inv inventory) resolveDevices(devices []string) visible {
	var v visible
	seen := map[deviceRef]bool{}
	for _, entry := range devices {
		places, err := inv.deviceEntry(strings.TrimSpace(entry))
		if err != nil {
			v.missing = append(v.missing, fmt.Sprintf("--device %s cannot be resolved: %v", clip(entry), err))
		}
		for _, p := range places {
			if !seen[p] {
				seen[p] = true
				v.places = append(v.places, p)
			}
		}
	}
	return v
}

func (inv inventory) deviceEntry(entry string) ([]deviceRef, error) {
	if gpu, number, ok := strings.Cut(entry, ":"); ok {
		i, err1 := strconv.Atoi(gpu)
		n, err2 := strconv.Atoi(number)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("a MIG instance is named GPU:INSTANCE, as 0:1, or by its UUID")
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
			return nil, fmt.Errorf("it is no index and no UUID: see nvidia-smi -L")
		}
	}
	places, _, err := inv.entry(entry)
	return places, err
}

// entry resolves an index or the beginning of a UUID.
func (inv inventory) entry(entry string) (places []deviceRef, byIndex bool, err error) {
	switch {
	case strings.HasPrefix(entry, "GPU-"):
		var found []int
		for i, g := range inv {
			if len(entry) > len("GPU-") && strings.HasPrefix(g.uuid, entry) {
				found = append(found, i)
			}
		}
		if len(found) != 1 {
			return nil, false, fmt.Errorf("%d GPUs have a UUID that begins so: see nvidia-smi -L", len(found))
		}
		places, err = inv.whole(found[0])
		return places, false, err
	case strings.HasPrefix(entry, "MIG-"):
		for i, g := range inv {
			for k, m := range g.instances {
				// Drivers before R470 name an instance MIG-<GPU UUID>/<GPU instance>/<compute instance>.
				if entry == fmt.Sprintf("MIG-%s/%d/%d", g.uuid, m.gi, m.ci) {
					return []deviceRef{{i, k}}, false, nil
				}
				if len(entry) > len("MIG-") && strings.HasPrefix(m.uuid, entry) {
					places = append(places, deviceRef{i, k})
				}
			}
		}
		if len(places) != 1 {
			return nil, false, fmt.Errorf("%d MIG instances have a UUID that begins so: see nvidia-smi -L", len(places))
		}
		return places, false, nil
	}
	n, ok := leadingNumber(entry)
	if !ok {
		return nil, false, fmt.Errorf("it is no index and no UUID")
	}
	if n < 0 || n >= len(inv) {
		return nil, false, inv.noIndex(n)
	}
	places, err = inv.whole(n)
	return places, true, err
}

// whole gives a GPU, or its instances where it is in MIG mode.
func (inv inventory) whole(i int) ([]deviceRef, error) {
	g := inv[i]
	switch {
	case g.err != nil:
		return nil, fmt.Errorf("GPU %d cannot be sampled: %w", i, g.err)
	case !g.mig:
		return []deviceRef{{i, -1}}, nil
	case len(g.instances) == 0:
		return nil, fmt.Errorf("GPU %d is in MIG mode and has no instance", i)
	}
	var places []deviceRef
	for k := range g.instances {
		places = append(places, deviceRef{i, k})
	}
	return places, nil
}

func (inv inventory) noIndex(n int) error {
	return fmt.Errorf("there is no GPU %d, NVML shows %d", n, len(inv))
}

// orderUnknown tells whether CUDA may mean other devices by its indices than
// NVML: CUDA counts the fastest first unless CUDA_DEVICE_ORDER says PCI_BUS_ID,
// which makes a difference where the GPUs are of different models and not all
// are chosen.
func (inv inventory) orderUnknown(v visible, order string) bool {
	// One device named twice does not come this far: the number tells whether all are named.
	if len(v.indexed) == 0 || len(v.indexed) == len(inv) || order == "PCI_BUS_ID" {
		return false
	}
	for _, g := range inv {
		if g.name != inv[0].name {
			return true
		}
	}
	return false
}

// leadingNumber reads the decimal number that s begins with, as strtol does. A
// number that no index can be is cut to one that is out of range.
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

// clip keeps a user's text from filling the event.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.ToValidUTF8(s[:most], "\uFFFD") + "…"
}
