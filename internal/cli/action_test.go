package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/vobs/vobs/internal/github/gfm"
)

// These tests run the composite action of .github/actions/vobs as GitHub does: its scripts are
// executed by bash as they stand. Stand-ins replace what needs GitHub: the actions in standIns,
// and gh, which answers from a list of artifacts.

const actionFile = "../../.github/actions/vobs/action.yml"

// action is a composite action.
type action struct {
	Name        string                                           `yaml:"name"`
	Description string                                           `yaml:"description"`
	Inputs      map[string]struct{ Description, Default string } `yaml:"inputs"`
	Outputs     map[string]struct{ Description, Value string }   `yaml:"outputs"`
	Runs        struct {
		Using string       `yaml:"using"`
		Steps []actionStep `yaml:"steps"`
	} `yaml:"runs"`
}

type actionStep struct {
	Name, ID, If, Shell, Run, Uses string
	Env, With                      map[string]string
}

func readAction(t *testing.T) *action {
	t.Helper()
	source, err := os.ReadFile(actionFile)
	if err != nil {
		t.Fatal(err)
	}
	a := &action{}
	if err := yaml.UnmarshalWithOptions(source, a, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	return a
}

// standIns replace actions: they are called with the inputs of the step.
var standIns = map[string]func(h *hub, t *testing.T, with map[string]string){
	"actions/download-artifact@v8": (*hub).download,
	"actions/upload-artifact@v7":   (*hub).upload,
}

// hub is a repository on GitHub: its artifacts, and the job that is running.
type hub struct {
	dir       string
	artifacts []artifact
	runID     int
	branch    string
	event     string
	path      string // PATH of the runner, if it is not this process's
}

// artifact is an artifact as the REST API lists it.
type artifact struct {
	Name        string      `json:"name"`
	CreatedAt   string      `json:"created_at"`
	Expired     bool        `json:"expired"`
	WorkflowRun workflowRun `json:"workflow_run"`

	dir string // its files
}

type workflowRun struct {
	ID               int    `json:"id"`
	RepositoryID     int    `json:"repository_id"`
	HeadRepositoryID int    `json:"head_repository_id"`
	HeadBranch       string `json:"head_branch"`
}

func newHub(t *testing.T) *hub { return &hub{dir: t.TempDir(), artifacts: []artifact{}} }

func (h *hub) upload(t *testing.T, with map[string]string) {
	h.add(t, with["name"], workflowRun{h.runID, 1, 1, h.branch}, strings.Fields(with["path"])...)
}

// add stores files as an artifact, without folders: the files of an artifact of ours are in one.
func (h *hub) add(t *testing.T, name string, run workflowRun, files ...string) {
	t.Helper()
	n := len(h.artifacts) + 1
	a := artifact{Name: name, CreatedAt: fmt.Sprintf("2026-11-01T00:%02d:00Z", n), WorkflowRun: run, dir: filepath.Join(h.dir, strconv.Itoa(n))}
	for _, file := range files {
		if filepath.Dir(file) != filepath.Dir(files[0]) {
			t.Errorf("artifact %s has files of several folders: %q", name, files)
		}
		if text, err := os.ReadFile(file); err == nil { // a missing file is a warning
			write(t, filepath.Join(a.dir, filepath.Base(file)), string(text))
		}
	}
	h.artifacts = append(h.artifacts, a)
}

func (h *hub) download(t *testing.T, with map[string]string) {
	if with["github-token"] == "" {
		t.Error("the artifact of another run is downloaded without a token")
	}
	for _, a := range slices.Backward(h.artifacts) {
		if a.Name == with["name"] && strconv.Itoa(a.WorkflowRun.ID) == with["run-id"] {
			if err := os.CopyFS(with["path"], os.DirFS(a.dir)); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Errorf("no artifact %s of run %s", with["name"], with["run-id"])
}

// named returns the artifacts of a name, or those that begin with it if it ends in *.
func (h *hub) named(name string) (out []artifact) {
	for _, a := range h.artifacts {
		if prefix, ok := strings.CutSuffix(name, "*"); a.Name == name || ok && strings.HasPrefix(a.Name, prefix) {
			out = append(out, a)
		}
	}
	return out
}

// gh answers a request for the artifacts of a name.
const gh = `#!/bin/sh
[ "$1" = api ] && [ "$GH_TOKEN" = token ] && [ $# = 2 ] || { echo "gh $*: unexpected" >&2; exit 1; }
name=${2#'repos/owner/name/actions/artifacts?name='}
[ "$name" != "$2" ] || { echo "gh $*: unexpected address" >&2; exit 1; }
jq --arg name "${name%'&per_page=100'}" '{artifacts: [.artifacts[] | select(.name == $name)]}' "$ARTIFACTS"
`

// job is a job whose only step is the action.
type job struct {
	failed  bool
	code    int    // exit code of the step that failed
	log     string // stdout and stderr of all steps
	summary gfm.Document
	outputs map[string]string // of the action
}

// run runs the action in a new job.
func (h *hub) run(t *testing.T, branch, event string, inputs map[string]string) job {
	t.Helper()
	a := readAction(t)
	h.runID++
	h.branch, h.event = branch, event
	values := map[string]string{"github.token": "token", "github.event.repository.default_branch": "main"}
	for name, input := range a.Inputs {
		values["inputs."+name] = expand(t, values, input.Default)
	}
	for name, value := range inputs {
		if _, ok := a.Inputs[name]; !ok {
			t.Errorf("the action has no input %s", name)
		}
		values["inputs."+name] = value
	}
	r := &runner{hub: h, dir: t.TempDir(), values: values}
	j := job{outputs: map[string]string{}}
	list := struct {
		Artifacts []artifact `json:"artifacts"`
	}{h.artifacts}
	text, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(r.dir, "artifacts.json"), string(text))
	write(t, filepath.Join(r.dir, "bin/gh"), gh)
	var summary strings.Builder
	for i, step := range a.Runs.Steps {
		if !r.wanted(t, step.If, j.failed) {
			continue
		}
		if standIn := standIns[step.Uses]; step.Uses != "" {
			if standIn == nil {
				t.Fatalf("nothing stands in for %s", step.Uses)
			}
			with := map[string]string{}
			for name, value := range step.With {
				with[name] = expand(t, values, value)
			}
			standIn(h, t, with)
			continue
		}
		code, output := r.script(t, i, step, &summary)
		j.log += output
		if code != 0 && !j.failed {
			j.failed, j.code = true, code
		}
	}
	j.summary = gfm.Parse(summary.String())
	for name, output := range a.Outputs {
		j.outputs[name] = expand(t, values, output.Value)
	}
	return j
}

// runner runs the steps of one job.
type runner struct {
	hub    *hub
	dir    string
	path   string            // what steps added to PATH
	values map[string]string // of expressions; what a step does not set is empty
}

// script runs a step's script, and returns its exit code and what it printed.
func (r *runner) script(t *testing.T, number int, step actionStep, summary *strings.Builder) (int, string) {
	t.Helper()
	file := func(name string) string { return filepath.Join(r.dir, fmt.Sprintf("%d-%s", number, name)) }
	for _, name := range []string{"script", "output", "path", "summary"} {
		write(t, file(name), map[string]string{"script": step.Run}[name])
	}
	cmd := exec.CommandContext(t.Context(), "bash", "--noprofile", "--norc", "-eo", "pipefail", file("script"))
	cmd.Dir = r.dir
	action, err := filepath.Abs(filepath.Dir(actionFile))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = []string{
		"PATH=" + r.path + filepath.Join(r.dir, "bin") + ":" + cmp.Or(r.hub.path, os.Getenv("PATH")), "HOME=" + r.dir, "LD_LIBRARY_PATH=" + brokenNVML(t), "ARTIFACTS=" + filepath.Join(r.dir, "artifacts.json"),
		"GITHUB_ACTIONS=true", "GITHUB_ACTION_PATH=" + action, "GITHUB_REPOSITORY=owner/name",
		"GITHUB_REF=refs/heads/" + r.hub.branch, "GITHUB_EVENT_NAME=" + r.hub.event, fmt.Sprintf("GITHUB_RUN_ID=%d", r.hub.runID), "GITHUB_RUN_ATTEMPT=1",
		"GITHUB_OUTPUT=" + file("output"), "GITHUB_PATH=" + file("path"), "GITHUB_STEP_SUMMARY=" + file("summary"), "RUNNER_TEMP=" + r.dir,
	}
	for name, value := range step.Env {
		cmd.Env = append(cmd.Env, name+"="+expand(t, r.values, value))
	}
	output, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(readText(t, file("output"))) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		r.values["steps."+step.ID+".outputs."+name] = value
	}
	for line := range strings.Lines(readText(t, file("path"))) {
		r.path += strings.TrimSpace(line) + ":"
	}
	summary.WriteString(readText(t, file("summary")) + "\n")
	return cmd.ProcessState.ExitCode(), string(output)
}

// wanted evaluates an `if`. Without a status function, a step is left out after a failure.
func (r *runner) wanted(t *testing.T, condition string, failed bool) bool {
	t.Helper()
	always := strings.Contains(condition, "always()")
	for term := range strings.SplitSeq(condition, "&&") {
		switch term = strings.TrimSpace(term); {
		case term == "", term == "always()":
		case strings.Contains(term, " == "), strings.Contains(term, " != "):
			words := strings.Fields(term)
			value, literal := value(t, r.values, words[0]), words[2]
			if len(words) != 3 || literal[0] != '\'' {
				t.Fatalf("if: %s", condition)
			}
			if (value == strings.Trim(literal, "'")) != (words[1] == "==") {
				return false
			}
		default:
			t.Fatalf("if: %s", condition)
		}
	}
	return always || !failed
}

// expand replaces the expressions in a text.
func expand(t *testing.T, values map[string]string, text string) string {
	t.Helper()
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${{ ")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		expression, rest, _ := strings.Cut(rest, " }}")
		result := ""
		for alternative := range strings.SplitSeq(expression, " || ") {
			if result == "" {
				result = value(t, values, alternative)
			}
		}
		b.WriteString(result)
		text = rest
	}
}

