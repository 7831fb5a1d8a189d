// Package wandb brings events to Weights & Biases: [Load] reads what the user set,
// [Settings.Send] sends a run, or writes it to disk. The run itself is made by package
// rendered; packages api, rundir and transactionlog know the wire formats and not each
// other.
package wandb

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/net/http/httpproxy"

	"github.com/vobs/vobs/internal/wandb/api"
	"github.com/vobs/vobs/internal/wandb/run"
	"github.com/vobs/vobs/internal/wandb/rundir"
)

// Mode says whether events go to W&B, and how.
type Mode string

// The modes of --wandb; Auto leaves it to WANDB_MODE and is no mode of [Settings].
const (
	Disabled Mode = "disabled"
	Auto     Mode = "auto"
	Online   Mode = "online"
	Offline  Mode = "offline"
)

// ParseMode reads the value of --wandb; "" is Disabled.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case "":
		return Disabled, nil
	case Disabled, Auto, Online, Offline:
		return m, nil
	}
	return "", fmt.Errorf("unknown mode %q for --wandb: use auto, online, offline or disabled", s)
}

const (
	// DefaultBaseURL is wandb.ai's API. The SDK's default has been
	// https://api.forge.coreweave.com since 0.31, which is the same server (FORGE_HOSTS
	// of wandb/sdk/lib/urls.py).
	DefaultBaseURL = "https://api.wandb.ai"
	// DefaultProject is where runs go that nobody gave a project: the SDK's own name for
	// it. The SDK first tries the name of the git repository that the program lies in;
	// vobs does not know which of a command's words is a program, and does not guess.
	DefaultProject = "uncategorized"
)

// Settings are what the user set for W&B, by the SDK's names and precedence:
// defaults, the global settings file, that of the directory, WANDB_* variables, flags.
type Settings struct {
	// Mode is Disabled, Online or Offline. Where it is Disabled nothing else is set.
	Mode Mode
	// BaseURL is the server's address without a slash at its end, AppURL that of its pages.
	BaseURL, AppURL string
	// Entity and Project say where runs are, "" where nobody did.
	Entity, Project string
	// RunID is the id of the job's own run, "" where nobody gave one; Resume (allow,
	// must, never, auto or "") says how it may be gone on with. Shared says that the job
	// writes it in shared mode, where another writer without that mode would overwrite
	// its earliest rows (github.com/wandb/wandb/issues/12269): it must be left alone.
	RunID, Resume string
	Shared        bool
	// Group, JobType, Name, Notes and Tags are what a run of its own is given.
	Group, JobType, Name, Notes string
	Tags                        []string
	// Host is the machine's name where it is not to be its own.
	Host string
	// Dir is the wandb directory.
	Dir string
	// Username and Email attribute the runs of a service account's key.
	Username, Email string
	// Headers go with every request.
	Headers map[string]Secret
	// Proxy gives the proxy for a request, by W&B's own variables and then the usual ones.
	Proxy func(*http.Request) (*url.URL, error)
	// InsecureTLS leaves the server's certificate unchecked.
	InsecureTLS bool
	// GraphQLTimeout, FileStreamTimeout and FileTransferTimeout bound one request of
	// their kinds; 0 where nobody set them.
	GraphQLTimeout, FileStreamTimeout, FileTransferTimeout time.Duration
	// Quiet and Silent ask for less or no output about W&B.
	Quiet, Silent bool
	// Warnings are what the user should know of the settings, one sentence each.
	Warnings []string

	// hold has the key in it. A function is printed as an address, whatever the verb.
	hold func() *held
}

// held is where settings come from, as it was given.
type held struct {
	Input
	values
	// key is what [Settings.Credentials] found, once: what it warns of is known before
	// anything is sent.
	key struct {
		sync.Once
		found *Credentials
		err   error
	}
}

func (s *Settings) from() *held {
	if s.hold == nil {
		return &held{} // settings that were not loaded
	}
	return s.hold()
}

// Input is where settings come from.
type Input struct {
	// Mode is the value of --wandb; Project, Entity and RunID are those of the other
	// flags, "" where not given.
	Mode                   Mode
	Project, Entity, RunID string
	// Environ has the environment's NAME=value; Home is the home directory, WorkDir the
	// working directory.
	Environ       []string
	Home, WorkDir string
}

