package args

import (
	"errors"
	"github.com/vobs/vobs/internal/pyvalue"
	"io"
	"os"
	"path/filepath"
)

// maxFileBytes bounds a file of options or intents.
const maxFileBytes = 1 << 20

// ReadLimited reads a file of at most 1 MiB. Its errors do not contain the file's name.
func ReadLimited(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	switch {
	case err != nil:
		return nil, withoutPath(err)
	case len(text) > maxFileBytes:
		return nil, errors.New("larger than 1 MiB")
	}
	return text, nil
}

// checkRegular returns an error for anything but a regular file: a pipe (--config <(…)) can be
// read only once, and the command has to read it.
func checkRegular(name string) error {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return withoutPath(err)
	case !info.Mode().IsRegular():
		return errors.New("not a regular file: vobs leaves it to the command")
	}
	return nil
}

// withoutPath returns an error of the file system without the path, which callers add.
func withoutPath(err error) error {
	if path := (*os.PathError)(nil); errors.As(err, &path) {
		return path.Err
	}
	return err
}

// loadConfig reads a file of options.
func loadConfig(name string) (object, error) {
	if ext := filepath.Ext("x" + name); ext != ".yaml" && ext != ".yml" {
		return nil, errors.New("vLLM takes a file whose name ends in .yaml or .yml")
	}
	if err := checkRegular(name); err != nil {
		return nil, err
	}
	text, err := ReadLimited(name)
	if err != nil {
		return nil, err
	}
	v, err := parseOrderedYAML(text)
	if err != nil {
		return nil, err
	}
	options, ok := v.(object)
	if !ok {
		return nil, errors.New("it holds no names and values")
	}
	return options, nil
}

// configArgs is load_config_file of vLLM's parser: a file's keys as arguments.
// hasNo says which --no-… flags that parser has itself: `vllm`, whose commands
// have parsers of their own, has none, so that `false` in a file counts for
// nothing there.
func configArgs(options object, hasNo func(flag string) bool) []string {
	var args []string
	for _, o := range options {
		flag := "--" + o.key
		switch v := o.value.(type) {
		case bool:
			if no := "--no-" + o.key; v {
				args = append(args, flag)
			} else if hasNo(no) {
				args = append(args, no)
			}
		case []any:
			if len(v) > 0 {
				args = append(args, flag)
			}
			for _, e := range v {
				args = append(args, pyvalue.Str(toMaps(e)))
			}
		case object:
			args = append(args, flag, pyvalue.FormatJSON(v.toMap()))
		default:
			args = append(args, flag, pyvalue.Str(v))
		}
	}
	return args
}