// value returns what a reference in an expression refers to.
func value(t *testing.T, values map[string]string, reference string) string {
	t.Helper()
	v, ok := values[reference]
	if !ok && !strings.HasPrefix(reference, "steps.") {
		t.Fatalf("unknown expression %s", reference)
	}
	return v
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o777); err != nil {
		t.Fatal(err)
	}
}

func readText(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// check compares how a job ended, the first line of its comment, and the headings of its summary.
func (j job) check(t *testing.T, code int, verdict string, headings ...string) {
	t.Helper()
	if j.code != code {
		t.Errorf("the action ended with %d, want %d; its log:\n%s", j.code, code, j.log)
	}
	if got := j.summary.Headings; !slices.Equal(got, headings) {
		t.Errorf("headings of the summary: %q, want %q", got, headings)
	}
	if j.outputs["comment"] == "" {
		if verdict != "" {
			t.Errorf("there is no comment, want %s", verdict)
		}
		return
	}
	comment := readText(t, j.outputs["comment"])
	if !strings.HasPrefix(comment, "<!-- vobs: "+"case-1"+" -->\n### vobs: case-1\n\n**"+verdict) {
		t.Errorf("the comment does not begin with %s:\n%s", verdict, comment)
	}
}

// with returns inputs of the action.
func with(pairs ...string) map[string]string {
	inputs := map[string]string{"label": "case-1"}
	for i := 0; i < len(pairs); i += 2 {
		inputs[pairs[i]] = pairs[i+1]
	}
	return inputs
}

func TestActionAB(t *testing.T) {
	t.Parallel()
	const fast, slow, flags = "sleep 0.02", "# a 'quoted' comment\nsleep \"1\"\n", "--metric=duration\n\n--label=note=two words\n"
	for name, c := range map[string]struct {
		inputs          map[string]string
		code            int
		verdict, output string
		annotation      string
	}{
		"faster":        {with("pairs", "6", "flags", flags, "command-a", slow, "command-b", fast), 0, "improvement", "0", ""},
		"slower":        {with("pairs", "6", "flags", flags, "command-a", fast, "command-b", slow), 1, "regression", "1", "::error title=vobs ab%3A regression::duration "},
		"undecided":     {with("pairs", "1", "flags", "--metric=peak_vram", "command-a", fast, "command-b", fast), 3, "inconclusive", "3", "::error title=vobs ab%3A inconclusive::"},
		"may be so":     {with("pairs", "1", "flags", "--metric=peak_vram", "command-a", fast, "command-b", fast, "allow-inconclusive", "true"), 0, "inconclusive", "0", "::warning title=vobs ab%3A inconclusive::"},
		"command fails": {with("pairs", "6", "flags", flags, "command-a", "exit 7", "command-b", fast), 4, "no result", "4", "::error title=vobs ab::the command of side A failed with exit code 7"},
		"too few pairs": {with("pairs", "2", "flags", flags, "command-a", fast, "command-b", fast), 2, "no result", "2", "::error title=vobs ab::2 pairs cannot decide"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHub(t)
			j := h.run(t, "change", "pull_request", c.inputs)
			var headings []string
			if c.verdict != "no result" {
				headings = []string{"vobs ab: " + c.verdict}
				if tables := j.summary.Tables; len(tables) == 0 || tables[0][0][0] != "metric" {
					t.Errorf("the summary has no table of metrics: %q", tables)
				}
			}
			j.check(t, c.code, c.verdict, headings...)
			if j.outputs["exit-code"] != c.output || !strings.Contains(j.log, c.annotation) || (c.annotation == "") != !strings.Contains(j.log, "::") {
				t.Errorf("exit-code %s, want %s; annotation %q; the log:\n%s", j.outputs["exit-code"], c.output, c.annotation, j.log)
			}
			artifacts := h.named("vobs-case-1")
			if len(h.artifacts) != 1 || len(artifacts) != 1 {
				t.Fatalf("artifacts: %+v", h.artifacts)
			}
			if got := readText(t, filepath.Join(artifacts[0].dir, "comment.md")); got != readText(t, j.outputs["comment"]) {
				t.Errorf("another comment is uploaded: %s", got)
			}
			if c.verdict == "improvement" {
				events := readText(t, filepath.Join(artifacts[0].dir, "events.jsonl"))
				if events != readText(t, j.outputs["events"]) || strings.Count(events, `"note":"two words"`) != 12 || strings.Count(events, `"ci.label":"case-1"`) != 12 {
					t.Errorf("events: %s", events)
				}
			}
		})
	}
}

