package args

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/vobs/vobs/internal/pyvalue"
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

// configFile is the file of --config, which is read once.
type configFile struct {
	dir         string // to which the name may be relative
	inContainer bool   // the name is that of a file in a container
	name        string // of the file that was read; "" before
	options     object
	err         error
}

// load returns the options of the file as arguments. hasNo is that of [configArgs].
func (f *configFile) load(name string, hasNo func(flag string) bool) ([]string, error) {
	if f.inContainer {
		return nil, errors.New("the file is in the container")
	}
	if f.dir != "" && !filepath.IsAbs(name) {
		name = filepath.Join(f.dir, name)
	}
	if f.name == "" || f.name != name {
		f.name = name
		f.options, f.err = loadConfig(name)
	}
	if f.err != nil {
		return nil, f.err
	}
	return configArgs(f.options, hasNo), nil
}

// switchedOff returns the options of the file that was loaded that are false.
func (f *configFile) switchedOff() (off object) {
	for _, o := range f.options {
		if o.value == false {
			off = append(off, o)
		}
	}
	return off
}

// loadConfig reads a file of options.
func loadConfig(name string) (object, error) {
	if ext := filepath.Ext("x" + name); ext != ".yaml" && ext != ".yml" {
		return nil, errors.New("vLLM requires a file name that ends in .yaml or .yml")
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
		return nil, errors.New("not a mapping of names to values")
	}
	return options, nil
}

// configArgs is load_config_file of vLLM's parser: it returns a file's options as arguments.
// hasNo reports whether that parser itself has a --no-… flag. The parser of `vllm` has none,
// because its commands have parsers of their own, so it ignores `false` in a file.
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