// Load puts the settings together. An error names a flag or a variable with a value
// that W&B would not take; a settings file that is no good is passed over with a
// warning, as the SDK does. In the mode disabled nothing is read.
func Load(in Input) (*Settings, error) {
	from := &held{Input: in, values: values{env: map[string]string{}}}
	s := &Settings{Mode: Disabled, hold: func() *held { return from }}
	if in.Mode == Disabled || in.Mode == "" {
		return s, nil
	}
	for _, kv := range in.Environ {
		if name, value, ok := strings.Cut(kv, "="); ok {
			from.env[name] = value
		}
	}
	s.loadFiles()
	if err := s.resolveMode(); err != nil || s.Mode == Disabled {
		return s, err
	}
	err := errors.Join(s.apply()...)
	if err == nil && s.Mode == Online {
		_, _ = s.Credentials() // its error belongs to whoever sends
	}
	return s, err
}

// loadFiles reads both settings files. The local one is looked for before WANDB_DIR
// counts: it is the working directory's.
func (s *Settings) loadFiles() {
	config := filepath.Join(s.from().Home, ".config", "wandb")
	if dir := s.from().env["WANDB_CONFIG_DIR"]; dir != "" {
		config = s.path(dir)
	}
	merged := map[string]string{}
	for _, dir := range []string{config, rundir.Dir(s.from().WorkDir)} {
		found, err := readSettings(filepath.Join(dir, "settings"))
		if err != nil {
			s.warn("a settings file of W&B is passed over: %v", err)
			continue
		}
		for name, value := range found {
			merged[name] = value
		}
	}
	// These two cannot be set in a file.
	delete(merged, "root_dir")
	delete(merged, "settings_system")
	s.from().file = merged
}

func (s *Settings) warn(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(s.Warnings, text) {
		s.Warnings = append(s.Warnings, text)
	}
}

// path is a path as a shell would see it.
func (s *Settings) path(p string) string {
	if rest, ok := strings.CutPrefix(p, "~"); ok && (rest == "" || rest[0] == '/') && s.from().Home != "" {
		p = s.from().Home + rest
	}
	if !filepath.IsAbs(p) {
		p = filepath.Join(s.from().WorkDir, p)
	}
	return p
}

func (s *Settings) resolveMode() error {
	mode, source := string(s.from().Mode), "--wandb"
	given, from := s.from().get("mode")
	if s.from().Mode == Auto {
		if truthy(s.from().env["WANDB_DISABLED"]) {
			// Not the SDK's, but Hugging Face's transformers reads it.
			return nil
		}
		mode, source = cmp.Or(given, string(Online)), from
	}
	switch mode {
	case "online", "run", "shared":
		s.Mode = Online
	case "offline", "dryrun":
		s.Mode = Offline
	case "disabled":
	default:
		return fmt.Errorf("unknown mode %q in %s: use online, offline or disabled", mode, source)
	}
	if given == "shared" {
		s.Shared = true
		s.warn("W&B's shared mode is for the writers of one run: the event becomes a run of its own")
	}
	return nil
}

// apply reads all values but the mode.
func (s *Settings) apply() (problems []error) {
	check := func(what string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", what, err))
		}
	}
	text := func(name, flag, given string) (value, source string) {
		if given != "" {
			return given, flag
		}
		return s.from().get(name)
	}
	for _, v := range []struct {
		into  *string
		name  string
		flag  string
		given string
		check func(string) error
	}{
		{&s.Entity, "entity", "--wandb-entity", s.from().Entity, checkEntity},
		{&s.Project, "project", "--wandb-project", s.from().Project, checkProject},
		{&s.RunID, "run_id", "--wandb-run-id", s.from().RunID, run.CheckID},
		{&s.Resume, "resume", "", "", nil},
		{&s.Group, "run_group", "", "", nil},
		{&s.JobType, "run_job_type", "", "", nil},
		{&s.Name, "run_name", "", "", nil},
		{&s.Notes, "run_notes", "", "", nil},
		{&s.Host, "host", "", "", nil},
		{&s.Username, "username", "", "", nil},
		{&s.Email, "email", "", "", nil},
		{&s.AppURL, "app_url_override", "", "", nil},
	} {
		value, source := text(v.name, v.flag, v.given)
		*v.into = value
		if value != "" && v.check != nil {
			check(source, v.check(value))
		}
	}
	if v, source := s.from().get("resume"); v != "" {
		s.Resume = strings.ToLower(v)
		if !slices.Contains([]string{"allow", "must", "never", "auto"}, s.Resume) {
			check(source, fmt.Errorf("%q is none of allow, must, never and auto", v))
		}
	}
	base, source := s.from().get("base_url")
	var err error
	s.BaseURL, err = checkBaseURL(cmp.Or(base, DefaultBaseURL))
	check(source, err)
	if s.AppURL == "" {
		s.AppURL = appURL(s.BaseURL)
	}
	s.AppURL = strings.TrimRight(s.AppURL, "/")
	tags, _ := s.from().get("run_tags")
	s.Tags = parseTags(tags)

	root, _ := s.from().get("root_dir")
	s.Dir = rundir.Dir(s.path(root))
	for _, v := range []struct {
		into *bool
		name string
	}{{&s.InsecureTLS, "insecure_disable_ssl"}, {&s.Quiet, "quiet"}, {&s.Silent, "silent"}} {
		value, _ := s.from().get(v.name)
		*v.into = truthy(value)
	}
	for _, v := range []struct {
		into *time.Duration
		name string
	}{
		{&s.GraphQLTimeout, "x_graphql_timeout_seconds"},
		{&s.FileStreamTimeout, "x_file_stream_timeout_seconds"},
		{&s.FileTransferTimeout, "x_file_transfer_timeout_seconds"},
	} {
		value, source := s.from().get(v.name)
		*v.into, err = seconds(value)
		check(source, err)
	}
	if value, source := s.from().get("x_extra_http_headers"); value != "" {
		// The text is not told: a header may hold a secret.
		if json.Unmarshal([]byte(value), &s.Headers) != nil {
			check(source, errors.New(`expected headers as JSON: {"name": "value"}`))
		}
	}
	s.Proxy, err = s.proxies()
	check("the proxy for W&B", err)
	return problems
}

