package wandb

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/internal/wandb/run"
)

const key = "0123456789abcdef0123456789abcdef01234567"

// place creates a home and a working directory with files in them.
func place(t testing.TB, files map[string]string) Input {
	t.Helper()
	root := t.TempDir()
	in := Input{Mode: Online, Home: filepath.Join(root, "home"), WorkDir: filepath.Join(root, "work")}
	for _, dir := range []string{in.Home, in.WorkDir} {
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return in
}

func load(t testing.TB, in Input, env ...string) *Settings {
	t.Helper()
	in.Environ = env
	s, err := Load(in)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestModes(t *testing.T) {
	for _, c := range []struct {
		flag Mode
		env  string
		file string
		want Mode
		warn bool
	}{
		{flag: "", want: Disabled},
		{flag: "", env: "WANDB_MODE=online", want: Disabled},
		{flag: Disabled, env: "WANDB_MODE=online", want: Disabled},
		{flag: Online, want: Online},
		{flag: Offline, want: Offline},
		{flag: Online, env: "WANDB_MODE=offline", want: Online},
		{flag: Online, env: "WANDB_MODE=disabled", want: Online},
		{flag: Offline, env: "WANDB_MODE=online", want: Offline},
		{flag: Online, env: "WANDB_DISABLED=true", want: Online},
		{flag: Auto, want: Online},
		{flag: Auto, env: "WANDB_MODE=online", want: Online},
		{flag: Auto, env: "WANDB_MODE=run", want: Online},
		{flag: Auto, env: "WANDB_MODE=offline", want: Offline},
		{flag: Auto, env: "WANDB_MODE=dryrun", want: Offline},
		{flag: Auto, env: "WANDB_MODE=disabled", want: Disabled},
		{flag: Auto, env: "WANDB_MODE=", want: Online},
		{flag: Auto, env: "WANDB_MODE=shared", want: Online, warn: true},
		{flag: Online, env: "WANDB_MODE=shared", want: Online, warn: true},
		{flag: Auto, env: "WANDB_DISABLED=true", want: Disabled},
		{flag: Auto, env: "WANDB_DISABLED=1", want: Disabled},
		{flag: Auto, env: "WANDB_DISABLED=false", want: Online},
		{flag: Auto, env: "WANDB_DISABLED=", want: Online},
		{flag: Auto, file: "offline", want: Offline},
		{flag: Auto, file: "disabled", want: Disabled},
		{flag: Auto, env: "WANDB_MODE=online", file: "offline", want: Online},
		{flag: Auto, env: "WANDB_MODE=", file: "offline", want: Offline},
	} {
		in := place(t, map[string]string{"work/wandb/settings": "[default]\nmode = " + c.file})
		in.Mode = c.flag
		s := load(t, in, c.env)
		if s.Mode != c.want || s.Shared != c.warn || (len(s.Warnings) > 0) != c.warn {
			t.Errorf("--wandb %q, %s, file %q: %s, shared %t, warnings %q; want %s", c.flag, c.env, c.file, s.Mode, s.Shared, s.Warnings, c.want)
		}
	}
	in := place(t, nil)
	in.Mode, in.Environ = Auto, []string{"WANDB_MODE=on"}
	if _, err := Load(in); err == nil || !strings.Contains(err.Error(), `WANDB_MODE: unknown value "on"`) {
		t.Errorf("WANDB_MODE=on: %v", err)
	}
	for _, good := range []string{"", "auto", "online", "offline", "disabled"} {
		if _, err := ParseMode(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"shared", "Online", "run"} {
		if m, err := ParseMode(bad); err == nil {
			t.Errorf("%q is %q", bad, m)
		}
	}
}

func TestDisabledReadsNothing(t *testing.T) {
	in := place(t, map[string]string{"work/wandb/settings": "no settings"})
	in.Mode = Disabled
	in.Project = "a/b"
	s := load(t, in, "WANDB_RUN_ID=a/b", "WANDB_BASE_URL=x")
	if len(s.Warnings) > 0 || s.RunID != "" {
		t.Errorf("%+v", s)
	}
}

func TestPrecedence(t *testing.T) {
	all := map[string]string{
		"home/.config/wandb/settings": "[default]\nproject = global\nentity = eglobal\nrun_group = gglobal\nbase_url = https://global.example/",
		"work/wandb/settings":         "[default]\nproject = local\nentity = elocal\nroot_dir = /nowhere\n",
		"other/settings":              "[default]\nproject = configured\n",
	}
	for _, c := range []struct {
		name                         string
		in                           func(*Input)
		env                          []string
		project, entity, group, base string
	}{
		{"files", nil, nil, "local", "elocal", "gglobal", "https://global.example"},
		{"variables", nil, []string{"WANDB_PROJECT=env", "WANDB_RUN_GROUP=genv"}, "env", "elocal", "genv", "https://global.example"},
		{"empty variables", nil, []string{"WANDB_PROJECT=", "WANDB_ENTITY= ", "WANDB_BASE_URL="}, "local", "elocal", "gglobal", "https://global.example"},
		{"flags", func(in *Input) { in.Project, in.Entity = "flag", "eflag" }, []string{"WANDB_PROJECT=env", "WANDB_ENTITY=eenv"}, "flag", "eflag", "gglobal", "https://global.example"},
		{"another folder of settings", nil, []string{"WANDB_CONFIG_DIR=../other"}, "local", "elocal", "", DefaultBaseURL},
		{"WANDB_DIR moves no settings", nil, []string{"WANDB_DIR=/nowhere"}, "local", "elocal", "gglobal", "https://global.example"},
		{"elsewhere", func(in *Input) { in.WorkDir = in.Home }, nil, "global", "eglobal", "gglobal", "https://global.example"},
	} {
		in := place(t, all)
		if c.in != nil {
			c.in(&in)
		}
		s := load(t, in, c.env...)
		if nowhere := "/nowhere/wandb"; (s.Dir == nowhere) != slices.Contains(c.env, "WANDB_DIR=/nowhere") {
			t.Errorf("%s: the directory is %s", c.name, s.Dir) // a file cannot set it
		}
		if s.Project != c.project || s.Entity != c.entity || s.Group != c.group || s.BaseURL != c.base || len(s.Warnings) > 0 {
			t.Errorf("%s: %s %s %s %s %q, want %s %s %s %s", c.name, s.Project, s.Entity, s.Group, s.BaseURL, s.Warnings, c.project, c.entity, c.group, c.base)
		}
	}
}

func TestVariables(t *testing.T) {
	in := place(t, nil)
	in.RunID = ""
	s := load(t, in, "WANDB_ENTITY=team", "WANDB_PROJECT=p", "WANDB_RUN_ID=abc", "WANDB_RESUME=Allow", "WANDB_RUN_GROUP=g", "WANDB_JOB_TYPE=j",
		"WANDB_NAME=n", "WANDB_NOTES=some notes", "WANDB_TAGS= a,b ,,a,"+strings.Repeat("ü", 70), "WANDB_DIR=sub", "WANDB_HOST=h",
		"WANDB_USERNAME=u", "WANDB_USER_EMAIL=u@x", "WANDB_HTTP_TIMEOUT=7", "WANDB__FILE_STREAM_TIMEOUT_SECONDS=1.5", "WANDB_FILE_PUSHER_TIMEOUT=60",
		"WANDB_INSECURE_DISABLE_SSL=True", "WANDB_QUIET=1", "WANDB_SILENT=false", `WANDB__EXTRA_HTTP_HEADERS={"X-A":"1"}`, "WANDB_APP_URL=https://app.example/",
		"WANDB_BASE_URL=https://w.example/api/")
	got := *s
	got.Proxy, got.secretOrigin = nil, nil
	want := Settings{
		Mode: Online, BaseURL: "https://w.example/api", AppURL: "https://app.example", Entity: "team", Project: "p", RunID: "abc", Resume: "allow",
		Group: "g", JobType: "j", Name: "n", Notes: "some notes", Tags: []string{"a", "b", strings.Repeat("ü", 64)}, Host: "h",
		Dir: filepath.Join(in.WorkDir, "sub", "wandb"), Username: "u", Email: "u@x", Headers: map[string]Secret{"X-A": "1"}, InsecureTLS: true,
		GraphQLTimeout: 7 * time.Second, FileStreamTimeout: 1500 * time.Millisecond, FileTransferTimeout: time.Minute, Quiet: true,
	}
	if diff := cmp.Diff(fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if s.Headers["X-A"].Reveal() != "1" {
		t.Errorf("the header is %q", s.Headers["X-A"].Reveal())
	}
	// Other names of the same settings, which have a lower precedence.
	s = load(t, in, "WANDB_RUN_NAME=n2", "WANDB_RUN_TAGS=t", "WANDB_RUN_NOTES=x", "WANDB_RUN_JOB_TYPE=j2", "WANDB_ROOT_DIR=~/d", "WANDB_EMAIL=e",
		"WANDB_X_GRAPHQL_TIMEOUT_SECONDS=3", "WANDB_APP_URL_OVERRIDE=https://o.example", "WANDB_X_FILE_STREAM_TIMEOUT_SECONDS=4")
	if s.Name != "n2" || len(s.Tags) != 1 || s.Notes != "x" || s.JobType != "j2" || s.Dir != filepath.Join(in.Home, "d", "wandb") || s.Email != "e" ||
		s.GraphQLTimeout != 3*time.Second || s.AppURL != "https://o.example" || s.FileStreamTimeout != 4*time.Second {
		t.Errorf("%+v", s)
	}
	if s := load(t, in, "WANDB_RUN_NAME=n2", "WANDB_NAME=n1"); s.Name != "n1" {
		t.Errorf("the name is %q", s.Name)
	}
	if err := os.Mkdir(filepath.Join(in.WorkDir, ".wandb"), 0o777); err != nil {
		t.Fatal(err)
	}
	if s := load(t, in); s.Dir != filepath.Join(in.WorkDir, ".wandb") {
		t.Errorf("with .wandb present, the directory is %s", s.Dir)
	}
}

func TestApply(t *testing.T) {
	in := place(t, nil)
	r := run.Run{Host: "h1"}
	load(t, in).Apply(&r)
	if r.Project != "uncategorized" || r.Host != "h1" || r.Entity != "" {
		t.Errorf("%+v", r)
	}
	load(t, in, "WANDB_PROJECT=p", "WANDB_ENTITY=e", "WANDB_RUN_GROUP=g", "WANDB_JOB_TYPE=j", "WANDB_NAME=n", "WANDB_NOTES=o", "WANDB_TAGS=t", "WANDB_HOST=h2").Apply(&r)
	if diff := cmp.Diff(run.Run{Project: "p", Entity: "e", Group: "g", JobType: "j", Name: "n", Notes: "o", Tags: []string{"t"}, Host: "h2"}, r); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestInvalidValues(t *testing.T) {
	for _, c := range []struct{ env, want string }{
		{"WANDB_PROJECT=a/b", "WANDB_PROJECT: the project's name"},
		{"WANDB_PROJECT=" + strings.Repeat("x", 129), "128 characters"},
		{"WANDB_ENTITY=team/project", "WANDB_ENTITY"},
		{"WANDB_RUN_ID=a:b", "WANDB_RUN_ID: the run id"},
		{"WANDB_RUN_ID=" + strings.Repeat("x", 65), "64"},
		{"WANDB_RESUME=yes", "WANDB_RESUME"},
		{"WANDB_BASE_URL=api.wandb.ai", "http://"},
		{"WANDB_BASE_URL=https://wandb.ai", "https://api.wandb.ai"},
		{"WANDB_BASE_URL=https://app.wandb.ai/", "https://api.wandb.ai"},
		{"WANDB_BASE_URL=http://api.wandb.ai", "not secure"},
		{"WANDB_BASE_URL=https://forge.coreweave.com", "https://api.forge.coreweave.com"},
		{"WANDB_BASE_URL=https://user:hunter2@w.example", "user name"},
		{"WANDB_BASE_URL=://hunter2", "WANDB_BASE_URL"},
		{"WANDB_HTTP_TIMEOUT=soon", "WANDB_HTTP_TIMEOUT"},
		{"WANDB_HTTP_TIMEOUT=-1", "seconds"},
		{"WANDB_HTTP_TIMEOUT=NaN", "seconds"},
		{"WANDB__EXTRA_HTTP_HEADERS=hunter2", "WANDB__EXTRA_HTTP_HEADERS"},
		{`WANDB__EXTRA_HTTP_HEADERS={"A":1,"B":"hunter2"}`, "JSON"},
		{"WANDB_HTTPS_PROXY=hunter2", "WANDB_HTTPS_PROXY"},
		{"WANDB_HTTP_PROXY=http://u:hunter2@%zz", "WANDB_HTTP_PROXY"},
	} {
		in := place(t, nil)
		in.Environ = []string{c.env}
		_, err := Load(in)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want an error with %q", c.env, err, c.want)
		}
	}
	in := place(t, nil)
	in.Project, in.RunID, in.Entity = "a/b", "a:b", "c d"
	_, err := Load(in)
	for _, flag := range []string{"--wandb-project: ", "--wandb-run-id: ", "--wandb-entity: "} {
		if err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%v does not name %s", err, flag)
		}
	}
}

func TestServers(t *testing.T) {
	for _, c := range []struct{ given, base, app string }{
		{"", "https://api.wandb.ai", "https://wandb.ai"},
		{"https://api.wandb.ai/", "https://api.wandb.ai", "https://wandb.ai"},
		{"https://api.forge.coreweave.com", "https://api.forge.coreweave.com", "https://forge.coreweave.com/wandb"},
		{"https://forge.coreweave.com/api/wandb/", "https://api.forge.coreweave.com", "https://forge.coreweave.com/wandb"},
		{"https://acme.wandb.io", "https://acme.wandb.io", "https://acme.wandb.io"},
		{"https://api.acme.example", "https://api.acme.example", "https://app.acme.example"},
		{"http://localhost:8080", "http://localhost:8080", "http://localhost:8080"},
		{"https://w.example/sub/", "https://w.example/sub", "https://w.example/sub"},
	} {
		s := load(t, place(t, nil), "WANDB_BASE_URL="+c.given)
		if s.BaseURL != c.base || s.AppURL != c.app {
			t.Errorf("%q: %s and %s, want %s and %s", c.given, s.BaseURL, s.AppURL, c.base, c.app)
		}
	}
}

func TestProxies(t *testing.T) {
	for _, c := range []struct {
		name string
		env  []string
		url  string
		want string
	}{
		{"none", nil, "https://w.example", ""},
		{"usual", []string{"HTTPS_PROXY=http://p:1"}, "https://w.example", "http://p:1"},
		{"usual, in lower case", []string{"https_proxy=http://p:1"}, "https://w.example", "http://p:1"},
		{"for another scheme", []string{"HTTP_PROXY=http://p:1"}, "https://w.example", ""},
		{"not for this host", []string{"HTTPS_PROXY=http://p:1", "NO_PROXY=.example"}, "https://w.example", ""},
		{"W&B's own", []string{"HTTPS_PROXY=http://p:1", "WANDB_HTTPS_PROXY=http://q:2/"}, "https://w.example", "http://q:2/"},
		{"W&B's own, for every host", []string{"NO_PROXY=*", "WANDB_HTTP_PROXY=http://q:2"}, "http://localhost:8080", "http://q:2"},
	} {
		s := load(t, place(t, nil), c.env...)
		r, err := http.NewRequest("POST", c.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		u, err := s.Proxy(r)
		got := ""
		if u != nil {
			got = u.String()
		}
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}

func TestSettingsFilesAreReadAsPythonDoes(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       map[string]string
	}{
		{"what wandb writes", "[default]\nbase_url = http://localhost:8080\nmode = offline\n\n", map[string]string{"base_url": "http://localhost:8080", "mode": "offline"}},
		{"other sections", "[other]\nx = 1\n[default]\ny = 2\n[more]\nz = 3\n", map[string]string{"y": "2"}},
		{"no section of ours", "[other]\nx = 1\n", map[string]string{}},
		{"defaults below all", "[DEFAULT]\nx = 1\ny = 1\n[default]\nY: 2\n", map[string]string{"x": "1", "y": "2"}},
		{"defaults alone", "[DEFAULT]\nx = 1\n", map[string]string{}},
		{"comments", "# a\n; b\n[default]\n  # c\nx = 1 # no comment\n", map[string]string{"x": "1 # no comment"}},
		{"colons, capitals, spaces", "[default]\r\n Project :  p q \r\n", map[string]string{"project": "p q"}},
		{"a value of several lines", "[default]\nx = 1\n  2\n\ny = 3\n", map[string]string{"x": "1\n2", "y": "3"}},
		{"an empty value", "[default]\nx =\n", map[string]string{"x": ""}},
		{"percent signs", "[default]\nx = 50%%\n", map[string]string{"x": "50%"}},
		{"= in a value", "[default]\nx = a=b:c\n", map[string]string{"x": "a=b:c"}},
		{"empty", "", map[string]string{}},
		{"no section", "x = 1\n", nil},
		{"no section's name", "[default]\n[x = 1\n", map[string]string{"[x": "1"}},
		{"no value", "[default]\nx\n", nil},
		{"a section without an end", "[default\nx = 1\n", nil},
		{"twice", "[default]\nx = 1\nX = 2\n", nil},
		{"a section twice", "[default]\n[default]\n", nil},
	} {
		got, err := parseSettings(c.text)
		if (err != nil) != (c.want == nil) || c.want != nil && !cmp.Equal(c.want, got) {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}

func TestBrokenSettingsFilesAreIgnored(t *testing.T) {
	in := place(t, map[string]string{
		"home/.config/wandb/settings": "[default]\nproject = good\n",
		"work/wandb/settings":         "hunter2",
	})
	s := load(t, in)
	if s.Project != "good" || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "work/wandb/settings") || strings.Contains(s.Warnings[0], "hunter2") {
		t.Errorf("project %q, warnings %q", s.Project, s.Warnings)
	}
	// A directory in place of the file, and a file in place of a directory.
	in = place(t, map[string]string{"work/wandb/settings/x": "", "home/.config/wandb": ""})
	if s := load(t, in); len(s.Warnings) != 1 {
		t.Errorf("warnings %q", s.Warnings)
	}
}

func TestNetrc(t *testing.T) {
	const host = "api.wandb.ai"
	for _, c := range []struct {
		name, text string
		want       Secret
		found      bool
	}{
		{"what wandb login writes", "machine other\n  login user\n  password x\nmachine api.wandb.ai\n  login user\n  password k1\n", "k1", true},
		{"on one line", "machine api.wandb.ai login user password k1", "k1", true},
		{"quoted", `machine "api.wandb.ai" login user password "k 1\"x"`, `k 1"x`, true},
		{"escaped", `machine api.wandb.ai login user password k\ 1`, "k 1", true},
		{"default", "machine other login user password x\ndefault login user password k2\n", "k2", true},
		{"a machine before the default", "default login user password k2\nmachine api.wandb.ai login user password k1\n", "k1", true},
		{"twice", "machine api.wandb.ai password k1\nmachine api.wandb.ai password k3\n", "k3", true},
		{"the port is part of the name", "machine api.wandb.ai:80 password k1\n", "", false},
		{"none", "machine other login user password x\n", "", false},
		{"no password", "machine api.wandb.ai login user\n", "", true},
		{"comments", "# one\n#two words\nmachine api.wandb.ai # three\n  login user # four\n  password k1\n", "k1", true},
		{"a # at a line's end", "machine api.wandb.ai login user #\n  password k1\n", "k1", true},
		{"a # in a password", "machine api.wandb.ai password #k1 login user", "#k1", true},
		{"a macro", "macdef init\ncd /\nmachine api.wandb.ai\n\nmachine api.wandb.ai password k1\n", "k1", true},
		{"account", "machine api.wandb.ai account a user b password k1", "k1", true},
		{"carriage returns", "machine api.wandb.ai\r\nlogin user\r\npassword k1\r\n", "k1", true},
		{"the newer name", "machine api.forge.coreweave.com login user password k4\ndefault password x\n", "k4", true},
		{"empty", "", "", false},
		{"a backslash at the end", "machine api.wandb.ai password k1\\", "k1", true},
	} {
		n, err := parseNetrc(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got, found := n.lookup(host, "api.forge.coreweave.com"); got != c.want || found != c.found {
			t.Errorf("%s: %q, %t; want %q, %t", c.name, got.Reveal(), found, c.want.Reveal(), c.found)
		}
	}
	for name, text := range map[string]string{
		"a password alone":     "hunter2\n",
		"an unknown keyword":   "machine a login b hunter2 c\n",
		"no name":              "machine a password hunter2\nmachine",
		"a macro without end":  "machine a password hunter2\nmacdef x\ny",
		"a password in pieces": "machine a password hunter 2hunter2",
	} {
		if _, err := parseNetrc(text); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzNetrc(f *testing.F) {
	f.Add("machine a login b password c\ndefault password \"d\\\"\nmacdef x\ny\n\n# z")
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := parseNetrc(text); err == nil {
			n.lookup("a")
		}
	})
}

func FuzzSettings(f *testing.F) {
	f.Add("[default]\na = b\n c\n[DEFAULT]\nx: 1\n# c")
	f.Fuzz(func(t *testing.T, text string) {
		if out, err := parseSettings(text); err == nil && out == nil {
			t.Fatal("neither settings nor an error")
		}
	})
}

func TestCredentials(t *testing.T) {
	other := strings.ReplaceAll(key, "0", "9")
	netrcFor := func(host, password string) string {
		return "machine " + host + " login user password " + password + "\n"
	}
	for _, c := range []struct {
		name         string
		files        map[string]string
		env          []string
		want, source string
		err          string
	}{
		{name: "none", err: "no key for W&B"},
		{name: "variable", env: []string{"WANDB_API_KEY=" + key}, want: key, source: "WANDB_API_KEY"},
		{name: "variable before netrc", env: []string{"WANDB_API_KEY=" + key}, files: map[string]string{"home/.netrc": netrcFor("api.wandb.ai", other)}, want: key, source: "WANDB_API_KEY"},
		{name: "netrc", env: []string{"WANDB_API_KEY="}, files: map[string]string{"home/.netrc": netrcFor("api.wandb.ai", key)}, want: key, source: "/home/.netrc"},
		{name: "netrc by its other name", files: map[string]string{"home/_netrc": netrcFor("api.wandb.ai", key)}, want: key, source: "/home/_netrc"},
		{name: "both netrcs", files: map[string]string{"home/_netrc": netrcFor("api.wandb.ai", other), "home/.netrc": netrcFor("api.wandb.ai", key)}, want: key, source: "/home/.netrc"},
		{name: "NETRC", env: []string{"NETRC=~/mine"}, files: map[string]string{"home/.netrc": netrcFor("api.wandb.ai", other), "home/mine": netrcFor("api.wandb.ai", key)}, want: key, source: "/home/mine"},
		{name: "NETRC is missing", env: []string{"NETRC=/nowhere/mine"}, files: map[string]string{"home/.netrc": netrcFor("api.wandb.ai", key)}, err: "/nowhere/mine"},
		{name: "another server's key", env: []string{"WANDB_BASE_URL=http://localhost:8080"}, files: map[string]string{"home/.netrc": netrcFor("api.wandb.ai", key)}, err: "http://localhost:8080"},
		{name: "a server's own", env: []string{"WANDB_BASE_URL=http://localhost:8080"}, files: map[string]string{"home/.netrc": netrcFor("localhost:8080", key)}, want: key, source: "/home/.netrc"},
		{name: "the newer name of wandb.ai", files: map[string]string{"home/.netrc": netrcFor("api.forge.coreweave.com", key)}, want: key, source: "/home/.netrc"},
		{name: "the older name", env: []string{"WANDB_BASE_URL=https://api.forge.coreweave.com"}, files: map[string]string{"home/.netrc": netrcFor("api.wandb.ai", key)}, want: key, source: "/home/.netrc"},
		{name: "settings file", files: map[string]string{"work/wandb/settings": "[default]\napi_key = " + key}, want: key, source: "a W&B settings file"},
		{name: "netrc before settings file", files: map[string]string{"work/wandb/settings": "[default]\napi_key = " + other, "home/.netrc": netrcFor("api.wandb.ai", key)}, want: key, source: "/home/.netrc"},
		{name: "a key with a prefix", env: []string{"WANDB_API_KEY=local-" + key}, want: "local-" + key, source: "WANDB_API_KEY"},
		{name: "a JWT", env: []string{"WANDB_API_KEY=a.b.c"}, want: "a.b.c", source: "WANDB_API_KEY"},
		{name: "short", env: []string{"WANDB_API_KEY=hunter2"}, err: "WANDB_API_KEY has 7 characters"},
		{name: "odd", env: []string{"WANDB_API_KEY=hunter2%" + key}, err: "characters that W&B"},
		{name: "a space", env: []string{"WANDB_API_KEY=" + key + "\n"}, err: "space"},
		{name: "an odd key in netrc", files: map[string]string{"home/.netrc": netrcFor("api.wandb.ai", "hunter2")}, err: "/home/.netrc has 7"},
		{name: "both kinds", env: []string{"WANDB_API_KEY=" + key, "WANDB_IDENTITY_TOKEN_FILE=/x"}, err: "both"},
	} {
		s := load(t, place(t, c.files), c.env...)
		got, err := s.Credentials()
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), key) {
				t.Errorf("%s: %v, want an error with %q", c.name, err, c.err)
			}
			// A faulty key is not the same as no key.
			if none := !strings.Contains(err.Error(), "the key in") && c.err != "both"; errors.Is(err, ErrNoKey) != none {
				t.Errorf("%s: %v is ErrNoKey: %t", c.name, err, !none)
			}
			continue
		}
		if err != nil || got.APIKey.Reveal() != c.want || !strings.Contains(got.Source, c.source) || got.IdentityTokenFile != "" {
			t.Errorf("%s: %+v, %v; want %q from %s", c.name, got, err, c.want, c.source)
		}
	}
}

func TestIdentityTokens(t *testing.T) {
	in := place(t, nil)
	for _, c := range []struct {
		env         []string
		file, cache string
	}{
		{[]string{"WANDB_IDENTITY_TOKEN_FILE=/run/token"}, "/run/token", in.Home + "/.config/wandb/credentials.json"},
		{[]string{"WANDB_IDENTITY_TOKEN_FILE=~/token", "WANDB_CREDENTIALS_FILE=cache.json"}, in.Home + "/token", in.WorkDir + "/cache.json"},
	} {
		got, err := load(t, in, c.env...).Credentials()
		if err != nil || got.IdentityTokenFile != c.file || got.CredentialsFile != c.cache || got.APIKey != "" {
			t.Errorf("%q: %+v, %v", c.env, got, err)
		}
	}
}

func TestFaultyNetrcIsReportedOnce(t *testing.T) {
	for text, want := range map[string]string{"machine api.wandb.ai login user": "without a password", "hunter2": "line 1"} {
		s := load(t, place(t, map[string]string{"home/.netrc": text}))
		for range 2 { // reported once
			if _, err := s.Credentials(); !errors.Is(err, ErrNoKey) {
				t.Errorf("%q: %v", text, err)
			}
		}
		if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], want) || strings.Contains(s.Warnings[0], "hunter2") {
			t.Errorf("%q: warnings %q", text, s.Warnings)
		}
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	in := place(t, nil)
	s := load(t, in, "WANDB_API_KEY="+key, `WANDB__EXTRA_HTTP_HEADERS={"X":"`+key+`"}`, "WANDB_HTTPS_PROXY=http://u:"+key+"@p:1")
	c, err := s.Credentials()
	if err != nil {
		t.Fatal(err)
	}
	var shown []string
	for _, v := range []any{c, *c, s, *s, c.APIKey, &c.APIKey, []Secret{c.APIKey}, map[string]Secret{"a": c.APIKey}, s.Headers} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			shown = append(shown, fmt.Sprintf(verb, v))
		}
		if b, err := json.Marshal(v); err == nil {
			shown = append(shown, string(b))
		}
	}
	shown = append(shown, fmt.Errorf("about %w %v", errors.New("x"), c.APIKey).Error())
	for _, text := range shown {
		if strings.Contains(text, key) || strings.Contains(text, fmt.Sprintf("%x", key)) || strings.Contains(text, fmt.Sprintf("%X", key)) {
			t.Errorf("the key is in %s", text)
		}
	}
	if got := fmt.Sprintf("%v %v", c.APIKey, Secret("")); got != "[secret] " {
		t.Errorf("secrets are shown as %q", got)
	}
	if c.APIKey.Reveal() != key {
		t.Error("the key itself is lost")
	}
}
