package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "packaging:", err)
		os.Exit(1)
	}
}

// options are the flags of both commands.
type options struct {
	root      string // of the source tree
	out       string
	zig       string // folder of the package ziglang
	cyclonedx string // program cyclonedx-gomod, or "" for no SBOM
	cache     string // of zig
	arches    string
	gocache   string // of the go command, or "" for the user's

	version, commit, date string // instead of what git and CHANGELOG.md say
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("usage: go run ./packaging build|check [flags]")
	}
	var o options
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.StringVar(&o.out, "out", "dist", "`FOLDER` of the packages")
	flags.StringVar(&o.zig, "zig", "", "`FOLDER` of the Python package ziglang")
	flags.StringVar(&o.cyclonedx, "cyclonedx", "", "`PROGRAM` cyclonedx-gomod; without it no SBOM is written")
	flags.StringVar(&o.cache, "cache", "", "`FOLDER` of zig's cache")
	flags.StringVar(&o.gocache, "gocache", "", "`FOLDER` of the go command's cache")
	flags.StringVar(&o.arches, "arch", "amd64,arm64", "architectures, separated by commas")
	flags.StringVar(&o.version, "version", "", "version, as in CHANGELOG.md")
	flags.StringVar(&o.commit, "commit", "", "commit that is built")
	flags.StringVar(&o.date, "date", "", "date of the commit (RFC 3339)")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	o.root = "."
	for _, path := range []*string{&o.root, &o.out, &o.zig, &o.cyclonedx, &o.cache, &o.gocache} {
		if *path == "" {
			continue
		}
		abs, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = abs
	}
	switch args[0] {
	case "build":
		return build(ctx, o)
	case "check":
		return check(ctx, o)
	}
	return fmt.Errorf("unknown command %q: use build or check", args[0])
}

func (o options) targets() ([]target, error) {
	var out []target
	for name := range strings.SplitSeq(o.arches, ",") {
		t, ok := targets[name]
		if !ok {
			return nil, fmt.Errorf("no architecture %q: use amd64 or arm64", name)
		}
		out = append(out, t)
	}
	return out, nil
}

// step prints what begins and returns a function that prints how long it took.
func step(format string, args ...any) func() {
	start := time.Now()
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	return func() { fmt.Fprintf(os.Stderr, "  in %.0f s\n", time.Since(start).Seconds()) }
}

// build writes all packages into o.out, and removes those of an earlier build.
func build(ctx context.Context, o options) error {
	targets, err := o.targets()
	if err != nil {
		return err
	}
	rel, err := findRelease(ctx, o)
	if err != nil {
		return err
	}
	if err := removeOld(o.out); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "vobs-packaging-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	for _, t := range targets {
		if err := buildTarget(ctx, o, rel, t, work); err != nil {
			return fmt.Errorf("%s: %w", t.arch, err)
		}
	}
	return writeSums(o.out)
}

func buildTarget(ctx context.Context, o options, rel release, t target, work string) error {
	done := step("building vobs %s for %s", rel.Version, t.zigTarget)
	binary := filepath.Join(work, t.arch, "vobs")
	if err := os.Mkdir(filepath.Dir(binary), 0o755); err != nil {
		return err
	}
	if err := compile(ctx, o, rel, t, binary); err != nil {
		return err
	}
	done()
	program, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	p := payload{binary: program}
	if p.licenses, err = collectLicenses(ctx, o, t); err != nil {
		return err
	}
	if p.share, err = readTree(filepath.Join(o.out, "share"), "share"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if o.cyclonedx != "" {
		if p.sbom, err = makeSBOM(ctx, o, rel, binary, p.licenses); err != nil {
			return err
		}
		if err := write(filepath.Join(o.out, rel.archive(t)+".cdx.json"), p.sbom); err != nil {
			return err
		}
	}
	archive, err := makeArchive(o.root, rel, t, p)
	if err != nil {
		return err
	}
	if err := write(filepath.Join(o.out, rel.archive(t)+".tar.gz"), archive); err != nil {
		return err
	}
	wheel, err := makeWheel(o.root, rel, t, p)
	if err != nil {
		return err
	}
	return write(filepath.Join(o.out, rel.wheel(t)), wheel)
}

// payload is what the packages of an architecture hold besides the texts of the repository.
type payload struct {
	binary   []byte
	sbom     []byte // nil if there is none
	licenses []file
	share    []file // man page and completions, if they were generated
}

// A file of a package.
type file struct {
	name       string // with slashes, relative to the package's root
	executable bool
	data       []byte
}
