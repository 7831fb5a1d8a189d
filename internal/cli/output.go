package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/vobs/vobs/internal/child"
)

// outputFlag returns the flag that names the file of a subcommand's result.
func outputFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the result to `FILE` instead of stdout"}
}

// checkStdout returns an error if what is for stdout would be lost because stdout is closed: the
// Go runtime opens /dev/null in its place, which takes everything.
func checkStdout(c *cli.Context, what string) error {
	if c.App.Writer == io.Writer(os.Stdout) && child.StreamClosed(1) {
		return withHint(fmt.Errorf("stdout is closed, and the %s goes there", what), "name a file with --output")
	}
	return nil
}

// checkResultTarget returns an error if the result could not be written: for subcommands that
// take a while before they write it.
func checkResultTarget(c *cli.Context) error {
	name := c.String("output")
	switch name {
	case "":
		return checkStdout(c, "result")
	case "-":
		return withHint(errors.New("--output -: not the name of a file"), "the result goes to stdout without --output")
	}
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return nil // the reader of a pipe must not see its end yet
	}
	file, openErr := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o666)
	if openErr != nil {
		return fmt.Errorf("writing the result: %w", openErr)
	}
	if err != nil { // it did not exist
		_ = os.Remove(name)
	}
	return file.Close()
}

// writeResult writes a subcommand's result to stdout, or to the file of --output.
func writeResult(c *cli.Context, write func(io.Writer) error) (err error) {
	switch name := c.String("output"); name {
	case "", "-":
		if err := checkResultTarget(c); err != nil {
			return err
		}
		err = writeBuffered(c.App.Writer, write)
	default:
		var f *os.File
		if f, err = os.Create(name); err == nil {
			err = errors.Join(writeBuffered(f, write), f.Close())
		}
	}
	if err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

func writeBuffered(w io.Writer, write func(io.Writer) error) error {
	b := bufio.NewWriter(w)
	if err := write(b); err != nil {
		return err
	}
	return b.Flush()
}

// filesOf returns the files that a subcommand reads, - for stdin. Flags behind the first file
// are refused: they would be taken for files.
func filesOf(c *cli.Context) ([]string, error) {
	files := c.Args().Slice()
	if len(files) == 0 {
		return nil, withHint(errors.New("no file of events"), "vobs "+c.Command.Name+" [flags] EVENT..., or - for stdin")
	}
	stdin := 0
	for _, name := range files {
		if name == "-" {
			stdin++
		} else if len(name) > 1 && name[0] == '-' {
			if _, err := os.Stat(name); err != nil {
				return nil, withHint(fmt.Errorf("flag %s comes after a file", name), "flags go in front of the files; ./"+name+" is a file")
			}
		}
	}
	if stdin > 1 {
		return nil, errors.New("- is given twice: stdin can be read once")
	}
	return files, nil
}
