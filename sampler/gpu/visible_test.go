package gpu

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testInventory has two GPUs without MIG, one in MIG mode with three instances (with a
// gap in their numbers), one in MIG mode without instances, and one that is lost.
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
		list       string
		want       []deviceRef
		unresolved string // part of the only reason in unresolved
		none       bool   // whyNone is set
	}{
		{list: "0", want: []deviceRef{{0, -1}}},
		{list: "1,0", want: []deviceRef{{1, -1}, {0, -1}}},
		{list: " 1 , 0 ", want: []deviceRef{{1, -1}, {0, -1}}},
		{list: "+1", want: []deviceRef{{1, -1}}},
		{list: "1gpu,0x1", want: []deviceRef{{1, -1}, {0, -1}}}, // like strtol
		{list: "", none: true},
		{list: "  ", none: true},
		{list: "-1", none: true},
		{list: "-1,0", none: true},
		{list: "0,-1,1", want: []deviceRef{{0, -1}}},
		{list: "NoDevFiles", unresolved: `"NoDevFiles"`},
		{list: "7", unresolved: `"7"`},
		{list: "1,7,0", want: []deviceRef{{1, -1}}, unresolved: `"7"`},
		{list: "99999999999999999999", unresolved: "99999999999999999999"},
		{list: "0,", want: []deviceRef{{0, -1}}, unresolved: `""`},
		{list: ",0", unresolved: `""`},
		{list: "0,1,0", unresolved: "second time"},
		{list: "0,GPU-aaaa1111", unresolved: "second time"},
		{list: "GPU-aaaa1111-0000", want: []deviceRef{{0, -1}}},
		{list: "GPU-aaaa2", want: []deviceRef{{1, -1}}},
		{list: "GPU-aaaa", unresolved: "2 GPUs"},
		{list: "GPU-", unresolved: "0 GPUs"},
		{list: "GPU-dddd,0", unresolved: `"GPU-dddd"`},
		{list: "MIG-11112222-0000", want: []deviceRef{{2, 0}}},
		{list: "MIG-2", want: []deviceRef{{2, 2}}},
		{list: "MIG-1111", unresolved: "2 MIG instances"},
		{list: "MIG-GPU-bbbb0000-0000/9/1", want: []deviceRef{{2, 2}}},
		{list: "MIG-GPU-bbbb0000-0000/9/2", unresolved: "0 MIG instances"},
		{list: "MIG-22220000-0000,1,GPU-aaaa1", want: []deviceRef{{2, 2}, {1, -1}, {0, -1}}},
		{list: "2", want: instances},
		{list: "GPU-bbbb", want: instances},
		{list: "2,MIG-2", unresolved: "second time"},
		{list: "3", unresolved: "no instance"},
		{list: "4", unresolved: "lost"},
	} {
		v := testInventory().resolve(&c.list, nil)
		if d := cmp.Diff(c.want, v.devices, cmp.AllowUnexported(deviceRef{})); d != "" {
			t.Errorf("CUDA_VISIBLE_DEVICES=%q (want -, got +):\n%s", c.list, d)
		}
		if (v.whyNone != "") != c.none {
			t.Errorf("CUDA_VISIBLE_DEVICES=%q: whyNone is %q", c.list, v.whyNone)
		}
		if got := strings.Join(v.unresolved, "; "); c.unresolved == "" && got != "" || !strings.Contains(got, c.unresolved) {
			t.Errorf("CUDA_VISIBLE_DEVICES=%q: unresolved %q, want %q", c.list, got, c.unresolved)
		}
	}
}

func TestResolveAll(t *testing.T) {
	v := testInventory().resolve(nil, nil)
	want := []deviceRef{{0, -1}, {1, -1}, {2, 0}, {2, 1}, {2, 2}}
	if d := cmp.Diff(want, v.devices, cmp.AllowUnexported(deviceRef{})); d != "" {
		t.Error(d)
	}
	if len(v.unresolved) != 2 || len(v.byIndex) != 0 {
		t.Errorf("unresolved %q, by index %v", v.unresolved, v.byIndex)
	}
	if v := (inventory{}).resolve(nil, nil); v.whyNone == "" {
		t.Error("no GPU and no reason")
	}
}

func TestResolveDevices(t *testing.T) {
	hidden := ""
	for _, c := range []struct {
		devices    []string
		want       []deviceRef
		unresolved string
	}{
		{[]string{"1"}, []deviceRef{{1, -1}}, ""},
		{[]string{"1", "1", "GPU-aaaa2"}, []deviceRef{{1, -1}}, ""},
		{[]string{"2:2"}, []deviceRef{{2, 1}}, ""},
		{[]string{"2:1", "0"}, []deviceRef{{0, -1}}, "no MIG instance 1"},
		{[]string{"9:0"}, nil, "no GPU 9"},
		{[]string{"a:b"}, nil, "GPU:INSTANCE"},
		{[]string{"gpu0"}, nil, "neither an index nor a UUID"},
		{[]string{"1gpu"}, nil, "neither an index nor a UUID"},
		{[]string{"-1"}, nil, "no GPU -1"},
		{[]string{"MIG-22"}, []deviceRef{{2, 2}}, ""},
	} {
		v := testInventory().resolve(&hidden, c.devices)
		if d := cmp.Diff(c.want, v.devices, cmp.AllowUnexported(deviceRef{})); d != "" {
			t.Errorf("%q:\n%s", c.devices, d)
		}
		if got := strings.Join(v.unresolved, "; "); c.unresolved == "" && got != "" || !strings.Contains(got, c.unresolved) {
			t.Errorf("%q: unresolved %q, want %q", c.devices, got, c.unresolved)
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
		{"1,0", "", []string{"A", "B"}, false}, // all of them, in any order
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

// For any text, the result has devices of the inventory only, without duplicates, and a
// reason if it is empty.
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
		for _, p := range v.devices {
			if p.gpu < 0 || p.gpu >= len(inv) || inv[p.gpu].err != nil || seen[p] {
				t.Fatalf("%q: %v", list, v.devices)
			}
			if p.instance < -1 || p.instance >= len(inv[p.gpu].instances) || inv[p.gpu].mig != (p.instance >= 0) {
				t.Fatalf("%q: %v", list, v.devices)
			}
			seen[p] = true
		}
		if len(v.devices) == 0 && v.whyNone == "" && len(v.unresolved) == 0 {
			t.Fatalf("%q: no device and no reason", list)
		}
	})
}