// Apply gives a run of its own what the user set for such.
func (s *Settings) Apply(r *run.Run) {
	r.Entity, r.Project = s.Entity, cmp.Or(s.Project, DefaultProject)
	r.Group, r.JobType, r.Name, r.Notes, r.Tags = s.Group, s.JobType, s.Name, s.Notes, s.Tags
	r.Host = cmp.Or(s.Host, r.Host)
}

// truthy reads a switch as Python's strtobool does; what it does not know is off.
func truthy(s string) bool {
	return slices.Contains([]string{"y", "yes", "t", "true", "on", "1"}, strings.ToLower(strings.TrimSpace(s)))
}

func seconds(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || !(x > 0 && x <= 1e6) {
		return 0, fmt.Errorf("%q is no number of seconds", s)
	}
	return time.Duration(x * float64(time.Second)), nil
}

// parseTags splits tags at commas. The SDK does not trim them, and refuses to start
// for an empty or a long one; here a tag never costs the rest.
func parseTags(s string) (out []string) {
	for _, tag := range strings.Split(s, ",") {
		tag = strings.TrimSpace(tag)
		if utf8.RuneCountInString(tag) > 64 {
			tag = strings.TrimSpace(string([]rune(tag)[:64]))
		}
		if tag != "" && !slices.Contains(out, tag) {
			out = append(out, tag)
		}
	}
	return out
}

// checkProject is validate_project of wandb/sdk/wandb_settings.py.
func checkProject(s string) error {
	switch {
	case utf8.RuneCountInString(s) > 128:
		return fmt.Errorf("the project's name %.20q… has more than 128 characters", s)
	case strings.ContainsAny(s, `/\#?%:`):
		return fmt.Errorf(`the project's name %q has one of the characters / \ # ? %% : that W&B does not take`, s)
	}
	return nil
}

// checkEntity refuses what cannot be part of a run's address; the rest is the server's
// to know.
func checkEntity(s string) error {
	if strings.ContainsAny(s, `/\#?%: `) {
		return fmt.Errorf(`the entity %q is not the name of a user or a team: use the name alone, and --wandb-project for the project`, s)
	}
	return nil
}

// checkBaseURL is validate_base_url of wandb/sdk/wandb_settings.py.
func checkBaseURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		// A faulty address is not repeated whole: it may hold a password.
		return s, errors.New("expected an address that begins with http:// or https://")
	}
	if u.User != nil {
		return s, errors.New("an address with a user name is not supported: the key goes into WANDB_API_KEY or a netrc file")
	}
	host := u.Hostname()
	switch {
	case (host == "wandb.ai" || strings.HasSuffix(host, ".wandb.ai")) && !strings.Contains(host, "api."):
		return s, fmt.Errorf("%s is not W&B's API: did you mean %s?", s, DefaultBaseURL)
	case (host == "wandb.ai" || strings.HasSuffix(host, ".wandb.ai")) && u.Scheme != "https":
		return s, fmt.Errorf("%s is not secure: use https://%s", s, u.Host)
	case forgeHosts[host] != "":
		if u.Scheme != "https" || u.Port() != "" || strings.TrimRight(u.Path, "/") != "/api/wandb" {
			return s, fmt.Errorf("%s is not W&B's API: did you mean https://api.%s?", s, host)
		}
		return "https://api." + host, nil
	}
	return strings.TrimRight(s, "/"), nil
}