// The base is made by runs of the default branch. Once there are enough of them, a change that
// is slower fails.
func TestActionBaseline(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("jq"); err != nil {
		t.Skip("SKIPPED: the action's mode baseline needs jq: install it (apt-get install jq)")
	}
	h := newHub(t)
	baseline := func(command string, more ...string) map[string]string {
		return with(append([]string{"mode", "baseline", "runs", "4", "command", command, "compare-flags", "--metric=duration\n"}, more...)...)
	}
	const fast, slow, name = "sleep 0.05", "sleep 1", "vobs-base-no-gpu_no-vllm_case-1"
	bases := func(want int) {
		t.Helper()
		if got := len(h.named("vobs-base*")); got != want || got != len(h.named(name)) {
			t.Fatalf("%d bases, want %d: %+v", got, want, h.artifacts)
		}
	}

	// Neither a pull request nor what may run its code on the default branch makes a base.
	for event, branch := range map[string]string{"pull_request": "change", "pull_request_target": "main", "push": "other"} {
		j := h.run(t, branch, event, baseline(fast))
		j.check(t, 0, "no base")
		if j.outputs["exit-code"] != "" || len(j.summary.Paragraphs) != 1 || strings.Contains(j.log, "::") {
			t.Errorf("%+v", j)
		}
	}
	bases(0)
	h.run(t, "main", "push", baseline(fast)).check(t, 0, "no base")
	bases(1)

	// A command that fails leaves the base alone.
	j := h.run(t, "main", "push", baseline("exit 7"))
	j.check(t, 7, "no result")
	if !strings.Contains(j.log, "::error title=vobs run::run 1 of 4 failed with exit code 7\n") {
		t.Error(j.log)
	}
	bases(1)

	// Artifacts of a fork, of other branches, and those that are expired are no base.
	for i, run := range []workflowRun{{1001, 1, 2, "main"}, {1002, 1, 1, "other"}, {1003, 1, 1, "main"}} {
		h.add(t, name, run)
		h.artifacts[len(h.artifacts)-1].Expired = i == 2
	}
	bases(4)

	// One earlier session does not decide about a time.
	j = h.run(t, "change", "pull_request", baseline(fast))
	j.check(t, 3, "inconclusive", "vobs compare: inconclusive")
	if j.outputs["exit-code"] != "3" {
		t.Errorf("exit-code %s", j.outputs["exit-code"])
	}
	for n := 2; n <= 8; n++ {
		event := []string{"push", "schedule", "workflow_dispatch"}[n%3]
		h.run(t, "main", event, baseline(fast, "allow-inconclusive", "true"))
		bases(3 + n)
	}
	last := h.named(name)[len(h.named(name))-1]
	if n := strings.Count(readText(t, filepath.Join(last.dir, "history.jsonl")), "\n"); n != 8*4 {
		t.Errorf("the history has %d runs, want 32", n)
	}

	// Eight do.
	for branch, event := range map[string]string{"change": "pull_request", "main": "push"} {
		j = h.run(t, branch, event, baseline(slow, "allow-inconclusive", "true"))
		j.check(t, 1, "regression", "vobs compare: regression")
		if j.outputs["exit-code"] != "1" || !strings.Contains(j.log, "::error title=vobs compare%3A regression::duration ") {
			t.Errorf("exit-code %s: %s", j.outputs["exit-code"], j.log)
		}
		bases(11)
	}

	// Somebody accepts it.
	j = h.run(t, "main", "workflow_dispatch", baseline(slow, "accept", "true"))
	j.check(t, 0, "regression", "vobs compare: regression")
	bases(12)
}

