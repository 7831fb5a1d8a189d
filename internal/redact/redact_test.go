package redact

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIsSecretName(t *testing.T) {
	for name, want := range map[string]bool{
		"--api-key": true, "--api_key": true, "OPENAI_API_KEY": true, "HF_TOKEN": true, "apiKey": true, "X-Api-Key": true,
		"--wandb.token": true, "AWS_SECRET_ACCESS_KEY": true, "password": true, "--db-credentials": true, "DB_PASSWD": true,
		"APIKEY": true, "accessToken": true, "key": true,
		"--max-num-batched-tokens": false, "--tokenizer": false, "--max-tokens": false, "TOKENIZERS_PARALLELISM": false,
		"--tokenizer-mode": false, "--skip-tokenizer-init": false, "KEYBOARD": false, "monkey": false, "--keys": false, "": false, "-": false,
	} {
		if got := IsSecretName(name); got != want {
			t.Errorf("IsSecretName(%q) = %v", name, got)
		}
	}
}

// TestCommand has S for every secret in the arguments, and N for what must stay.
func TestCommand(t *testing.T) {
	const r = redacted
	for _, c := range []struct {
		name       string
		args, want []string // nil: as args
	}{
		{"nothing secret", []string{"vllm", "serve", "m", "--max-num-batched-tokens", "N", "--tokenizer=N", "--max-tokens", "N", "-e", "A=N", ""}, nil},
		{"prompts stay", []string{"client", "--prompt", "Tell me: who won, and why? It's 5 o'clock (or so); don't \"guess\".\n"}, nil},
		{"JSON stays", []string{"x", `{"max_tokens": 128, "tokenizer": {"a": [1, 2]}, "text": "it's \"N\"; x=y & z"}`}, nil},
		{"flag", []string{"x", "--api-key", "S", "--port", "N"}, []string{"x", "--api-key", r, "--port", "N"}},
		{"flag with =", []string{"x", "--api-key=S", "N"}, []string{"x", "--api-key=" + r, "N"}},
		{"flag with one dash", []string{"x", "-token", "S", "N", "-token=S"}, []string{"x", "-token", r, "N", "-token=" + r}},
		{"flag at the end", []string{"x", "--token"}, nil},
		{"flag that was a switch", []string{"x", "--use-auth-token", "--api-key", "S", "N"}, []string{"x", "--use-auth-token", r, r, "N"}},
		{"vllm serve's several keys", []string{"vllm", "serve", "--api-key", "S", "S", "S", "--port", "N", "N"}, []string{"vllm", "serve", "--api-key", r, r, r, "--port", "N", "N"}},
		{"assignments", []string{"env", "HF_TOKEN=S", "A=N", "KEY="}, []string{"env", "HF_TOKEN=" + r, "A=N", "KEY="}},
		{"assignment with blanks", []string{"env", "HF_TOKEN=S S 'S", "--api-key=S \"S"}, []string{"env", "HF_TOKEN=" + r, "--api-key=" + r}},
		{"assignment in a flag", []string{"docker", "--env=HF_TOKEN=S", "-eHF_TOKEN=S", "--env=A=N"}, []string{"docker", "--env=HF_TOKEN=" + r, "-eHF_TOKEN=" + r, "--env=A=N"}},
		{"headers", []string{"curl", "-H", "Authorization: Bearer S", "-H", "X-Api-Key: S", "-H", "cookie: a=S; b=S", "-H", "Accept: N"},
			[]string{"curl", "-H", "Authorization: " + r, "-H", "X-Api-Key: " + r, "-H", "cookie: " + r, "-H", "Accept: N"}},
		{"headers, tight", []string{"curl", "-HAuthorization: Bearer S", "--header=Authorization: Bearer S", "X-Api-Key:S", "Proxy-Authorization:S"},
			[]string{"curl", "-HAuthorization: " + r, "--header=Authorization: " + r, "X-Api-Key: " + r, "Proxy-Authorization: " + r}},
		{"user info", []string{"x", "http://u:S@h:1/v1", "--url=https://S@h/", "http://u:S@a,http://u:S@b/N", "postgres://h/N"},
			[]string{"x", "http://" + r + "@h:1/v1", "--url=https://" + r + "@h/", "http://" + r + "@a,http://" + r + "@b/N", "postgres://h/N"}},
		{"queries", []string{"http://h/p?a=N&access_token=S&b=N#key=S", "http://h/p?token=S"}, []string{"http://h/p?a=N&access_token=" + r + "&b=N#key=" + r, "http://h/p?token=" + r}},
		{"not a URL", []string{"a@b:c", "tests/test_token.py::test_key", "/run/key:/run/key", "10.0.0.1:8000"}, nil},
		{"JSON", []string{"x", `{"api_key":"S","n":{"HF_TOKEN" : "S\"S"},"k":"N","token":123,"key":null,"secret":["S","S"]}`},
			[]string{"x", `{"api_key":"` + r + `","n":{"HF_TOKEN" : "` + r + `"},"k":"N","token":"` + r + `","key":null,"secret":"` + r + `"}`}},
		{"Python's JSON", []string{`{'api_key': 'S', 'k': "don't"}`}, []string{`{'api_key': '` + r + `', 'k': "don't"}`}},
		{"JSON in a program", []string{"sh", "-c", `curl -d "{\"api_key\": \"S\", \"k\": \"N\"}"`}, []string{"sh", "-c", `curl -d "{\"api_key\": \"` + r + `\", \"k\": \"N\"}"`}},
		{"URL in JSON", []string{`{"url":"http://u:S@h/?a=b"}`}, []string{`{"url":"http://` + r + `@h/?a=b"}`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := c.want
			if want == nil {
				want = c.args
			}
			if diff := cmp.Diff(want, New(nil).Command(c.args)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestCommandProgram redacts programs for sh -c and python -c: SECRET must go and KEEP stay.
// It does not check the rest.
func TestCommandProgram(t *testing.T) {
	for _, program := range []string{
		`HF_TOKEN=SECRET python KEEP`,
		`HF_TOKEN="SECRET SECRET" python KEEP`,
		`HF_TOKEN='SECRET' python KEEP`,
		`export A=KEEP; export HF_TOKEN=SECRET; python KEEP`,
		`A=KEEP&&B_TOKEN=SECRET&&KEEP`,
		`(cd KEEP; API_KEY=SECRET ./KEEP) | tee KEEP`,
		`python KEEP --api-key SECRET --port KEEP`,
		`python KEEP --api-key "SECRET SECRET" --port KEEP`,
		`python KEEP --api-key='SECRET SECRET' KEEP`,
		`python KEEP '--api-key' "SECRET" KEEP`,
		`python --api-key \` + "\n" + `  SECRET --port KEEP`,
		`curl -H "Authorization: Bearer SECRET" http://KEEP/`,
		`curl -H 'X-Api-Key: SECRET' KEEP; curl -HAuthorization:SECRET KEEP`,
		`curl --header="Authorization: Bearer SECRET" KEEP`,
		`curl -H"Authorization: Bearer SECRET" KEEP`,
		`bash -c "curl -H \"Authorization: Bearer SECRET\" KEEP"`,
		`bash -c "curl -H 'Authorization: Bearer SECRET' KEEP"`,
		`curl http://u:SECRET@KEEP/KEEP "http://h/?a=KEEP&token=SECRET"`,
		`bash -c "python --api-key SECRET KEEP" KEEP`,
		`ssh host 'cd KEEP; HF_TOKEN="SECRET" python KEEP'`,
		`x --args="--api-key SECRET --KEEP" KEEP`,
		"vllm serve KEEP --api-key SECRET &\nwait KEEP",
		`import os; os.environ["HF_TOKEN"]="SECRET"; KEEP`,
		`import os; os.environ["HF_TOKEN"] = "SECRET"; KEEP`,
		`client = OpenAI(api_key="SECRET", base_url="KEEP")`,
		`api_key = "SECRET"; KEEP`,
		`api_key ="SECRET"; KEEP`,
		`api_key= 'SECRET SECRET'; KEEP`,
		`don't --api-key SECRET can't KEEP`,
		`config: {api_key: SECRET, k: KEEP}`,
		`login --use-token --password SECRET KEEP`,
	} {
		got := strings.Join(New(nil).Command([]string{"sh", "-c", program}), " ")
		if strings.Contains(got, "SECRET") {
			t.Errorf("%s\nshows a secret: %s", program, got)
		}
		if want := strings.Count(program, "KEEP"); strings.Count(got, "KEEP") != want {
			t.Errorf("%s\nlost more than secrets: %s", program, got)
		}
	}
}

func TestSecretVariables(t *testing.T) {
	r := New([]string{
		"HF_TOKEN=hf_abcdefgh", "LONGER_TOKEN=hf_abcdefghijkl", "SHORT_KEY=1234567", "TOKENIZER=facebook/opt", "odd", "=", "PASSPHRASE_KEY=two words of it",
		"WORD_SECRET=redacted", // is part of its replacement
	})
	for in, want := range map[string]string{
		"x hf_abcdefgh y":            "x " + redacted + " y",
		"hf_abcdefghijkl":            redacted,
		"1234567 facebook/opt":       "1234567 facebook/opt",
		"xhf_abcdefghhf_abcdefghx":   "x" + redacted + redacted + "x",
		"say two words of it loudly": "say " + redacted + " loudly",
		"redacted":                   "redacted",
	} {
		if got := r.Text(in); got != want {
			t.Errorf("Text(%q) = %q", in, got)
		}
	}
	got := r.Command([]string{"sh", "-c", "echo 'two words of it'; echo hf_abcdefgh", "--x=hf_abcdefghijkl", `"hf_abcdefgh`, "--token-file", "hf_abcdefgh"})
	want := []string{"sh", "-c", "echo '" + redacted + "'; echo " + redacted, "--x=" + redacted, `"` + redacted, "--token-file", redacted}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := r.Line(nil, "VLLM::hf_abcdefgh"); got != "VLLM::"+redacted {
		t.Errorf("Line: %q", got)
	}
	if got := r.Line([]string{"a", "--api-key", "x"}, "a"); got != "a --api-key "+redacted {
		t.Errorf("Line: %q", got)
	}
}

func TestCommandIsCut(t *testing.T) {
	r := New(nil)
	long := []string{"x", strings.Repeat("a", maxCommandBytes-11), strings.Repeat("é", 10), "bcd", "ef"}
	got := r.Command(long)
	if len(got) != 3 || got[2] != "ééééé… (cut: 2 arguments and 15 bytes more)" {
		t.Errorf("%d arguments, the last %q", len(got), got[len(got)-1])
	}
	// In the middle of a character.
	long[1] = strings.Repeat("a", maxCommandBytes-10)
	if got := r.Command(long); len(got) != 3 || got[2] != "éééé… (cut: 2 arguments and 16 bytes more)" {
		t.Errorf("the last %q", got[len(got)-1])
	}
	if got := r.Command(long[:2]); cmp.Diff(long[:2], got) != "" {
		t.Error("a short command is cut")
	}
	many := make([]string, 100000)
	for i := range many {
		many[i] = "--api-key='S"
	}
	if size := len(strings.Join(r.Command(many), "")); size > maxCommandBytes+100 {
		t.Errorf("%d bytes", size)
	}
}

// FuzzRedact checks that no input causes a panic and that the value of a secret variable
// never survives.
func FuzzRedact(f *testing.F) {
	for _, s := range []string{
		"HF_TOKEN=\"a b\" x", "--api-key", "'", `{"key":"`, `\"key\":\"`, "a://b@c://d@e?key=1", "Authorization:", "é\xff", "x='y\"z'", "key = 'a", `"key":[`, "--token=`a`",
	} {
		f.Add(s, s, "s3cret-value")
	}
	f.Fuzz(func(t *testing.T, a, b, secret string) {
		if strings.Contains(redacted, secret) || len(secret) < minSecretValue || strings.ContainsAny(secret, "\x00<>") {
			secret = "s3cret-value"
		}
		r := New([]string{"API_KEY=" + secret})
		for _, args := range [][]string{{a, b}, {a + secret + b}, {a, secret, b}, {"sh", "-c", a + secret, secret + b}, {secret}} {
			for _, arg := range r.Command(args) {
				if strings.Contains(arg, secret) {
					t.Errorf("%q: %q survives in %q", args, secret, arg)
				}
			}
		}
		if strings.Contains(r.Text(a+secret+b), secret) {
			t.Errorf("Text: %q survives", secret)
		}
		// The value of a secret's flag goes too, whatever it is.
		if got := r.Command([]string{"x", "--api-key", a, b}); len(got) < 3 || got[2] != redacted {
			t.Errorf("the value of --api-key: %q", got)
		}
		if got := r.Command([]string{"x", "--api-key=" + a}); a != "" && len(a) < 1000 && got[1] != "--api-key="+redacted {
			t.Errorf("--api-key=%q: %q", a, got)
		}
	})
}