// forgeHosts are the hosts that serve W&B's pages at CoreWeave, with those of the API
// behind them, which the host api.<name> serves as well (FORGE_HOSTS of
// wandb/sdk/lib/urls.py, 0.31.0).
var forgeHosts = map[string]string{"forge.coreweave.com": "api.wandb.ai", "qa.forge.coreweave.com": "api.qa.wandb.ai"}

// appURL is where a server's pages are: of W&B's at CoreWeave elsewhere than by the rule.
// What it was asked for by its older name keeps its older pages.
func appURL(base string) string {
	if u, err := url.Parse(base); err == nil {
		if host, ok := strings.CutPrefix(u.Hostname(), "api."); ok && forgeHosts[host] != "" {
			return "https://" + host + "/wandb"
		}
	}
	return api.AppURL(base)
}

// proxies makes the function that chooses a proxy. W&B's own settings count for every
// host, for they are meant for W&B's alone; the usual variables are as everywhere,
// NO_PROXY among them.
func (s *Settings) proxies() (func(*http.Request) (*url.URL, error), error) {
	own := map[string]*url.URL{}
	for scheme, name := range map[string]string{"http": "http_proxy", "https": "https_proxy"} {
		value, source := s.from().get(name)
		if value == "" {
			continue
		}
		u, err := url.Parse(value)
		if err != nil || u.Host == "" {
			// Not the address itself: it may hold a password.
			return nil, fmt.Errorf("%s is no address", source)
		}
		own[scheme] = u
	}
	env := func(name string) string { return cmp.Or(s.from().env[name], s.from().env[strings.ToLower(name)]) }
	usual := (&httpproxy.Config{HTTPProxy: env("HTTP_PROXY"), HTTPSProxy: env("HTTPS_PROXY"), NoProxy: env("NO_PROXY")}).ProxyFunc()
	return func(r *http.Request) (*url.URL, error) {
		if u := own[r.URL.Scheme]; u != nil {
			return u, nil
		}
		u, err := usual(r.URL)
		if err != nil {
			return nil, errors.New("HTTP_PROXY or HTTPS_PROXY is no address")
		}
		return u, nil
	}, nil
}

// values are the settings as texts, by the SDK's names for them.
type values struct {
	env, file map[string]string
}

// variables are the environment's names for settings, the first that is set counts.
// WANDB_FOO is the setting foo, WANDB__FOO and WANDB_X_FOO are x_foo, and some have
// names of their own (update_from_env_vars of wandb/sdk/wandb_settings.py).
var variables = map[string][]string{
	"app_url_override":                {"WANDB_APP_URL", "WANDB_APP_URL_OVERRIDE"},
	"email":                           {"WANDB_USER_EMAIL", "WANDB_EMAIL"},
	"root_dir":                        {"WANDB_DIR", "WANDB_ROOT_DIR"},
	"run_job_type":                    {"WANDB_JOB_TYPE", "WANDB_RUN_JOB_TYPE"},
	"run_name":                        {"WANDB_NAME", "WANDB_RUN_NAME"},
	"run_notes":                       {"WANDB_NOTES", "WANDB_RUN_NOTES"},
	"run_tags":                        {"WANDB_TAGS", "WANDB_RUN_TAGS"},
	"x_graphql_timeout_seconds":       {"WANDB_HTTP_TIMEOUT", "WANDB__GRAPHQL_TIMEOUT_SECONDS", "WANDB_X_GRAPHQL_TIMEOUT_SECONDS"},
	"x_file_transfer_timeout_seconds": {"WANDB_FILE_PUSHER_TIMEOUT", "WANDB__FILE_TRANSFER_TIMEOUT_SECONDS", "WANDB_X_FILE_TRANSFER_TIMEOUT_SECONDS"},
}

// get gives a setting and where it is from: the environment, then the files. What is
// empty is not set.
func (v *values) get(name string) (value, source string) {
	names := variables[name]
	if names == nil {
		if x, ok := strings.CutPrefix(name, "x_"); ok {
			names = []string{"WANDB__" + strings.ToUpper(x)}
		}
		names = append(names, "WANDB_"+strings.ToUpper(name))
	}
	for _, n := range names {
		if value := strings.TrimSpace(v.env[n]); value != "" {
			return value, n
		}
	}
	return v.file[name], name + " in a settings file of W&B"
}
