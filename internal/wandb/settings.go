// Package wandb sends events to Weights & Biases: [Load] reads what the user set, and
// [Settings.Send] sends a run or writes it to disk. Package run turns an event into a
// run; packages api, rundir and transactionlog implement the wire formats independently
// of each other.
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

// Mode is whether events go to W&B, and how.
type Mode string

// The modes of --wandb. Auto follows WANDB_MODE; it is never the mode of a [Settings].
const (
	Disabled Mode = "disabled"
	Auto     Mode = "auto"
	Online   Mode = "online"
	Offline  Mode = "offline"
)

// ParseMode parses the value of --wandb; "" is Disabled.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case "":
		return Disabled, nil
	case Disabled, Auto, Online, Offline:
		return m, nil
	}
	return "", fmt.Errorf("unknown value %q: use auto, online, offline or disabled", s)
}

const (
	// DefaultBaseURL is wandb.ai's API. The SDK's default has been
	// https://api.forge.coreweave.com since 0.31, which is the same server (FORGE_HOSTS
	// of wandb/sdk/lib/urls.py).
	DefaultBaseURL = "https://api.wandb.ai"
	// DefaultProject is where runs without a project go, named as in the SDK. The SDK
	// first tries the name of the git repository that contains the program; vobs does
	// not know which word of a command is the program, and does not guess.
	DefaultProject = "uncategorized"
)

// Settings are what the user set for W&B, with the SDK's names and precedence: defaults,
// the global settings file, that of the directory, WANDB_* variables, flags.
type Settings struct {
	// Mode is Disabled, Online or Offline. If it is Disabled, nothing else is set.
	Mode Mode
	// BaseURL is the server's address without a slash at the end, AppURL that of its
	// pages.
	BaseURL, AppURL string
	// Entity and Project are where runs go; "" if not set.
	Entity, Project string
	// RunID is the id of the job's own run, "" if there is none. Resume (allow, must,
	// never, auto or "") is how that run may be resumed. Shared means that the job
	// writes it in shared mode, where another writer without that mode would overwrite
	// its earliest rows (github.com/wandb/wandb/issues/12269): it must be left alone.
	RunID, Resume string
	Shared        bool
	// Group, JobType, Name, Notes and Tags are for a run of the event's own.
	Group, JobType, Name, Notes string
	Tags                        []string
	// Host is the machine's name, if it is to be another than its own.
	Host string
	// Dir is the wandb directory.
	Dir string
	// Username and Email attribute the runs of a service account's key.
	Username, Email string
	// Headers go with every request.
	Headers map[string]Secret
	// Proxy returns the proxy for a request: W&B's own variables take precedence over
	// the usual ones.
	Proxy func(*http.Request) (*url.URL, error)
	// InsecureTLS leaves the server's certificate unchecked.
	InsecureTLS bool
	// GraphQLTimeout, FileStreamTimeout and FileTransferTimeout bound one request of
	// their kinds; 0 if not set.
	GraphQLTimeout, FileStreamTimeout, FileTransferTimeout time.Duration
	// Quiet and Silent suppress some or all output about W&B.
	Quiet, Silent bool
	// Warnings are warnings about the settings, one sentence each.
	Warnings []string

	// secretOrigin returns the origin, which contains the key. It is a function
	// because fmt prints that as an address, whatever the verb.
	secretOrigin func() *origin
}

// origin is where settings come from.
type origin struct {
	Input
	values
	// key is the result of [Settings.Credentials], computed once: its warnings are
	// known before anything is sent.
	key struct {
		sync.Once
		found *Credentials
		err   error
	}
}

func (s *Settings) origin() *origin {
	if s.secretOrigin == nil {
		return &origin{} // settings that were not loaded
	}
	return s.secretOrigin()
}

// Input is what settings are read from.
type Input struct {
	// Mode is the value of --wandb; Project, Entity and RunID are those of the other
	// flags, "" if not given.
	Mode                   Mode
	Project, Entity, RunID string
	// Environ is the environment as NAME=value; Home is the home directory, WorkDir
	// the working directory.
	Environ       []string
	Home, WorkDir string
}

