package gpu

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testInventory has two plain GPUs, one in MIG mode with three instances (one of
// them with holes in the numbers), one in MIG mode without, one that is lost.
func testInventory() inventory {
	return inventory{
		{uuid: "GPU-aaaa1111-0000", name: "H100"},
		{uuid: "GPU-aaaa2222-0000", name: "H100"},
		{uuid: "GPU-bbbb0000-0000", name: "A100", mig: true, instances: []migEntry{
			{"MIG-11112222-0000", 0, 7, 0}, {"MIG-11113333-0000", 2, 8, 0}, {"MIG-22220000-0000", 3, 9, 1},
		}},
		{uuid: "GPU-cccc0000-0000", name: "A100", mig: true},
		{uuid: "", name: "", err: errors.New("lost")},
	}
}

func TestResolveCUDA(t *testing.T) {
	instances := []deviceRef{{2, 0}, {2, 1}, {2, 2}}
	for _, c := range []struct {
		list    string
		want    []deviceRef
		missing string // part of the only reason
		none    bool
	}{
		{list: "0", want: []deviceRef{{0, -1}}},
		{list: "1,0", want: []deviceRef{{1, -1}, {0, -1}}},
		{list: " 1 , 0 ", want: []deviceRef{{1, -1}, {0, -1}}},
		{list: "+1", want: []deviceRef{{1, -1}}},
		{list: "1gpu,0x1", want: []deviceRef{{1, -1}, {0, -1}}}, // as strtol
		{list: "", none: true},
		{list: "  ", none: true},
		{list: "-1", none: true},
		{list: "-1,0", none: true},
		{list: "0,-1,1", want: []deviceRef{{0, -1}}},
		{list: "NoDevFiles", missing: `"NoDevFiles"`},
		{list: "7", missing: `"7"`},
		{list: "1,7,0", want: []deviceRef{{1, -1}}, missing: `"7"`},
		{list: "99999999999999999999", missing: "99999999999999999999"},
		{list: "0,", want: []deviceRef{{0, -1}}, missing: `""`},
		{list: ",0", missing: `""`},
		{list: "0,1,0", missing: "second time"},
		{list: "0,GPU-aaaa1111", missing: "second time"},
		{list: "GPU-aaaa1111-0000", want: []deviceRef{{0, -1}}},
		{list: "GPU-aaaa2", want: []deviceRef{{1, -1}}},
		{list: "GPU-aaaa", missing: "2 GPUs"},
		{list: "GPU-", missing: "0 GPUs"},
		{list: "GPU-dddd,0", missing: `"GPU-dddd"`},
		{list: "MIG-11112222-0000", want: []deviceRef{{2, 0}}},
		{list: "MIG-2", want: []deviceRef{{2, 2}}},
		{list: "MIG-1111", missing: "2 MIG instances"},
		{list: "MIG-GPU-bbbb0000-0000/9/1", want: []deviceRef{{2, 2}}},
		{list: "MIG-GPU-bbbb0000-0000/9/2", missing: "0 MIG instances"},
		{list: "MIG-22220000-0000,1,GPU-aaaa1", want: []deviceRef{{2, 2}, {1, -1}, {0, -1}}},
		{list: "2", want: instances},
		{list: "GPU-bbbb", want: instances},
		{list: "2,MIG-2", missing: "second time"},
		{list: "3", missing: "no instance"},
		{list: "4", missing: "lost"},
	} {
		v := testInventory().resolve(&c.list, nil)
		if d := cmp.Diff(c.want, v.places, cmp.AllowUnexported(deviceRef{})); d != "" {
			t.Errorf("CUDA_VISIBLE_DEVICES=%q (want -, got +):\n%s", c.list, d)
		}
		if (v.none != "") != c.none {
			t.Errorf("CUDA_VISIBLE_DEVICES=%q: none is %q", c.list, v.none)
		}
		if got := strings.Join(v.missing, "; "); c.missing == "" && got != "" || !strings.Contains(got, c.missing) {
			t.Errorf("CUDA_VISIBLE_DEVICES=%q: missing %q, want %q", c.list, got, c.missing)
		}
	}
}

func TestResolveAll(t *testing.T) {
	v := testInventory().resolve(nil, nil)
	want := []deviceRef{{0, -1}, {1, -1}, {2, 0}, {2, 1}, {2, 2}}
	if d := cmp.Diff(want, v.places, cmp.AllowUnexported(deviceRef{})); d != "" {
		t.Error(d)
	}
	if len(v.missing) != 2 || len(v.indexed) != 0 {
		t.Errorf("missing %q, by index %v", v.missing, v.indexed)
	}
	if v := (inventory{}).resolve(nil, nil); v.none == "" {
		t.Error("no GPU, and no reason")
	}
}

func TestResolveDevices(t *testing.T) {
	hidden := ""
	for _, c := range []struct {
		devices []string
		want    []deviceRef
		missing string
	}{
		{[]string{"1"}, []deviceRef{{1, -1}}, ""},
		{[]string{"1", "1", "GPU-aaaa2"}, []deviceRef{{1, -1}}, ""},
		{[]string{"2:2"}, []deviceRef{{2, 1}}, ""},
		{[]string{"2:1", "0"}, []deviceRef{{0, -1}}, "no MIG instance 1"},
		{[]string{"9:0"}, nil, "no GPU 9"},
		{[]string{"a:b"}, nil, "GPU:INSTANCE"},
		{[]string{"gpu0"}, nil, "no index and no UUID"},
		{[]string{"1gpu"}, nil, "no index and no UUID"},
		{[]string{"-1"}, nil, "no GPU -1"},
		{[]string{"MIG-22"}, []deviceRef{{2, 2}}, ""},
	} {
		v := testInventory().resolve(&hidden, c.devices)
		if d := cmp.Diff(c.want, v.places, cmp.AllowUnexported(deviceRef{})); d != "" {
			t.Errorf("%q:\n%s", c.devices, d)
		}
		if got := strings.Join(v.missing, "; "); c.missing == "" && got != "" || !strings.Contains(got, c.missing) {
			t.Errorf("%q: missing %q, want %q", c.devices, got, c.missing)
		}
	}
}

func TestOrderUnknown(t *testing.T) {
	for _, c := range []struct {
		list, order string
		models      []string
		want        bool
	}{
		{"0", "", []string{"A", "B"}, true},
		{"0", "FASTEST_FIRST", []string{"A", "B"}, true},
		{"0", "PCI_BUS_ID", []string{"A", "B"}, false},
		{"0", "", []string{"A", "A"}, false},
		{"1,0", "", []string{"A", "B"}, false}, // all of them, in whatever order
		{"GPU-0", "", []string{"A", "B"}, false},
	} {
		var inv inventory
		for i, m := range c.models {
			inv = append(inv, gpuEntry{uuid: "GPU-" + string(rune('0'+i)), name: m})
		}
		if got := inv.orderUnknown(inv.resolve(&c.list, nil), c.order); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// FuzzResolve: whatever the text, every place is a device of the inventory, none
// comes twice, and an empty answer has a reason.
func FuzzResolve(f *testing.F) {
	for _, s := range []string{"", "0", "-1", "0,1", "GPU-aaaa1,MIG-2", "MIG-GPU-bbbb0000-0000/9/1", "2:0", "0,,1", "+-1", "99999999999999999999999", "\xff", "4", "3"} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, list string, option bool) {
		inv := testInventory()
		var v visible
		if option {
			v = inv.resolve(nil, strings.Split(list, ","))
		} else {
			v = inv.resolve(&list, nil)
		}
		seen := map[deviceRef]bool{}
		for _, p := range v.places {
			if p.gpu < 0 || p.gpu >= len(inv) || inv[p.gpu].err != nil || seen[p] {
				t.Fatalf("%q: %v", list, v.places)
			}
			if p.instance < -1 || p.instance >= len(inv[p.gpu].instances) || inv[p.gpu].mig != (p.instance >= 0) {
				t.Fatalf("%q: %v", list, v.places)
			}
			seen[p] = true
		}
		if len(v.places) == 0 && v.none == "" && len(v.missing) == 0 {
			t.Fatalf("%q: nothing visible, and no reason", list)
		}
	})
}
