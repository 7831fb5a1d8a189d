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

// ReadFile reads a small regular file. A pipe (--config <(…)) is left alone: it
// can be read once, and the command is to read it.
func ReadFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, cause(err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	switch {
	case err != nil:
		return nil, cause(err)
	case len(text) > maxFileBytes:
		return nil, errors.New("it is larger than 1 MiB")
	}
	return text, nil
}

// regular refuses what is no regular file, before it is opened: opening a pipe
// would wait for its writer.
func regular(name string) error {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return cause(err)
	case !info.Mode().IsRegular():
		return errors.New("it is no regular file: vobs leaves it to the command")
	}
	return nil
}

// cause is an error of the file system without the name, which the caller tells.
func cause(err error) error {
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
	if err := regular(name); err != nil {
		return nil, err
	}
	text, err := ReadFile(name)
	if err != nil {
		return nil, err
	}
	v, err := ReadYAML(text)
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
				args = append(args, pyvalue.Str(PlainYAML(e)))
			}
		case object:
			args = append(args, flag, pyvalue.FormatJSON(v.plain()))
		default:
			args = append(args, flag, pyvalue.Str(v))
		}
	}
	return args
}
