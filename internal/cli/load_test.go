package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/load/loadtest"
)

// openaiMain is a simulated OpenAI-compatible server on the unix socket args[0], until it is
// killed. Mode args[1] is fast, refuse (it answers 503), or hang (from the fifth request on; the
// sixth writes the file `hanging`). When it listens, it writes the file args[0].ready.
func openaiMain(args []string) int {
	s := loadtest.New(func(a *loadtest.Answer, number int) {
		switch args[1] {
		case "refuse":
			a.WriteHeader(503)
			a.Send(`{"error":{"message":"overloaded"}}`)
		case "hang":
			if number < 4 {
				a.All()
				return
			}
			a.Start()
			if number == 5 {
				_ = os.WriteFile("hanging", nil, 0o600)
			}
			<-a.Request.Context().Done()
		case "wait":
			_ = os.WriteFile("hanging", nil, 0o600)
			for _, err := os.Stat("go-on"); err != nil; _, err = os.Stat("go-on") {
				time.Sleep(5 * time.Millisecond)
			}
			a.All()
		default:
			a.All()
		}
	})
	s.Refuse = map[string]int{"locked": 401, "other": 404}[args[1]]
	_, err := s.Listen(args[0])
	if err == nil {
		err = os.WriteFile(args[0]+".ready", []byte("ready\n"), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	select {}
}

func TestMetricsAddress(t *testing.T) {
	for _, f := range []struct{ address, server, want string }{
		{"http://a:1", "http://a:1/v1", "http://a:1"},
		{"http://a:1/v1/", "http://b", "http://a:1"},
		{"http://a:1/x", "http://a:1/x/v1", "http://a:1/x/metrics"},
		{"http://a:1/x/v1", "http://a:1/x/", "http://a:1/x/metrics"},
		{"http://a:1/x/metrics", "http://a:1/x", "http://a:1/x/metrics"},
		{"http://b:1/stats", "http://a:1/x", "http://b:1/stats"},
		{"unix:///a.sock", "unix:///a.sock", "unix:///a.sock"},
	} {
		if got := metricsAddress(f.address, f.server); got != f.want {
			t.Errorf("%s with %s: %s, want %s", f.address, f.server, got, f.want)
		}
	}
}

// On a terminal there is a progress line until the load ends. Ctrl-C ends it with what was
// measured, with and without a bracket around it.
func TestLoadOnTerminal(t *testing.T) {
	for name, flags := range map[string][]string{"alone": nil, "observed": {"--observe", "URL"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := loadtest.New(func(a *loadtest.Answer, number int) {
				if number < 4 {
					a.All()
					return
				}
				a.Start()
				<-a.Request.Context().Done()
			})
			t.Cleanup(s.Close)
			args := append([]string{"vobs", "load", "-c", "2", "-n", "100", "--output-tokens", "4", "-o", "out.json"}, flags...)
			for i := range args {
				args[i] = strings.Replace(args[i], "URL", s.URL, 1)
			}
			p := prepare(t, append(args, s.URL+"/v1")...)
			p.launchOnTerminal(t)
			p.waitOutput(t, `\r\x1b\[K\d+s, \d+\.\d requests/s, 2 running, 4 completed, 0 failed, [^\r\n]*left`)
			p.typeKeys(t, ctrlC)
			if got := p.finish(t); got != "130" {
				t.Errorf("it ended with %s; it said:\n%s", got, &p.output)
			}
			// The line goes before the table comes.
			p.waitOutput(t, `left(\^C)?\r\x1b\[Krequests +6 started, 4 completed, 0 failed, 2 cancelled\r\n`)
			if flags == nil {
				text, err := os.ReadFile(filepath.Join(p.Dir, "out.json"))
				if err != nil || !strings.Contains(string(text), `"requests":{"started":6,"completed":4,"failed":{},"cancelled":2}`) {
					t.Errorf("%v: %s", err, text)
				}
				return
			}
			e := p.event(t, "out.json")
			wantRun(t, e, "130", true)
			if q := e.Client.Requests; *q.Completed != 4 || *q.Cancelled != 2 || e.Engine.Requests.Finished["length"] != 4 {
				t.Errorf("requests: %+v; the engine finished %v", q, e.Engine.Requests.Finished)
			}
		})
	}
}
