package main

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A target is an architecture that is built.
type target struct {
	arch      string // GOARCH
	zigTarget string // with the oldest glibc that the binary runs on
	wheelTag  string
	machine   elf.Machine
	loader    string // path of the dynamic loader
}

var targets = map[string]target{
	"amd64": {"amd64", "x86_64-linux-gnu.2.28", "py3-none-manylinux_2_28_x86_64", elf.EM_X86_64, "/lib64/ld-linux-x86-64.so.2"},
	"arm64": {"arm64", "aarch64-linux-gnu.2.28", "py3-none-manylinux_2_28_aarch64", elf.EM_AARCH64, "/lib/ld-linux-aarch64.so.1"},
}

// tags are those of the Makefile.
const tags = "urfave_cli_no_docs"

// nvmlModule is the binding whose references to NVML stay undefined.
const nvmlModule = "github.com/NVIDIA/go-nvml"

// compile builds vobs for a target.
func compile(ctx context.Context, o options, rel release, t target, out string) error {
	if o.zig == "" || o.cache == "" {
		return errors.New("-zig and -cache are needed: make dist fetches zig")
	}
	weak := filepath.Join(filepath.Dir(out), "nvml_weak.h")
	if err := writeWeak(ctx, o, weak); err != nil {
		return err
	}
	const cli = "github.com/vobs/vobs/internal/cli."
	ldflags := []string{"-s", "-w", "-buildid="}
	for name, value := range map[string]string{"version": "v" + rel.Version, "commit": rel.Commit, "date": rel.Date.Format(time.RFC3339)} {
		ldflags = append(ldflags, "-X "+cli+name+"="+value)
	}
	slices.Sort(ldflags)
	cmd := o.goCommand(ctx, t, "build", "-buildvcs=false", "-trimpath", "-tags", tags, "-ldflags", strings.Join(ldflags, " "), "-o", out, ".")
	cmd.Env = append(cmd.Env,
		"CC="+filepath.Join(o.root, "packaging", "zigcc"),
		// Without -g, which would also keep zig from stripping: debugging information has paths.
		"CGO_CFLAGS=-O2", "CGO_LDFLAGS=-O2", "CGO_CPPFLAGS=",
		"ZIG="+filepath.Join(o.zig, "zig"), "ZIG_TARGET="+t.zigTarget, "NVML_WEAK="+weak,
		"ZIG_GLOBAL_CACHE_DIR="+o.cache, "ZIG_LOCAL_CACHE_DIR="+o.cache,
	)
	_, err := output(cmd)
	return err
}

// goCommand is the go command for a target, without what the user has set for other builds.
func (o options) goCommand(ctx context.Context, t target, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = o.root
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+t.arch, "CGO_ENABLED=1", "GOFLAGS=-mod=readonly",
		"GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOFIPS140=off")
	if o.gocache != "" {
		cmd.Env = append(cmd.Env, "GOCACHE="+o.gocache)
	}
	return cmd
}

var declaration = regexp.MustCompile(`\bDECLDIR[ \t\w*]*?\b(nvml\w+)\s*\(`)

// writeWeak writes a header that makes the references to NVML's functions weak.
func writeWeak(ctx context.Context, o options, path string) error {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", nvmlModule)
	cmd.Dir = o.root
	dir, err := output(cmd)
	if err != nil {
		return err
	}
	header := filepath.Join(strings.TrimSpace(string(dir)), "pkg", "nvml", "nvml.h")
	text, err := os.ReadFile(header)
	if err != nil {
		return err
	}
	pragmas, err := weakPragmas(text)
	if err != nil {
		return fmt.Errorf("%s: %w", header, err)
	}
	return os.WriteFile(path, fmt.Appendf(nil, "#include %q\n%s", header, pragmas), 0o644)
}

// weakPragmas returns a pragma for each function that nvml.h declares.
func weakPragmas(header []byte) (string, error) {
	var names []string
	for _, m := range declaration.FindAllSubmatch(header, -1) {
		names = append(names, string(m[1]))
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) < 100 {
		return "", fmt.Errorf("only %d functions found", len(names))
	}
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "#pragma weak %s\n", name)
	}
	return b.String(), nil
}

// newestGlibc is the newest version of glibc that a binary may need.
var newestGlibc = [2]int{2, 28}

// libraries are what a binary may be linked with: parts of glibc.
var libraries = []string{"libc.so.6", "libdl.so.2", "libpthread.so.0", "libresolv.so.2", "libm.so.6", "librt.so.1"}

// checkBinary returns an error unless a binary starts on every system with glibc 2.28, without an
// NVIDIA driver too.
func checkBinary(t target, program []byte) error {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return err
	}
	defer f.Close()
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if f.Machine != t.machine {
		problem("it is for %s", f.Machine)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			if data, err := readAll(p); err != nil || strings.TrimRight(string(data), "\x00") != t.loader {
				problem("its loader is %q, error %v", data, err)
			}
		}
	}
	for _, name := range []string{".debug_info", ".symtab"} {
		if f.Section(name) != nil {
			problem("it is not stripped: it has the section %s", name)
		}
	}
	linked, err := f.ImportedLibraries()
	if err != nil {
		return err
	}
	for _, name := range linked {
		if !slices.Contains(libraries, name) && name != filepath.Base(t.loader) {
			problem("it needs the library %s", name)
		}
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return err
	}
	nvml := 0
	for _, s := range symbols {
		switch weak := elf.ST_BIND(s.Info) == elf.STB_WEAK; {
		case s.Section != elf.SHN_UNDEF:
		case strings.HasPrefix(s.Name, "nvml"):
			nvml++
			if !weak {
				problem("%s is not weak", s.Name)
			}
		case s.Version != "" && !glibcAllows(s.Version):
			problem("%s needs %s of %s", s.Name, s.Version, s.Library)
		case s.Version == "" && !weak:
			problem("%s is undefined", s.Name)
		}
	}
	if nvml < 50 {
		problem("it has %d references to NVML: GPUs are missing", nvml)
	}
	// The loader must not look for NVML's functions before its library is loaded.
	for _, tag := range []elf.DynTag{elf.DT_FLAGS, elf.DT_FLAGS_1, elf.DT_BIND_NOW} {
		values, err := f.DynValue(tag)
		if err != nil {
			return err
		}
		for _, v := range values {
			if tag == elf.DT_BIND_NOW || tag == elf.DT_FLAGS && elf.DynFlag(v)&elf.DF_BIND_NOW != 0 || tag == elf.DT_FLAGS_1 && elf.DynFlag1(v)&elf.DF_1_NOW != 0 {
				problem("the loader binds its symbols at the start (%s)", tag)
			}
		}
	}
	return errors.Join(problems...)
}

func readAll(p *elf.Prog) ([]byte, error) {
	data := make([]byte, p.Filesz)
	_, err := p.ReadAt(data, 0)
	return data, err
}

// glibcAllows reports whether a symbol version, as in GLIBC_2.17, is in the oldest glibc that the
// packages support.
func glibcAllows(version string) bool {
	var v [2]int
	if n, err := fmt.Sscanf(version+".0", "GLIBC_%d.%d", &v[0], &v[1]); n != 2 || err != nil {
		return false
	}
	return slices.Compare(v[:], newestGlibc[:]) <= 0
}