// What is wrong with the inputs or the runner is reported, and nothing is run or uploaded.
func TestActionRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		path, message string
		inputs        map[string]string
	}{
		"mode":  {"", "mode 'c': use ab or baseline", with("mode", "c")},
		"label": {"", "the label may have letters", with("label", "a$(touch injected)")},
		"vobs":  {"/nowhere", "there is neither vobs nor Go to build it", with()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHub(t)
			h.path = c.path
			j := h.run(t, "main", "push", c.inputs)
			j.check(t, 2, "")
			if !strings.HasPrefix(j.log, "::error title=vobs::"+c.message) || strings.Count(j.log, "\n") != 1 || len(h.artifacts) != 0 {
				t.Errorf("%s; artifacts %+v", j.log, h.artifacts)
			}
		})
	}
}

// Without vobs on the runner, the action builds it, in the root of its own repository. A stand-in
// for go links the vobs of this test there.
func TestActionBuilds(t *testing.T) {
	t.Parallel()
	vobs, err := exec.LookPath("vobs")
	if err != nil {
		t.Fatal(err)
	}
	h, tools := newHub(t), t.TempDir()
	write(t, filepath.Join(tools, "go"), "#!/bin/sh\n[ \"$1 $CGO_ENABLED\" = 'build 1' ] && [ -f main.go ] && echo building && ln -s '"+vobs+"' \"$6\"\n")
	h.path = tools + ":/usr/bin:/bin"
	j := h.run(t, "change", "pull_request", with("pairs", "1", "flags", "--metric=peak_vram", "command-a", "true", "command-b", "true"))
	j.check(t, 3, "inconclusive", "vobs ab: inconclusive")
	if !strings.HasPrefix(j.log, "building\n") {
		t.Error(j.log)
	}
}