// Load reads the settings. An error names a flag or a variable whose value W&B would not
// accept. A faulty settings file is ignored with a warning, as in the SDK. In mode
// Disabled, Load reads nothing.
func Load(in Input) (*Settings, error) {
	o := &origin{Input: in, values: values{env: map[string]string{}}}
	s := &Settings{Mode: Disabled, secretOrigin: func() *origin { return o }}
	if in.Mode == Disabled || in.Mode == "" {
		return s, nil
	}
	for _, kv := range in.Environ {
		if name, value, ok := strings.Cut(kv, "="); ok {
			o.env[name] = value
		}
	}
	s.loadFiles()
	if err := s.resolveMode(); err != nil || s.Mode == Disabled {
		return s, err
	}
	err := errors.Join(s.apply()...)
	if err == nil && s.Mode == Online {
		_, _ = s.Credentials() // its error is reported when something is sent
	}
	return s, err
}

// loadFiles reads both settings files. The local one is that of the working directory,
// independent of WANDB_DIR.
func (s *Settings) loadFiles() {
	config := filepath.Join(s.origin().Home, ".config", "wandb")
	if dir := s.origin().env["WANDB_CONFIG_DIR"]; dir != "" {
		config = s.path(dir)
	}
	merged := map[string]string{}
	for _, dir := range []string{config, rundir.Dir(s.origin().WorkDir)} {
		found, err := readSettings(filepath.Join(dir, "settings"))
		if err != nil {
			s.warn("a W&B settings file is ignored: %v", err)
			continue
		}
		for name, value := range found {
			merged[name] = value
		}
	}
	// These two cannot be set in a file.
	delete(merged, "root_dir")
	delete(merged, "settings_system")
	s.origin().file = merged
}

func (s *Settings) warn(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(s.Warnings, text) {
		s.Warnings = append(s.Warnings, text)
	}
}

// path resolves ~ and relative paths.
func (s *Settings) path(p string) string {
	if rest, ok := strings.CutPrefix(p, "~"); ok && (rest == "" || rest[0] == '/') && s.origin().Home != "" {
		p = s.origin().Home + rest
	}
	if !filepath.IsAbs(p) {
		p = filepath.Join(s.origin().WorkDir, p)
	}
	return p
}

func (s *Settings) resolveMode() error {
	mode, source := string(s.origin().Mode), "--wandb"
	given, setBy := s.origin().get("mode")
	if s.origin().Mode == Auto {
		if truthy(s.origin().env["WANDB_DISABLED"]) {
			// Not a variable of the SDK, but of Hugging Face's transformers.
			return nil
		}
		mode, source = cmp.Or(given, string(Online)), setBy
	}
	switch mode {
	case "online", "run", "shared":
		s.Mode = Online
	case "offline", "dryrun":
		s.Mode = Offline
	case "disabled":
	default:
		return fmt.Errorf("%s: unknown value %q: use online, offline or disabled", source, mode)
	}
	if given == "shared" {
		s.Shared = true
		s.warn("W&B's shared mode is for several writers of one run: the event becomes a run of its own")
	}
	return nil
}

// apply reads all settings but the mode.
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
		return s.origin().get(name)
	}
	for _, v := range []struct {
		into  *string
		name  string
		flag  string
		given string
		check func(string) error
	}{
		{&s.Entity, "entity", "--wandb-entity", s.origin().Entity, checkEntity},
		{&s.Project, "project", "--wandb-project", s.origin().Project, checkProject},
		{&s.RunID, "run_id", "--wandb-run-id", s.origin().RunID, run.CheckID},
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
	if v, source := s.origin().get("resume"); v != "" {
		s.Resume = strings.ToLower(v)
		if !slices.Contains([]string{"allow", "must", "never", "auto"}, s.Resume) {
			check(source, fmt.Errorf("%q is not one of allow, must, never and auto", v))
		}
	}
	base, source := s.origin().get("base_url")
	var err error
	s.BaseURL, err = checkBaseURL(cmp.Or(base, DefaultBaseURL))
	check(source, err)
	if s.AppURL == "" {
		s.AppURL = appURL(s.BaseURL)
	}
	s.AppURL = strings.TrimRight(s.AppURL, "/")
	tags, _ := s.origin().get("run_tags")
	s.Tags = parseTags(tags)

	root, _ := s.origin().get("root_dir")
	s.Dir = rundir.Dir(s.path(root))
	for _, v := range []struct {
		into *bool
		name string
	}{{&s.InsecureTLS, "insecure_disable_ssl"}, {&s.Quiet, "quiet"}, {&s.Silent, "silent"}} {
		value, _ := s.origin().get(v.name)
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
		value, source := s.origin().get(v.name)
		*v.into, err = seconds(value)
		check(source, err)
	}
	if value, source := s.origin().get("x_extra_http_headers"); value != "" {
		// The error does not quote the text: a header may hold a secret.
		if json.Unmarshal([]byte(value), &s.Headers) != nil {
			check(source, errors.New(`expected headers as JSON: {"name": "value"}`))
		}
	}
	s.Proxy, err = s.proxies()
	check("the proxy for W&B", err)
	return problems
}

