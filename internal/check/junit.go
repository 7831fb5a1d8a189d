package check

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// The elements of a JUnit report, as far as CI systems agree on them: a suite for each event, a
// case for each limit.
type (
	junitReport struct {
		XMLName  xml.Name `xml:"testsuites"`
		Name     string   `xml:"name,attr"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Skipped  int      `xml:"skipped,attr"`
		Suites   []junitSuite
	}
	junitSuite struct {
		XMLName    xml.Name         `xml:"testsuite"`
		Name       string           `xml:"name,attr"`
		Tests      int              `xml:"tests,attr"`
		Failures   int              `xml:"failures,attr"`
		Skipped    int              `xml:"skipped,attr"`
		Properties *junitProperties `xml:"properties"`
		Cases      []junitCase
		Output     string `xml:"system-out,omitempty"`
	}
	junitProperties struct {
		List []junitProperty `xml:"property"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		XMLName   xml.Name      `xml:"testcase"`
		ClassName string        `xml:"classname,attr"`
		Name      string        `xml:"name,attr"`
		Failure   *junitOutcome `xml:"failure"`
		Skipped   *junitOutcome `xml:"skipped"`
	}
	junitOutcome struct {
		Type    string `xml:"type,attr,omitempty"`
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes the result as JUnit XML. A limit that is undecided or missing and allowed is
// skipped. With strict validity each doubt is a failed case; otherwise it is in the suite's
// output.
func (r Result) WriteJUnit(w io.Writer) error {
	report := junitReport{Name: "vobs check"}
	for _, e := range r.Events {
		s := e.junit(r.label(e))
		if c := cure([]Event{e}); c != nil {
			s.Output = strings.TrimLeft(s.Output+"\n"+c.text(), "\n")
		}
		report.Tests += s.Tests
		report.Failures += s.Failures
		report.Skipped += s.Skipped
		report.Suites = append(report.Suites, s)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(report); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (e Event) junit(label string) junitSuite {
	s := junitSuite{Name: label}
	if e.RunID != nil {
		s.Properties = &junitProperties{[]junitProperty{{"run_id", *e.RunID}}}
	}
	for _, c := range e.Checks {
		measured, limit := c.texts()
		one := junitCase{ClassName: e.File, Name: c.Name + " " + limit}
		outcome := &junitOutcome{Type: string(c.Verdict), Message: fmt.Sprintf("%s: measured %s", c.Verdict, measured), Text: c.Reason}
		if c.Verdict == Missing {
			outcome.Message, outcome.Text = "missing: "+c.Reason, ""
		}
		switch {
		case c.Fails:
			one.Failure = outcome
		case c.Verdict != Passed:
			outcome.Type = ""
			one.Skipped = outcome
		}
		s.add(one)
	}
	var output []string
	for _, n := range e.Notes {
		text := fmt.Sprintf("%s %s: %s", n.Severity, n.Code, n.Message)
		if n.Fails {
			s.add(junitCase{ClassName: e.File, Name: "validity " + string(n.Code), Failure: &junitOutcome{Type: string(n.Severity), Message: n.Message}})
			continue
		}
		output = append(output, text)
	}
	if e.strict && len(e.Notes) == 0 {
		s.add(junitCase{ClassName: e.File, Name: "validity"})
	}
	s.Output = strings.Join(output, "\n")
	return s
}

func (s *junitSuite) add(c junitCase) {
	s.Tests++
	if c.Failure != nil {
		s.Failures++
	}
	if c.Skipped != nil {
		s.Skipped++
	}
	s.Cases = append(s.Cases, c)
}