// No script has an expression, every step can run, and the scripts are valid.
func TestActionScripts(t *testing.T) {
	a := readAction(t)
	for name, input := range a.Inputs {
		if input.Description == "" {
			t.Errorf("input %s has no description", name)
		}
	}
	for _, step := range a.Runs.Steps {
		if step.Uses != "" {
			continue
		}
		if step.Shell != "bash" || strings.Contains(step.Run, "${{") {
			t.Errorf("step %q: not a bash script without expressions", step.Name)
		}
		cmd := exec.CommandContext(t.Context(), "bash", "-n")
		cmd.Stdin = strings.NewReader(step.Run)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("step %q: %v: %s", step.Name, err, out)
		}
	}
}

// The example workflows use inputs and outputs that the action has.
func TestActionExamples(t *testing.T) {
	a := readAction(t)
	files, err := filepath.Glob("../../docs/ci/github-*.yml")
	if err != nil || len(files) != 2 {
		t.Fatalf("%q: %v", files, err)
	}
	for _, file := range files {
		var workflow struct {
			Jobs map[string]struct {
				Steps []actionStep `yaml:"steps"`
			} `yaml:"jobs"`
		}
		source := readText(t, file)
		if err := yaml.Unmarshal([]byte(source), &workflow); err != nil {
			t.Fatal(err)
		}
		used := 0
		for _, job := range workflow.Jobs {
			for _, step := range job.Steps {
				if !strings.HasPrefix(step.Uses, "vobs/vobs/.github/actions/vobs@") {
					continue
				}
				used++
				for name := range step.With {
					if _, ok := a.Inputs[name]; !ok {
						t.Errorf("%s: the action has no input %s", file, name)
					}
				}
			}
		}
		if used != 1 {
			t.Errorf("%s uses the action %d times", file, used)
		}
		for _, rest := range strings.Split(source, "steps.vobs.outputs.")[1:] {
			name := rest[:strings.IndexAny(rest, " }")]
			if _, ok := a.Outputs[name]; !ok {
				t.Errorf("%s: the action has no output %s", file, name)
			}
		}
	}
}
