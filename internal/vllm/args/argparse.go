package args

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/vobs/vobs/internal/pyvalue"
)

// Options is the result of parsing a command's arguments.
type Options struct {
	// Values are the values of the options by name, those of package pyvalue.
	Values map[string]any
	// Problems are the options that could not be read, by name, with the reasons.
	Problems map[string]string
	// Unknown are the options that vLLM 0.32 does not have.
	Unknown []UnknownOption
	// Ignored are the settings in a --config file that vLLM does not apply, by name, with
	// the values that they have there: what is false, and everything in a file that is
	// given as --config=FILE.
	Ignored map[string]any
	// WhyIgnored is why all of a file is ignored; "" if it is not.
	WhyIgnored string

	extras    []string // words that belong to no option
	badChoice []string // options whose value is not among the choices of vLLM 0.32
	exits     bool     // --help and the like
}

// UnknownOption is an option that vLLM 0.32 does not have.
type UnknownOption struct {
	Name  string
	Value any
}

// refused reports whether vLLM 0.32 refuses the arguments.
func (o *Options) refused() bool {
	return len(o.Problems)+len(o.Unknown)+len(o.extras)+len(o.badChoice) > 0 || o.exits
}

func (o *Options) problem(name, format string, args ...any) {
	if _, earlier := o.Problems[name]; !earlier {
		o.Problems[name] = fmt.Sprintf(format, args...)
	}
	delete(o.Values, name)
}

// match is an argument that is read as an option.
type match struct {
	option    *option // nil for an option that the parser does not have
	flag      string
	explicit  *string // the rest of the word after the flag; nil if there is none
	ambiguous bool    // the argument abbreviates several options
}

