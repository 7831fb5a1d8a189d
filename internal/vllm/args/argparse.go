package args

import (
	"errors"
	"fmt"
	"github.com/vobs/vobs/internal/pyvalue"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Options is what a command's parser makes of its arguments.
type Options struct {
	Set      map[string]any
	Problems map[string]string // by name
	Unknown  []UnknownOption
	extras   []string // words that no option takes
	others   []string // settings whose value vLLM 0.32 does not offer
	ended    bool     // --help and the like
}

// UnknownOption is an option that the table does not have.
type UnknownOption struct {
	Name  string
	Value any
}

// refused says whether vLLM 0.32 would not have taken the arguments.
func (p *Options) refused() bool {
	return len(p.Problems)+len(p.Unknown)+len(p.extras)+len(p.others) > 0 || p.ended
}

func (p *Options) problem(name, format string, args ...any) {
	if _, earlier := p.Problems[name]; !earlier {
		p.Problems[name] = fmt.Sprintf(format, args...)
	}
	delete(p.Set, name)
}

// match is one reading of an argument as an option.
type match struct {
	option   *option // nil where it looks like an option that the parser does not have
	flag     string
	explicit *string // what follows the flag in the same word
	// ambiguous says that it is the beginning of several options.
	ambiguous bool
}

// classify tells options from values as argparse's _parse_optional does.
func (p *grammar) classify(arg string) (m match, isOption bool, ambiguous []string) {
	if len(arg) < 2 || arg[0] != '-' {
		return match{}, false, nil
	}
	if o := p.byFlag[arg]; o != nil {
		return match{option: o, flag: arg}, true, nil
	}
	name, value, hasValue := strings.Cut(arg, "=")
	if o := p.byFlag[name]; hasValue && o != nil {
		return match{option: o, flag: name, explicit: &value}, true, nil
	}
	found := p.abbreviated(arg)
	switch {
	case len(found) == 1:
		return found[0], true, nil
	case len(found) > 1:
		for _, f := range found {
			ambiguous = append(ambiguous, f.flag)
		}
		return match{flag: arg}, true, ambiguous
	case isNegativeNumber(arg), strings.Contains(arg, " "):
		return match{}, false, nil
	}
	return match{flag: arg}, true, nil
}

// abbreviated finds the options that an argument may be short for: any beginning
// of a long one, and -xVALUE for a short one of one letter (_get_option_tuples).
func (p *grammar) abbreviated(arg string) []match {
	var found []match
	if strings.HasPrefix(arg, "--") {
		prefix, value, hasValue := strings.Cut(arg, "=")
		for _, flag := range p.flags {
			if strings.HasPrefix(flag, prefix) {
				m := match{option: p.byFlag[flag], flag: flag}
				if hasValue {
					m.explicit = &value
				}
				found = append(found, m)
			}
		}
		return found
	}
	letter, rest := arg[:2], arg[2:]
	for _, flag := range p.flags {
		switch {
		case flag == letter:
			found = append(found, match{option: p.byFlag[flag], flag: flag, explicit: &rest})
		case strings.HasPrefix(flag, arg):
			found = append(found, match{option: p.byFlag[flag], flag: flag})
		}
	}
	return found
}

// isNegativeNumber is argparse's ^-\d+$|^-\d*\.\d+$.
func isNegativeNumber(s string) bool {
	whole, part, dot := strings.Cut(s[1:], ".")
	if !dot {
		return pyvalue.IsDigits(whole)
	}
	return (whole == "" || pyvalue.IsDigits(whole)) && pyvalue.IsDigits(part)
}

// parse goes through the arguments as argparse's _parse_known_args does. Where
// argparse gives up it notes the problem and goes on.
func (p *grammar) parse(args []string) *Options {
	w := parseState{
		Options:    Options{Set: map[string]any{}, Problems: map[string]string{}},
		args:       args,
		matches:    make([]*match, len(args)),
		dashes:     len(args),
		positional: p.positional,
	}
	last := -1
	for i, arg := range args {
		if arg == "--" { // only values follow
			w.dashes = i
			break
		}
		m, isOption, ambiguous := p.classify(arg)
		if !isOption {
			continue
		}
		w.matches[i], last = &m, i
		if ambiguous != nil {
			m.ambiguous = true
			w.problem(settingName(m.flag), "%s could be any of %s", Clip(m.flag), Clip(strings.Join(ambiguous, ", ")))
		}
	}
	i := 0
	for i <= last {
		if w.matches[i] == nil {
			if end := w.takePositional(i); end > i {
				i = end
				continue
			}
			for ; w.matches[i] == nil; i++ {
				w.extra(i)
			}
		}
		i = w.takeOption(i)
	}
	for i = w.takePositional(i); i < len(args); i++ {
		w.extra(i)
	}
	return &w.Options
}

// parseState is parse under way.
type parseState struct {
	Options
	args       []string
	matches    []*match // nil where a word is no option
	dashes     int      // where -- stands
	positional *option  // nil once it has its value
	claimed    int      // the word that an unknown option was given
}

// takePositional gives the words at i to the positional, which takes one of them
// and the two dashes beside it (argparse's pattern -*A?-*).
func (w *parseState) takePositional(i int) int {
	if w.positional == nil {
		return i
	}
	end, at := i, -1
	if end == w.dashes {
		end++
	}
	if end < len(w.args) && w.matches[end] == nil && end != w.dashes {
		at = end
		if end++; end == w.dashes {
			end++
		}
	}
	if at >= 0 {
		w.Set[w.positional.name] = w.args[at]
		if at > 0 && w.matches[at-1] != nil && w.matches[at-1].option == nil {
			w.problem(w.positional.name, "%q stands behind %s, which vobs does not know: it may be that option's value", Clip(w.args[at]), Clip(w.args[at-1]))
		}
	}
	w.positional = nil
	return end
}

// extra notes a word that nothing takes.
func (w *parseState) extra(i int) {
	if i != w.claimed || i == 0 {
		w.extras = append(w.extras, w.args[i])
	}
}

// takeOption reads the option at i with its values, and returns where it ends.
func (w *parseState) takeOption(i int) int {
	m := w.matches[i]
	o := m.option
	if o == nil {
		w.takeUnknown(i)
		return i + 1
	}
	if m.explicit != nil {
		if o.nargs == "0" {
			w.problem(o.name, "vLLM takes no value for %s", m.flag)
			return i + 1
		}
		w.give(o, m.flag, []string{*m.explicit})
		return i + 1
	}
	end := i + 1
	for most := o.mostValues(); end < len(w.args) && end-i <= most && w.matches[end] == nil && end != w.dashes; {
		end++
	}
	w.give(o, m.flag, w.args[i+1:end])
	return end
}

// takeUnknown keeps an option that the table does not have. The next word is
// taken for its value where it would be nobody's.
func (w *parseState) takeUnknown(i int) {
	m := w.matches[i]
	if m.ambiguous {
		return
	}
	u := UnknownOption{Name: settingName(m.flag), Value: true}
	if name, off := strings.CutPrefix(u.Name, "no_"); off {
		u.Name, u.Value = name, false
	}
	if _, value, ok := strings.Cut(m.flag, "="); ok {
		u.Value = guessValue(value)
	} else if i+1 < len(w.args) && w.matches[i+1] == nil && i+1 != w.dashes && w.positional == nil {
		u.Value, w.claimed = guessValue(w.args[i+1]), i+1
	}
	w.Unknown = append(w.Unknown, u)
}

// mostValues is how many words an option takes at most.
func (o *option) mostValues() int {
	switch o.nargs {
	case "0":
		return 0
	case "", "?":
		return 1
	case "+", "*":
		return math.MaxInt
	}
	n, err := strconv.Atoi(o.nargs)
	if err != nil {
		return 1
	}
	return n
}

// give sets an option to its values.
func (w *parseState) give(o *option, flag string, values []string) {
	if len(values) == 0 && o.nargs != "0" && o.nargs != "?" && o.nargs != "*" {
		w.problem(o.name, "%s has no value", flag)
		return
	}
	value, err := o.read(flag, values)
	if errors.Is(err, errChoice) {
		w.others, err = append(w.others, o.name), nil
	}
	if err != nil {
		w.problem(o.name, "%v", err)
		return
	}
	switch {
	case o.kind == "ends":
		w.ended = true
		return
	case o.kind == "append":
		earlier, _ := w.Set[o.name].([]any)
		value = append(slices.Clone(earlier), value)
	}
	if _, failed := w.Problems[o.name]; !failed { // vLLM refuses them all, were the last one right
		w.Set[o.name] = value
	}
}

// settingName is a flag's name as EngineArgs would have it.
func settingName(flag string) string {
	name, _, _ := strings.Cut(strings.TrimLeft(flag, "-"), "=")
	return strings.ReplaceAll(name, "-", "_")
}

// Clip shortens what a message quotes.
func Clip(s string) string {
	const most = 120
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
