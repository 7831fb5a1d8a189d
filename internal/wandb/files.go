package wandb

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// readSettings reads the section [default] of a settings file. It returns nil if there is
// no file.
func readSettings(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out, err := parseSettings(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}

// parseSettings reads the section [default] by the rules of Python's configparser, which
// the SDK uses (wandb/sdk/lib/settings_file.py): names are case-insensitive, = or :
// separates name and value, # and ; begin comments, a value continues in lines that are
// indented deeper, %% is %. A section [DEFAULT] holds defaults for all others.
func parseSettings(text string) (map[string]string, error) {
	sections := map[string]map[string]string{}
	var section map[string]string
	var name string
	indent := 0
	for i, line := range strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n") {
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';' {
			continue
		}
		depth := len(line) - len(strings.TrimLeft(line, " \t\f\v"))
		if section != nil && name != "" && depth > indent {
			section[name] += "\n" + trimmed
			continue
		}
		indent = depth
		if end := strings.LastIndexByte(trimmed, ']'); trimmed[0] == '[' && end > 1 {
			title := trimmed[1:end]
			if sections[title] != nil && title != "DEFAULT" {
				return nil, fmt.Errorf("line %d: duplicate section [%s]", i+1, title)
			}
			if section = sections[title]; section == nil {
				section = map[string]string{}
				sections[title] = section
			}
			name = ""
			continue
		}
		if section == nil {
			return nil, fmt.Errorf("line %d: expected a section, such as [default]", i+1)
		}
		at := strings.IndexAny(trimmed, "=:")
		if at <= 0 {
			return nil, fmt.Errorf("line %d: expected a name, = and a value", i+1)
		}
		name = strings.ToLower(strings.TrimSpace(trimmed[:at]))
		if _, ok := section[name]; ok {
			return nil, fmt.Errorf("line %d: duplicate name %s", i+1, name)
		}
		section[name] = strings.TrimSpace(trimmed[at+1:])
	}
	out := map[string]string{}
	if sections["default"] == nil {
		return out, nil
	}
	for _, title := range []string{"DEFAULT", "default"} {
		for name, value := range sections[title] {
			out[name] = strings.ReplaceAll(strings.TrimSpace(value), "%%", "%")
		}
	}
	return out, nil
}
