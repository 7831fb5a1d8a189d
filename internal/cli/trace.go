package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/vobs/vobs/internal/trace"
	"github.com/vobs/vobs/internal/trace/chrome"
	"github.com/vobs/vobs/internal/trace/nsys"
)

func traceCommand() *cli.Command {
	return &cli.Command{
		Name:      "trace",
		Usage:     "show what the GPUs did in a profiler's trace",
		ArgsUsage: "FILE... (- is stdin)",
		Description: `FILE is a trace of torch.profiler, as vLLM writes it (JSON, also compressed with gzip or
zstd), or an export of Nsight Systems (nsys export --type sqlite). Several files are the
ranks of one engine.

For each device: how long kernels and copies ran, counted once where they overlap; how
much of it was attention, matrix products, communication; how much communication was not
hidden behind computation; the longest gaps, and what the CPU did meanwhile; the kernels
that took most; the engine's steps, prefill and decode apart.

   vobs trace /tmp/profile/*.pt.trace.json.gz
   vobs trace --compare before.json.gz after.json.gz

Exits with 0, with 2 if a file cannot be read. docs/profiling.md shows how to record a
trace and how to read the result.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "compare", Usage: "compare two traces: what grew, by class, kernel and step"},
			&cli.StringFlag{Name: "classes", Usage: "assign kernels to classes by the rules in `FILE`, too: lines of a class and a part of the kernel's name; they come before vobs's own"},
			&cli.BoolFlag{Name: "show-classes", Usage: "print the rules by which kernels are assigned to classes, in the form of --classes"},
			&cli.StringFlag{Name: "format", Value: string(trace.Text), Usage: "`FORMAT` of the result: text, json or markdown"},
			outputFlag(),
		},
		Action: traceAction,
	}
}

func traceAction(c *cli.Context) error {
	if err := refuseEmpty(c); err != nil {
		return err
	}
	format, err := trace.ParseFormat(cmp.Or(c.String("format"), string(trace.Text)))
	if err != nil {
		return fmt.Errorf("--format: %w", err)
	}
	classes, err := traceClasses(c.String("classes"))
	if err != nil {
		return fmt.Errorf("--classes: %w", err)
	}
	if c.Bool("show-classes") {
		if err := noArguments(c); err != nil {
			return err
		}
		return writeResult(c, classes.Write)
	}
	if c.NArg() == 0 {
		return withHint(errors.New("no trace"), "vobs trace [flags] FILE..., or - for stdin")
	}
	files, err := filesOf(c)
	if err != nil {
		return err
	}
	compared := c.Bool("compare")
	if compared && len(files) != 2 {
		return withHint(fmt.Errorf("expected two traces, got %d", len(files)), "vobs trace --compare BEFORE AFTER")
	}
	if err := checkResultTarget(c); err != nil {
		return err
	}
	collectEarly()
	results := []*trace.Result{trace.NewResult()}
	if compared {
		results = append(results, trace.NewResult())
	}
	names := traceNames(files)
	for i, file := range files {
		if err := readTrace(file, names[i], classes, results[min(i, len(results)-1)]); err != nil {
			return fmt.Errorf("reading %s: %w", file, err)
		}
	}
	return writeResult(c, func(w io.Writer) error {
		if compared {
			return trace.Compare(names[0], results[0], names[1], results[1]).Write(w, format)
		}
		return results[0].Write(w, format)
	})
}

// traceClasses returns the rules for kernels, with those of a file if it has a name.
func traceClasses(file string) (*trace.Classes, error) {
	if file == "" {
		return trace.DefaultClasses(), nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	classes, err := trace.ReadClasses(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return classes, nil
}

// traceNames returns how files are named in the result: without their directories, unless two
// have the same name.
func traceNames(files []string) []string {
	names := make([]string, len(files))
	seen := map[string]bool{}
	for i, file := range files {
		names[i] = filepath.Base(file)
		if file == "-" {
			names[i] = "stdin"
		}
		if seen[names[i]] {
			return files
		}
		seen[names[i]] = true
	}
	return names
}

// readTrace adds the trace in a file to a result, under a name. It reads the file a second time for what the
// CPU did in the longest gaps, which are not known before.
func readTrace(file, name string, classes *trace.Classes, result *trace.Result) error {
	if strings.HasSuffix(file, ".nsys-rep") || strings.HasSuffix(file, ".qdrep") {
		return withHint(errors.New("a report of Nsight Systems"), "nsys export --type sqlite "+file+", and give vobs the .sqlite file")
	}
	collector := trace.NewCollector(name, classes)
	read := func() error {
		return openTrace(file, func(r io.Reader) error { return chrome.Read(r, collector) })
	}
	readCPU := func(gaps *trace.GapFinder) error {
		return openTrace(file, func(r io.Reader) error { return chrome.ReadCPU(r, gaps) })
	}
	info, err := os.Stat(file)
	once := file == "-" || err == nil && !info.Mode().IsRegular()
	if !once {
		database, err := isSQLite(file)
		if err != nil {
			return err
		}
		if database {
			read = func() error { return nsys.Read(file, collector) }
			readCPU = func(gaps *trace.GapFinder) error { return nsys.ReadCPU(file, gaps) }
		}
	}
	if err := read(); err != nil {
		return err
	}
	if once {
		collector.Note("what the CPU did in the gaps is not known: a pipe can be read once")
	}
	gaps := trace.NewGapFinder(result.Add(collector))
	if gaps == nil || once {
		return nil
	}
	if err := readCPU(gaps); err != nil {
		return err
	}
	gaps.Finish()
	return nil
}

// isSQLite reports whether a file is a SQLite database.
func isSQLite(file string) (bool, error) {
	f, err := os.Open(file)
	if err != nil {
		return false, err
	}
	defer f.Close()
	magic := make([]byte, len(nsys.Magic))
	_, err = io.ReadFull(f, magic)
	return err == nil && string(magic) == nsys.Magic, nil // what is shorter is none
}

// openTrace passes the content of a file, or of stdin, to read.
func openTrace(file string, read func(io.Reader) error) error {
	in := os.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	content, err := chrome.Decompress(in)
	if err != nil {
		return err
	}
	defer content.Close()
	return read(content)
}
