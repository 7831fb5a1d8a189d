package observe

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNewMetricsDir(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("HOME", "")
	t.Setenv("XDG_CACHE_HOME", "")
	const sudo = "sudo runs the command as another user"
	users := []string{"PROMETHEUS_MULTIPROC_DIR=/own"}
	for _, c := range []struct {
		mode    Multiproc
		env     []string
		offline bool
		made    bool
		path    string // unless it is made

		elsewhere, withheld string
	}{
		{MultiprocOff, users, true, false, "", "", ""},
		{MultiprocAuto, users, true, false, "/own", "", ""},
		{MultiprocOn, users, false, false, "/own", "", ""},
		{MultiprocAuto, nil, false, false, "", "", ""},
		{MultiprocAuto, nil, true, true, "", "", ""},
		{MultiprocOn, nil, false, true, "", "", ""},
		{MultiprocOn, []string{"PROMETHEUS_MULTIPROC_DIR="}, false, true, "", "", ""},
		// Nothing is handed through a launcher that starts the command elsewhere.
		{MultiprocOff, nil, true, false, "", sudo, ""},
		{MultiprocAuto, nil, false, false, "", sudo, ""},
		{MultiprocAuto, nil, true, false, "", sudo, sudo},
		{MultiprocOn, nil, false, false, "", sudo, sudo},
		{MultiprocOn, users, false, false, "/own", sudo, ""}, // the user's own is read as ever
	} {
		d, err := newMetricsDir(c.mode, false, c.env, c.offline, c.elsewhere)
		if err != nil || d.made != c.made || !c.made && d.path != c.path || !strings.HasSuffix(d.withheld, c.withheld) || (d.withheld == "") != (c.withheld == "") {
			t.Errorf("%+v: %+v, %v", c, d, err)
		}
		if !d.made {
			continue
		}
		if info, err := os.Stat(d.path); err != nil || !info.IsDir() {
			t.Errorf("%+v: %v, %v", c, info, err)
		}
		d.remove(func(message string) { t.Error(message) })
		if _, err := os.Stat(d.path); !os.IsNotExist(err) {
			t.Errorf("%s was not removed: %v", d.path, err)
		}
	}
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "absent"))
	if d, err := newMetricsDir(MultiprocOn, false, nil, false, ""); err == nil || !strings.Contains(err.Error(), "set TMPDIR") || d.path != "" {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestRemoveMetricsDir(t *testing.T) {
	for _, c := range []struct {
		dir     metricsDir
		removed bool
		warning string
	}{
		{metricsDir{}, false, ""},
		{metricsDir{made: true}, true, ""},
		{metricsDir{made: true, keep: true}, false, "are kept in"},
		{metricsDir{made: true, inUse: true}, false, "still running"},
	} {
		c.dir.path = t.TempDir()
		warned := ""
		c.dir.remove(func(message string) { warned = message })
		if _, err := os.Stat(c.dir.path); os.IsNotExist(err) != c.removed || !strings.Contains(warned, c.warning) || (warned == "") != (c.warning == "") {
			t.Errorf("%+v: %v, warned %q", c.dir, err, warned)
		}
	}
}