// classify reports whether an argument is an option or a value, as argparse's
// _parse_optional does. ambiguous are the flags that it may abbreviate if they are several.
func (g *grammar) classify(arg string) (m match, isOption bool, ambiguous []string) {
	if len(arg) < 2 || arg[0] != '-' {
		return match{}, false, nil
	}
	if o := g.byFlag[arg]; o != nil {
		return match{option: o, flag: arg}, true, nil
	}
	name, value, hasValue := strings.Cut(arg, "=")
	if o := g.byFlag[name]; hasValue && o != nil {
		return match{option: o, flag: name, explicit: &value}, true, nil
	}
	found := g.abbreviated(arg)
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

// abbreviated returns the options that an argument may abbreviate (_get_option_tuples): any
// long option that begins with it. -xVALUE stands for the one-letter option -x.
func (g *grammar) abbreviated(arg string) []match {
	var found []match
	if strings.HasPrefix(arg, "--") {
		prefix, value, hasValue := strings.Cut(arg, "=")
		for _, flag := range g.flags {
			if strings.HasPrefix(flag, prefix) {
				m := match{option: g.byFlag[flag], flag: flag}
				if hasValue {
					m.explicit = &value
				}
				found = append(found, m)
			}
		}
		return found
	}
	letter, rest := arg[:2], arg[2:]
	for _, flag := range g.flags {
		switch {
		case flag == letter:
			found = append(found, match{option: g.byFlag[flag], flag: flag, explicit: &rest})
		case strings.HasPrefix(flag, arg):
			found = append(found, match{option: g.byFlag[flag], flag: flag})
		}
	}
	return found
}

// isNegativeNumber matches argparse's ^-\d+$|^-\d*\.\d+$; s begins with a dash.
func isNegativeNumber(s string) bool {
	whole, fraction, dot := strings.Cut(s[1:], ".")
	if !dot {
		return pyvalue.IsDigits(whole)
	}
	return (whole == "" || pyvalue.IsDigits(whole)) && pyvalue.IsDigits(fraction)
}

// parse parses arguments as argparse's _parse_known_args does. If argparse would give up,
// parse records the problem and goes on.
func (g *grammar) parse(args []string) *Options {
	p := parseState{
		Options:    Options{Values: map[string]any{}, Problems: map[string]string{}},
		args:       args,
		matches:    make([]*match, len(args)),
		dashes:     len(args),
		positional: g.positional,
	}
	last := -1
	for i, arg := range args {
		if arg == "--" { // only values follow
			p.dashes = i
			break
		}
		m, isOption, ambiguous := g.classify(arg)
		if !isOption {
			continue
		}
		p.matches[i], last = &m, i
		if ambiguous != nil {
			m.ambiguous = true
			p.problem(settingName(m.flag), "%s is ambiguous: it could be any of %s", clip(m.flag), clip(strings.Join(ambiguous, ", ")))
		}
	}
	i := 0
	for i <= last {
		if p.matches[i] == nil {
			if end := p.takePositional(i); end > i {
				i = end
				continue
			}
			for ; p.matches[i] == nil; i++ {
				p.extra(i)
			}
		}
		i = p.takeOption(i)
	}
	for i = p.takePositional(i); i < len(args); i++ {
		p.extra(i)
	}
	return &p.Options
}

// parseState is the state of [grammar.parse].
type parseState struct {
	Options
	args       []string
	matches    []*match // by argument; nil for one that is not an option
	dashes     int      // index of --
	positional *option  // nil once it has its value
	claimed    int      // index of the last word taken as the value of an unknown option; 0 for none
}

// takePositional assigns the word at i to the positional argument, with a -- before or after
// it (argparse's pattern -*A?-*), and returns the index after it.
func (p *parseState) takePositional(i int) int {
	if p.positional == nil {
		return i
	}
	end, at := i, -1
	if end == p.dashes {
		end++
	}
	if end < len(p.args) && p.matches[end] == nil && end != p.dashes {
		at = end
		if end++; end == p.dashes {
			end++
		}
	}
	if at >= 0 {
		p.Values[p.positional.name] = p.args[at]
		if at > 0 && p.matches[at-1] != nil && p.matches[at-1].option == nil {
			p.problem(p.positional.name, "%s follows %s, which vobs does not know: it may be that option's value", Quote(p.args[at]), clip(p.args[at-1]))
		}
	}
	p.positional = nil
	return end
}

// extra records a word that belongs to no option.
func (p *parseState) extra(i int) {
	if i != p.claimed || i == 0 {
		p.extras = append(p.extras, p.args[i])
	}
}

// takeOption reads the option at i and its values, and returns the index after them.
func (p *parseState) takeOption(i int) int {
	m := p.matches[i]
	o := m.option
	if o == nil {
		p.takeUnknown(i)
		return i + 1
	}
	if m.explicit != nil {
		if o.nargs == "0" {
			p.problem(o.name, "vLLM takes no value for %s", m.flag)
			return i + 1
		}
		p.set(o, m.flag, []string{*m.explicit})
		return i + 1
	}
	end := i + 1
	for limit := o.maxValues(); end < len(p.args) && end-i <= limit && p.matches[end] == nil && end != p.dashes; {
		end++
	}
	p.set(o, m.flag, p.args[i+1:end])
	return end
}

// takeUnknown records an option that the table does not have. The next word is taken for its
// value if nothing else can take it.
func (p *parseState) takeUnknown(i int) {
	m := p.matches[i]
	if m.ambiguous {
		return
	}
	u := UnknownOption{Name: settingName(m.flag), Value: true}
	if name, negated := strings.CutPrefix(u.Name, "no_"); negated {
		u.Name, u.Value = name, false
	}
	if _, value, ok := strings.Cut(m.flag, "="); ok {
		u.Value = guessValue(value)
	} else if i+1 < len(p.args) && p.matches[i+1] == nil && i+1 != p.dashes && p.positional == nil {
		u.Value, p.claimed = guessValue(p.args[i+1]), i+1
	}
	p.Unknown = append(p.Unknown, u)
}

// maxValues returns the largest number of words that an option takes.
func (o *option) maxValues() int {
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

// set sets an option to its values.
func (p *parseState) set(o *option, flag string, values []string) {
	if len(values) == 0 && o.nargs != "0" && o.nargs != "?" && o.nargs != "*" {
		p.problem(o.name, "%s has no value", flag)
		return
	}
	value, err := o.convert(flag, values)
	if errors.Is(err, errChoice) {
		p.badChoice, err = append(p.badChoice, o.name), nil
	}
	if err != nil {
		p.problem(o.name, "%v", err)
		return
	}
	switch {
	case o.kind == "ends":
		p.exits = true
		return
	case o.kind == "append":
		earlier, _ := p.Values[o.name].([]any)
		value = append(slices.Clone(earlier), value)
	}
	if _, failed := p.Problems[o.name]; !failed { // vLLM refuses the option even if the last value is valid
		p.Values[o.name] = value
	}
}

// settingName returns the field of EngineArgs that a flag would set.
func settingName(flag string) string {
	name, _, _ := strings.Cut(strings.TrimLeft(flag, "-"), "=")
	return strings.ReplaceAll(name, "-", "_")
}

// Quote quotes s for a message, shortened to about 120 bytes.
func Quote(s string) string { return strconv.Quote(clip(s)) }

// clip shortens s for a message.
func clip(s string) string {
	const maxLen = 120
	if len(s) > maxLen {
		return strings.ToValidUTF8(s[:maxLen], "") + "…"
	}
	return s
}
