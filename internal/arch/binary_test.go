package arch

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// heavy lists what must not be linked into the binary: whatever is linked is initialized
// at every `vobs run`. Tools that need these have their own go.mod.
var heavy = []struct{ packages, except []string }{
	{[]string{"github.com/prometheus/client_golang/..."}, nil},
	{[]string{"github.com/prometheus/prometheus/..."}, []string{"github.com/prometheus/prometheus/model/histogram"}}, // prom2json needs it
	{[]string{"go.opentelemetry.io/otel/sdk/..."}, nil},
	{[]string{"google.golang.org/grpc/..."}, nil},
	{[]string{"github.com/bytedance/sonic/..."}, nil},
	{[]string{"github.com/santhosh-tekuri/jsonschema/..."}, nil},
	{[]string{"testing/..."}, nil},
}

func TestNoHeavyPackages(t *testing.T) {
	watchSources(t)
	type linked struct {
		ImportPath string
		Imports    []string
	}
	var all []linked
	list := json.NewDecoder(bytes.NewReader(goTool(t, "list", "-deps", "-tags", tags, "-json=ImportPath,Imports", ".")))
	for {
		var p linked
		if err := list.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if !slices.ContainsFunc(all, func(p linked) bool { return p.ImportPath == module+"/internal/cli" }) {
		t.Fatal("internal/cli is not linked: this is not the program")
	}
	for _, p := range all {
		for _, rule := range heavy {
			if !matches(rule.packages, p.ImportPath) || matches(rule.except, p.ImportPath) {
				continue
			}
			var by []string
			for _, importer := range all {
				if slices.Contains(importer.Imports, p.ImportPath) {
					by = append(by, importer.ImportPath)
				}
			}
			t.Errorf("%s is linked into vobs, imported by %s", p.ImportPath, strings.Join(by, " "))
		}
	}
}

// An allocation is what a package's initialization allocates.
type allocation struct {
	name          string
	bytes, number int
}

// Bounds on what packages allocate while they are initialized: it stands for the time that
// this takes at every start, and does not depend on the machine. Measured with Go 1.26:
// all of vobs 394 KB in 2280 allocations.
var (
	mostOfOne = allocation{"", 100_000, 500}
	mostOfAll = allocation{"", 500_000, 3500}
	// What prom2json brings with it, and what is larger than mostOfOne for a known reason.
	mostOf = []allocation{
		{"google.golang.org/protobuf/reflect/protodesc", 220_000, 1300}, // 169 KB, 981
	}
)

// No package does much before main begins.
func TestInitAllocations(t *testing.T) {
	watchSources(t)
	vobs := filepath.Join(t.TempDir(), "vobs")
	goTool(t, "build", "-buildvcs=false", "-trimpath", "-tags", tags, "-ldflags", "-s -w", "-o", vobs, ".")
	cmd := exec.CommandContext(t.Context(), vobs, "version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var trace bytes.Buffer
	cmd.Stderr = &trace
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, trace.Bytes())
	}
	var packages []allocation
	sum := allocation{name: "all packages"}
	for line := range strings.Lines(trace.String()) {
		// init internal/bytealg @0.008 ms, 0 ms clock, 0 bytes, 0 allocs
		p, at, took := allocation{}, 0.0, 0.0
		if _, err := fmt.Sscanf(line, "init %s @%g ms, %g ms clock, %d bytes, %d allocs", &p.name, &at, &took, &p.bytes, &p.number); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		packages = append(packages, p)
		sum.bytes, sum.number = sum.bytes+p.bytes, sum.number+p.number
	}
	if len(packages) < 50 {
		t.Fatalf("only %d packages: %s", len(packages), trace.Bytes())
	}
	check := func(p, most allocation) {
		if p.bytes > most.bytes || p.number > most.number {
			t.Errorf("%s: %d bytes in %d allocations, want at most %d in %d", p.name, p.bytes, p.number, most.bytes, most.number)
		}
	}
	for _, p := range packages {
		most := mostOfOne
		if i := slices.IndexFunc(mostOf, func(m allocation) bool { return m.name == p.name }); i >= 0 {
			most = mostOf[i]
		}
		check(p, most)
	}
	check(sum, mostOfAll)
	slices.SortFunc(packages, func(a, b allocation) int { return cmp.Compare(b.bytes, a.bytes) })
	t.Logf("%d bytes in %d allocations; most of it:", sum.bytes, sum.number)
	for _, p := range packages[:5] {
		t.Logf("%8d bytes in %4d: %s", p.bytes, p.number, p.name)
	}
}
