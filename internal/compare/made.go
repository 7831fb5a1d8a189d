package compare

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/vobs/vobs/schema"
)

// made describes how a run was made. Runs share what is equal.
type made struct {
	*setup
	command   string
	endpoints string
	session   string     // its label; "" without one
	ab        bool       // the run is part of a vobs ab
	labels    []*setting // but those of vobs ab and of the session
}

// setup is the part of made that runs with different commands share, too.
type setup struct {
	host     string
	facts    []string   // of the conditions, in their order; "" if unknown
	settings []*setting // of the engine, as JSON, but the numbers that it derives
	named    []string   // settings that the command line or the user named
	codes    []schema.Code
	why      []string // why each metric is null, in their order
	isBound  []bool   // whether the limit of a share of requests is the bound of a bucket, for each metric
}

// setting is a named value. Equal settings of a [Reader]'s runs are the same one.
type setting struct{ name, value string }

// find returns the value of a setting; "" without one.
func find(settings []*setting, name string) string {
	for _, s := range settings {
		if s.name == name {
			return s.value
		}
	}
	return ""
}

// madeOf returns how a run was made, but for settings, labels, and what depends on the metrics.
func madeOf(e *schema.GenerationObservability) *made {
	m := &made{setup: &setup{host: e.Run.Hostname}, command: strings.Join(e.Run.Command, " "), session: e.Run.Labels[LabelSession]}
	_, m.ab = e.Run.Labels[LabelSide]
	for _, c := range conditions {
		m.facts = append(m.facts, c.of(e))
	}
	for _, v := range e.Validity {
		if !slices.Contains(m.codes, v.Code) {
			m.codes = append(m.codes, v.Code)
		}
	}
	if e.Partial {
		m.codes = append(m.codes, partial)
	}
	if len(e.Run.Leftovers) > 0 {
		m.codes = append(m.codes, leftovers)
	}
	if e.Engine != nil {
		for _, endpoint := range e.Engine.Endpoints {
			m.endpoints += endpoint.URL + " "
		}
	}
	m.named = append(m.named, e.FlagsChecked...)
	for _, f := range e.FlagsUnchecked {
		m.named = append(m.named, f.Flag)
	}
	return m
}

// settingsOf returns the settings of the engine, by name, and adds to the run's numbers those
// that it derives.
func (r *Reader) settingsOf(e *schema.GenerationObservability, run *Run) []*setting {
	if e.Engine == nil || e.Engine.Config == nil {
		return nil
	}
	var out []*setting
	for name, v := range e.Engine.Config.Values {
		if i := slices.Index(derived[:], name); i >= 0 {
			if x, ok := number(v); ok {
				run.set(columnDerived+i, x)
				continue
			}
		}
		if text, err := json.Marshal(v); err == nil {
			out = append(out, r.setting(name, string(text)))
		}
	}
	return sortedByName(out)
}

// number returns the number that an event's value is, and whether it is one.
func number(v any) (float64, bool) {
	switch x := v.(type) {
	case float64:
		return x, true
	case int64:
		return float64(x), true
	}
	return 0, false
}

// labelsOf returns the labels of a run, by name, but those of vobs ab and of the session.
func (r *Reader) labelsOf(e *schema.GenerationObservability) []*setting {
	var out []*setting
	for name, value := range e.Run.Labels {
		if name != LabelSide && name != LabelPair && name != LabelPosition && name != LabelSession {
			out = append(out, r.setting(name, value))
		}
	}
	return sortedByName(out)
}

func sortedByName(settings []*setting) []*setting {
	slices.SortFunc(settings, func(a, b *setting) int { return strings.Compare(a.name, b.name) })
	return settings
}

// A digest identifies a text.
type digest [16]byte

func digestOf(text []byte) digest {
	sum := sha256.Sum256(text)
	return digest(sum[:])
}

// fingerprint is a text that only equal descriptions have in common.
type fingerprint []byte

func (f *fingerprint) add(texts ...string) {
	*f = binary.AppendUvarint(*f, uint64(len(texts)))
	for _, s := range texts {
		*f = binary.AppendUvarint(*f, uint64(len(s)))
		*f = append(*f, s...)
	}
}

func (f *fingerprint) addSettings(settings []*setting) {
	*f = binary.AppendUvarint(*f, uint64(len(settings)))
	for _, s := range settings {
		f.add(s.name, s.value)
	}
}

// madeKey identifies how a run was made: by the setup that runs share, and by the rest.
type madeKey struct {
	setup *setup
	rest  digest
}

// sharedMade returns what is equal to m and known already, or m itself, whose texts it replaces
// by copies: they are parts of the event's document, which must not stay in memory.
func (r *Reader) sharedMade(m *made) *made {
	m.setup = r.sharedSetup(m.setup)
	var f fingerprint
	f.add(m.command, m.endpoints, m.session)
	f.addSettings(m.labels)
	f = fmt.Append(f, m.ab)
	key := madeKey{m.setup, digestOf(f)}
	if known := r.made[key]; known != nil {
		return known
	}
	if r.made == nil {
		r.made = map[madeKey]*made{}
	}
	m.command, m.endpoints, m.session = strings.Clone(m.command), *r.shared(m.endpoints), *r.shared(m.session)
	r.made[key] = m
	return m
}

// sharedSetup does for a setup what sharedMade does.
func (r *Reader) sharedSetup(s *setup) *setup {
	f := make(fingerprint, 0, 4096)
	f.add(s.host)
	for _, texts := range [][]string{s.facts, s.named, s.why} {
		f.add(texts...)
	}
	f = fmt.Appendf(f, "%q", s.codes)
	f.addSettings(s.settings)
	f = fmt.Append(f, s.isBound)
	key := digestOf(f)
	if known := r.setups[key]; known != nil {
		return known
	}
	if r.setups == nil {
		r.setups = map[digest]*setup{}
	}
	s.host = *r.shared(s.host)
	for _, texts := range [][]string{s.facts, s.named, s.why} {
		for i, text := range texts {
			texts[i] = *r.shared(text)
		}
	}
	for i, code := range s.codes {
		s.codes[i] = schema.Code(*r.shared(string(code)))
	}
	r.setups[key] = s
	return s
}

// setting returns a setting that runs share. It has copies of the texts.
func (r *Reader) setting(name, value string) *setting {
	if r.settings == nil {
		r.settings = map[setting]*setting{}
	}
	if known := r.settings[setting{name, value}]; known != nil {
		return known
	}
	s := &setting{*r.shared(name), *r.shared(value)}
	r.settings[*s] = s
	return s
}

// shared returns a copy of a text that runs share.
func (r *Reader) shared(s string) *string {
	if r.strings == nil {
		r.strings = map[string]*string{}
	}
	if known := r.strings[s]; known != nil {
		return known
	}
	s = strings.Clone(s)
	r.strings[s] = &s
	return &s
}