// Apply sets the fields of a run of the event's own from the settings.
func (s *Settings) Apply(r *run.Run) {
	r.Entity, r.Project = s.Entity, cmp.Or(s.Project, DefaultProject)
	r.Group, r.JobType, r.Name, r.Notes, r.Tags = s.Group, s.JobType, s.Name, s.Notes, s.Tags
	r.Host = cmp.Or(s.Host, r.Host)
}

// truthy reads a switch as Python's strtobool does; unknown words are off.
func truthy(s string) bool {
	return slices.Contains([]string{"y", "yes", "t", "true", "on", "1"}, strings.ToLower(strings.TrimSpace(s)))
}

// seconds parses a number of seconds; "" is 0.
func seconds(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || !(x > 0 && x <= 1e6) {
		return 0, fmt.Errorf("%q is not a number of seconds", s)
	}
	return time.Duration(x * float64(time.Second)), nil
}

// parseTags splits tags at commas. The SDK does not trim them, and refuses to start with
// an empty or a long one; here a faulty tag does not affect the rest.
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

// checkEntity refuses what cannot be part of a run's address; the server checks the
// rest.
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
		// The error does not quote the address: it may hold a password.
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

// forgeHosts maps the hosts that serve W&B's pages at CoreWeave to the hosts of the API
// behind them, which api.<name> serves as well (FORGE_HOSTS of wandb/sdk/lib/urls.py,
// 0.31.0).
var forgeHosts = map[string]string{"forge.coreweave.com": "api.wandb.ai", "qa.forge.coreweave.com": "api.qa.wandb.ai"}

// appURL returns the address of a server's pages. W&B's pages at CoreWeave do not follow
// the rule of [api.AppURL]. A server addressed by its older name keeps its older pages.
func appURL(base string) string {
	if u, err := url.Parse(base); err == nil {
		if host, ok := strings.CutPrefix(u.Hostname(), "api."); ok && forgeHosts[host] != "" {
			return "https://" + host + "/wandb"
		}
	}
	return api.AppURL(base)
}

// proxies returns the function that chooses a proxy. W&B's own settings apply to every
// host, since they are meant for W&B's hosts only; the usual variables, NO_PROXY
// included, have their usual meaning.
func (s *Settings) proxies() (func(*http.Request) (*url.URL, error), error) {
	own := map[string]*url.URL{}
	for scheme, name := range map[string]string{"http": "http_proxy", "https": "https_proxy"} {
		value, source := s.origin().get(name)
		if value == "" {
			continue
		}
		u, err := url.Parse(value)
		if err != nil || u.Host == "" {
			// The error does not quote the address: it may hold a password.
			return nil, fmt.Errorf("%s is not a valid address", source)
		}
		own[scheme] = u
	}
	env := func(name string) string { return cmp.Or(s.origin().env[name], s.origin().env[strings.ToLower(name)]) }
	usual := (&httpproxy.Config{HTTPProxy: env("HTTP_PROXY"), HTTPSProxy: env("HTTPS_PROXY"), NoProxy: env("NO_PROXY")}).ProxyFunc()
	return func(r *http.Request) (*url.URL, error) {
		if u := own[r.URL.Scheme]; u != nil {
			return u, nil
		}
		u, err := usual(r.URL)
		if err != nil {
			return nil, errors.New("HTTP_PROXY or HTTPS_PROXY is not a valid address")
		}
		return u, nil
	}, nil
}

// settingsFile names the settings files in messages.
const settingsFile = "a W&B settings file"

// values are the settings as texts, under the SDK's names.
type values struct {
	env, file map[string]string
}

// variables are the environment variables of settings; the first one that is set counts.
// WANDB_FOO is the setting foo, WANDB__FOO and WANDB_X_FOO are x_foo, and some have other
// names (update_from_env_vars of wandb/sdk/wandb_settings.py).
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

// get returns a setting and where it comes from: the environment, then the files. An
// empty value counts as not set.
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
	return v.file[name], name + " in " + settingsFile
}
