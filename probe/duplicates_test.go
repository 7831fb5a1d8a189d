package probe

import (
	"context"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/scrape"
)

// One server that is given under several spellings counts once.
func TestOneServerSeveralSpellings(t *testing.T) {
	pre, post := testkit.Recorded(t, "serve_default_pre"), testkit.Recorded(t, "serve_default_post")
	without := func(page string) string { // as in multiprocess mode
		return testkit.ReplaceLines(t, testkit.ReplaceLines(t, page, metrics.ProcessStartName, ""), createdName, "")
	}
	sameProcess := func(a, b scrape.Target) bool { return true }
	for name, c := range map[string]struct {
		host, suffix string
		pre, post    string
		listener     func(a, b scrape.Target) bool
		endpoints    int
	}{
		"a slash":                           {"127.0.0.1", "/metrics/", pre, post, nil, 1},
		"localhost":                         {"localhost", "", pre, post, nil, 1},
		"LOCALHOST":                         {"LOCALHOST", "/metrics", pre, post, nil, 1},
		"IPv4 in IPv6":                      {"[::ffff:127.0.0.1]", "", pre, post, nil, 1},
		"a query":                           {"127.0.0.1", "/metrics?x=1", pre, post, nil, 1},
		"another address":                   {"127.0.0.2", "", pre, post, nil, 1},
		"a query, multiprocess":             {"127.0.0.1", "/metrics?x=1", without(pre), without(post), sameProcess, 1},
		"another address, multiprocess":     {"127.0.0.2", "", without(pre), without(post), sameProcess, 1},
		"no evidence that it is one server": {"127.0.0.2", "", without(pre), without(post), nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplay(t, c.pre)
			server := httptest.NewUnstartedServer(r)
			server.Listener.Close()
			var err error
			if server.Listener, err = net.Listen("tcp4", "0.0.0.0:0"); err != nil {
				t.Fatal(err)
			}
			server.Start()
			defer server.Close()
			_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
			at := func(host, suffix string) string { return "http://" + host + ":" + port + suffix }
			cfg := quick
			cfg.SameListener = c.listener
			p := New(cfg)
			p.Add(target(t, at("127.0.0.1", "")))
			p.Add(target(t, at(c.host, c.suffix)))
			p.ScrapeBaseline(context.Background())
			p.Start(time.Now())
			r.await("filtered", 3)
			r.set(c.post)
			report := p.finishWithin(t)
			if n := len(report.Engine.Endpoints); n != c.endpoints {
				t.Errorf("%d endpoints: %s", n, testkit.JSON(report.Engine.Endpoints))
			}
			if got, want := *report.Engine.Tokens.Generation, int64(5737*c.endpoints); got != want {
				t.Errorf("%d generated, want %d", got, want)
			}
			if codes := testkit.Codes(report.Notes); strings.Contains(codes, "endpoint_not_read") {
				t.Errorf("doubts %s", codes)
			}
		})
	}
}

// Two servers that started at the same time and have the same counters are taken for one
// only until they count.
func TestTwoServersLookAlike(t *testing.T) {
	pre, post := testkit.Recorded(t, "serve_default_pre"), testkit.Recorded(t, "serve_default_post")
	other := testkit.ReplaceLines(t, pre, createdName, "vllm:prompt_tokens_created{engine=\"0\",model_name=\"tiny\"} 1.7e+09\n")
	for name, c := range map[string]struct {
		pages [2]runPages
		want  int64
	}{
		"only one works":   {[2]runPages{{pre, pre, post}, {pre, pre, pre}}, 5737},
		"the other works":  {[2]runPages{{pre, pre, pre}, {pre, pre, post}}, 5737},
		"they take turns":  {[2]runPages{{pre, pre, post}, {pre, post, post}}, 2 * 5737},
		"created later":    {[2]runPages{{pre, pre, pre}, {other, other, other}}, 0},
		"really the same":  {[2]runPages{{pre, pre, post}, {pre, pre, post}}, 5737},
		"the same at work": {[2]runPages{{pre, post, post}, {pre, post, post}}, 5737},
	} {
		t.Run(name, func(t *testing.T) {
			pl := newPlayer(t, target(t, "http://127.0.0.1:8000"), target(t, "http://10.0.0.2:8000"))
			pl.run(c.pages[0], c.pages[1])
			g := pl.report(10).Engine
			if got := *g.Tokens.Generation; got != c.want {
				t.Errorf("%d generated, want %d", got, c.want)
			}
			want := 2
			if strings.Contains(name, "the same") {
				want = 1
			}
			if len(g.Endpoints) != want {
				t.Errorf("%d endpoints, want %d: %s", len(g.Endpoints), want, testkit.JSON(g.Endpoints))
			}
		})
	}
}

// A restart of the one server, which one address shows before the other, does not make two.
func TestDuplicateRestarts(t *testing.T) {
	pre, post := testkit.Recorded(t, "serve_default_pre"), testkit.Recorded(t, "serve_default_post")
	second := strings.Replace(pre, processStartLine, restartedStart, 1)
	pl := newPlayer(t, target(t, "http://127.0.0.1:8000"), target(t, "http://10.0.0.2:8000"))
	for i, step := range []struct {
		page string
		n    int
	}{{pre, 0}, {pre, 1}, {post, 0}, {post, 1}, {second, 0}, {second, 0}, {second, 1}, {second, 0}, {second, 1}} {
		ph := phaseDuring
		if i < 2 {
			ph = phaseBefore
		}
		pl.at(float64(i), step.n, ph, true, step.page)
	}
	g := pl.report(10).Engine
	if len(g.Endpoints) != 1 || g.Window.Resets != 1 {
		t.Errorf("%s %s", testkit.JSON(g.Endpoints), testkit.JSON(g.Window))
	}
}

// Queries that differ only in their values are different addresses.
func TestSameTarget(t *testing.T) {
	same := func(a, b string) bool { return target(t, a).Same(target(t, b)) }
	for _, pair := range [][2]string{
		{"http://localhost:80", "http://127.0.0.1/metrics/"}, {"http://H:1", "http://h:1"}, {"https://h", "https://h:443/metrics"},
		{"unix:///x/../y.sock", "unix:///y.sock"}, {"http://[::ffff:10.0.0.1]:8000", "10.0.0.1:8000"},
	} {
		if !same(pair[0], pair[1]) {
			t.Errorf("%s and %s", pair[0], pair[1])
		}
	}
	for _, pair := range [][2]string{
		{"http://h:1/metrics?engine=1", "http://h:1/metrics?engine=2"}, {"http://h:1/a", "http://h:1/b"}, {"http://h:1", "https://h:1"},
		{"http://127.0.0.1:1", "http://[::1]:1"}, {"unix:///x.sock", "unix:///y.sock"},
	} {
		if same(pair[0], pair[1]) {
			t.Errorf("%s and %s", pair[0], pair[1])
		}
	}
}
