package redact

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

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
		{"flag that was a switch", []string{"x", "--use-auth-token", "--api-key", "S", "N"}, []string{"x", "--use-auth-token", "--api-key", r, "N"}},
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
		{"names", []string{"x", "--api-keys", "S", "--tokens", "S", "--hftoken", "S", "--authtoken=S", "--openaikey", "S", "--passphrase", "S", "--creds", "S", "--bearer", "S", "--auth", "S"},
			[]string{"x", "--api-keys", r, "--tokens", r, "--hftoken", r, "--authtoken=" + r, "--openaikey", r, "--passphrase", r, "--creds", r, "--bearer", r, "--auth", r}},
		{"variables", []string{"env", "PGPASSWORD=S", "MYSQL_PWD=S", "SSHPASS=S", "GITHUB_PAT=S", "PWD=/N"},
			[]string{"env", "PGPASSWORD=" + r, "MYSQL_PWD=" + r, "SSHPASS=" + r, "GITHUB_PAT=" + r, "PWD=/N"}},
		{"vLLM's options", []string{"vllm", "serve", "m", "--return-tokens-as-token-ids", "--max-num-seqs", "8", "--long-prefill-token-threshold", "4", "--allow-credentials", "--ssl-keyfile", "N"}, nil},
		{"vLLM's secrets", []string{"vllm", "serve", "m", "--hf-token", "S", "--api_key", "S", "S", "--api-server-count", "2"},
			[]string{"vllm", "serve", "m", "--hf-token", r, "--api_key", r, r, "--api-server-count", "2"}},
		{"vLLM's secrets, abbreviated", []string{"vllm", "serve", "m", "--api-k", "S", "--hf-t=S", "--hf-o", "N", "--api-s", "2"},
			[]string{"vllm", "serve", "m", "--api-k", r, "--hf-t=" + r, "--hf-o", "N", "--api-s", "2"}},
		{"names of models and data", []string{"x", "--num-key-value-heads", "8", "--key-column", "prompt", "--tokens", "128", "--token-budget=8k", `{"eos_token_id":2,"pad_token_id":[1],"tokens":[1, 2]}`}, nil},
		{"a flag is not a value", []string{"x", "--token", "--port", "N", "--password", "-v", "N", "--secret", "-p=N", "--creds", "--x=N", "--auth", "-HAccept: N"}, nil},
		{"a value may begin with a dash", []string{"x", "--token", "-S9xaQ_1", "--token", "-1", "--token", "--"}, []string{"x", "--token", r, "--token", r, "--token", r}},
		{"switches", []string{"x", "--no-password", "N", "--disable-auth", "N", "--password-stdin", "N"}, nil},
		{"a variable's name", []string{"docker", "run", "-eHF_TOKEN", "N", "-e", "HF_TOKEN", "N"}, nil},
		{"nested JSON", []string{`{"token":[["x"],"S"]}`, `{"token" : {"a":{"b":"S"},"c":["S"]}, "k":["N"]}`, `{"api_keys":["S","S"],"n":[{"secret":["S"]}]}`},
			[]string{`{"token":"` + r + `"}`, `{"token" : "` + r + `", "k":["N"]}`, `{"api_keys":"` + r + `","n":[{"secret":"` + r + `"}]}`}},
		{"headers in JSON", []string{`{"Authorization":"Bearer S"}`, `{"Cookie":{"a":"S"}}`, `{"h":["Authorization: Bearer S","N"]}`, `[["Authorization","S"],["k","N"]]`},
			[]string{`{"Authorization":"` + r + `"}`, `{"Cookie":"` + r + `"}`, `{"h":["Authorization: ` + r + `","N"]}`, `[["Authorization","` + r + `"],["k","N"]]`}},
		{"JSON after =", []string{`--x={"token":["S"]}`, `a.b={"k":{"key":"S"}}`}, []string{`--x={"token":"` + r + `"}`, `a.b={"k":{"key":"` + r + `"}}`}},
		{"JSON in JSON", []string{`{"a":"{\"token\":\"S\",\"k\":1}"}`}, []string{`{"a":"{\"token\":\"` + r + `\",\"k\":1}"}`}},
		{"JSON with escapes", []string{`{"\u0074oken":"S","token":"\u0053","k":"\u004e"}`}, []string{`{"\u0074oken":"` + r + `","token":"` + r + `","k":"\u004e"}`}},
		{"arguments in JSON", []string{`["vllm","--api-key","S","--port","N"]`, `{"args":["--token","--k","N","HF_TOKEN=S"]}`},
			[]string{`["vllm","--api-key","` + r + `","--port","N"]`, `{"args":["--token","--k","N","HF_TOKEN=` + r + `"]}`}},
		{"variables in JSON", []string{`{"env":[{"name":"HF_TOKEN","value":"S"},{"name":"A","value":"N"}]}`}, []string{`{"env":[{"name":"HF_TOKEN","value":"` + r + `"},{"name":"A","value":"N"}]}`}},
		{"empty JSON", []string{"{}", "[]", `{"token":""}`, `{"token":null}`, "[1,-2.5e3,true]"}, nil},
		{"user info without a scheme", []string{"user:S@host", "u:S@h:5432/db", "--url=u:S@h", "a@b.c:S@h", "u:S@a,u:S@b", `{"url":"u:S@h"}`},
			[]string{r + "@host", r + "@h:5432/db", "--url=" + r + "@h", r + "@h", r + "@b", `{"url":"` + r + `@h"}`}},
		{"a password with a slash", []string{"http://u:S/S@h/N", "http://h:80/N@N"}, []string{"http://" + r + "@h/N", "http://h:80/N@N"}},
		{"no user info", []string{"vllm/vllm-openai:v0.10@sha256:0123456789abcdef", "git@github.com:org/repo", "mailto:a@b.c", "h:80/@x", "u@a:22", "https://h/@a:b"}, nil},
		{"name and value", []string{"aws", "configure", "set", "aws_secret_access_key", "S", "N"}, []string{"aws", "configure", "set", "aws_secret_access_key", r, "N"}},
		{"header and value", []string{"client", "--header", "Authorization", "Bearer S", "N"}, []string{"client", "--header", "Authorization", r, "N"}},
		{"curl", []string{"curl", "-u", "u:S", "-uu:S", "--user=u:S", "-b", "a=S", "N"}, []string{"curl", "-u", r, "-u" + r, "--user=" + r, "-b", r, "N"}},
		{"headers without quotes", []string{"curl", "-H", "Authorization:", "Bearer", "S", "N"}, []string{"curl", "-H", "Authorization:", "Bearer", r, "N"}},
		{"hosts", []string{"secrets.example.com:443", "x", "auth.example.com:80"}, nil},
		{"a value that is not a flag", []string{"x", "--token", "-Zq7Wn3Xk9Lm2==", "N", "--token", "--zq7wn3xk9lm2==", "N", "--token", "--zq7wn3xk9lm2", "N", "--token", "-Zq7Wn3Xk9:Lm2", "N"},
			[]string{"x", "--token", r, "N", "--token", r, "N", "--token", r, "N", "--token", r, "N"}},
		{"flags after a switch", []string{"x", "--token", "-DA_B=N", "--token", "--e2e", "--token", "--fp8-x2=", "--token", "-XX:+N", "--token", "--sha256sum=N"}, nil},
		{"an empty value is the value", []string{"x", "--api-key", "", "N"}, []string{"x", "--api-key", r, "N"}},
		{"a value after --", []string{"x", "--api-key", "--", "S", "N", "--token", "--", "--port", "N"}, []string{"x", "--api-key", r, r, "N", "--token", r, "--port", "N"}},
		{"a value after -- in JSON", []string{`["--api-key","--","S","N"]`}, []string{`["--api-key","` + r + `","` + r + `","N"]`}},
		{"signed URLs", []string{"https://h/p?sig=S&X-Amz-Signature=S&X-Amz-Credential=S&X-Amz-Security-Token=S&X-Amz-Date=N&X-Amz-SignedHeaders=N&X-Goog-Signature=S&Signature=S#N", "h/p?a=N&sig=S"},
			[]string{"https://h/p?sig=" + r + "&X-Amz-Signature=" + r + "&X-Amz-Credential=" + r + "&X-Amz-Security-Token=" + r + "&X-Amz-Date=N&X-Amz-SignedHeaders=N&X-Goog-Signature=" + r + "&Signature=" + r + "#N", "h/p?a=N&sig=" + r}},
		{"no signed URL", []string{"https://h/p?design=N&signed=N", "sig=N", "signature=N"}, nil},
		{"connection strings", []string{"x", "Server=N;Pwd=S;", "--c=Server=N;Database=N;Uid=N;Password=S & S;Encrypt=N", "CONN=Driver={N;N};Pwd={S;S}", `{"c":"Data Source=N;User Id=N;Pwd=S"}`},
			[]string{"x", "Server=N;Pwd=" + r + ";", "--c=Server=N;Database=N;Uid=N;Password=" + r + ";Encrypt=N", "CONN=Driver={N;N};Pwd=" + r, `{"c":"Data Source=N;User Id=N;Pwd=` + r + `"}`}},
		{"connection strings of Azure and JDBC", []string{"DefaultEndpointsProtocol=https;AccountName=N;AccountKey=S==;EndpointSuffix=N", "Endpoint=sb://N/;SharedAccessKeyName=N;SharedAccessKey=S=", "BlobEndpoint=https://N/;SharedAccessSignature=sv=S&sig=S", "jdbc:sqlserver://h:1;user=N;password=S & S;a=N"},
			[]string{"DefaultEndpointsProtocol=https;AccountName=N;AccountKey=" + r + ";EndpointSuffix=N", "Endpoint=sb://N/;SharedAccessKeyName=N;SharedAccessKey=" + r, "BlobEndpoint=https://N/;SharedAccessSignature=" + r, "jdbc:sqlserver://h:1;user=N;password=" + r + ";a=N"}},
		{"no connection string", []string{"cd /N;PWD=/N;PORT=8 N", "a=N;b=N", "Server=N", "host=N; N"}, nil},
		{"an expansion of a shell", []string{"${HF_TOKEN:-S}", "${A:-N}", "${HF_TOKEN}", "${MAX_TOKENS:-N}"}, []string{"${HF_TOKEN:-" + r + "}", "${A:-N}", "${HF_TOKEN}", "${MAX_TOKENS:-N}"}},
		{"lm_eval", []string{"--model_args", "pretrained=N,token=S"}, []string{"--model_args", "pretrained=N,token=" + r}},
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
		`set -x HF_TOKEN SECRET; KEEP`,
		`KEEP && set -gx HF_TOKEN SECRET SECRET; and set -x KEEP KEEP`,
		`setenv HF_TOKEN "SECRET"; KEEP`,
		`set -x; HF_TOKEN=SECRET python KEEP`,
		`aws configure set aws_secret_access_key SECRET; KEEP`,
		`export API_KEYS="SECRET SECRET" KEEP; TOKENS=(SECRET SECRET) ; KEEP`,
		`PGPASSWORD=SECRET psql KEEP; SSHPASS='SECRET' sshpass -e ssh KEEP`,
		`psql user:SECRET@KEEP/KEEP; curl -x "u:SECRET@KEEP" KEEP`,
		`curl -u u:SECRET KEEP; KEEP -u KEEP`,
		`bash -c "curl -H 'Cookie: a=SECRET; b=SECRET' KEEP"`,
		`vllm serve --return-tokens-as-token-ids --max-num-seqs KEEP --api-key SECRET`,
		`login --token --port KEEP`,
		`login --token; KEEP`,
		`for key in keys: KEEP(key); tokens = tokenizer.KEEP(text); keys = sorted(KEEP); n_tokens = KEEP; len(tokens) == KEEP`,
		`if key == "SECRET" or token != 'SECRET' or token == KEEP: KEEP`,
		`d["tokens"] = "SECRET"; x.tokens=SECRET KEEP; docker run -eKEY=SECRET KEEP`,
		"a: KEEP\ndb.password: SECRET\nb: KEEP\npassword: |\n  SECRET\n",
		`print(sorted(x, key=KEEP), max(d,key=KEEP), f(KEEP, key="SECRET"), f(key='SECRET'))`,
		`api_keys = ["SECRET", 'SECRET']; KEEP; keys=("SECRET","SECRET"); KEEP; tokens=[1, 2]; KEEP`,
		`h = {"Authorization": f"Bearer SECRET", 'Cookie': 'SECRET' "SECRET", "k": "KEEP"}`,
		`h = [("Authorization", "Bearer SECRET"), ("Accept","KEEP")]`,
		`d = {'token': [['x'], "SECRET"], 'k': 'KEEP', 'key': """SE"SECRET"""}; KEEP`,
		`run(["vllm","serve","--api-key","SECRET","--port","KEEP"]); run(['x', '--token', 'SECRET', 'KEEP'])`,
		"model: KEEP\napi_keys:\n  - SECRET\n  - 'SECRET SECRET'\nname: KEEP\n",
		`curl -d '{"token":[["x"],"SECRET"],"k":"KEEP"}' KEEP`,
		`curl -d "{\"api_keys\":[\"SECRET\",{\"a\":\"SECRET\"}],\"k\":\"KEEP\"}" KEEP`,
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

func TestCommandModes(t *testing.T) {
	argv := []string{"/usr/bin/vllm", "serve", "N", "--api-key", "S", "-tp", "2", "-O3", "--x=N", "-pS", "-eA=N", "--a.b_c", "--hello world", "--", "-1", "-", "--S9xaQ"}
	r := New(nil)
	r.Show(CommandNames)
	if diff := cmp.Diff([]string{"/usr/bin/vllm", "--api-key", "-tp", "-O", "--x", "-p", "-e", "--a.b_c"}, r.Command(argv)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := r.Line(nil, "name"); got != "name" {
		t.Errorf("Line: %q", got)
	}
	r.Show(CommandNone)
	// printf 'vllm\0serve\0' | sha256sum
	if got := r.Line([]string{"vllm", "serve"}, ""); got != "sha256:b1c7fa6dd9d61b91f6b78a5b9344a5a9ad2f60c82b2899365c0cd12728a67612" {
		t.Errorf("Line: %q", got)
	}
	if a, b := r.Command([]string{"x", "--api-key", "S"}), r.Command([]string{"x", "--api-key", "T"}); a[0] != b[0] || len(a) != 1 {
		t.Errorf("the digest depends on a secret: %q, %q", a, b)
	}
	// Nothing is left out of a long command.
	long := []string{"x", strings.Repeat("a", maxCommandBytes), "b"}
	a := r.Command(long)
	long[2] = "c"
	if b := r.Command(long); a[0] == b[0] {
		t.Error("two commands have one digest")
	}
	if _, err := ParseCommandMode("some"); err == nil {
		t.Error("an unknown mode is accepted")
	}
}

// The messages of other packages quote arguments.
func TestQuoting(t *testing.T) {
	r := New(nil)
	argv := []string{"vllm", "--hftoken", "S", "--x=u:S@h", "N"}
	text := `"S" follows --hftoken; "u:S@h" and "N" too`
	if got := r.Quoting(text, argv); got != `"<redacted>" follows --hftoken; "<redacted>@h" and "N" too` {
		t.Error(got)
	}
	r.Show(CommandNames)
	if got := r.Quoting(text, argv); got != `"<redacted>" follows --hftoken; "<redacted>" and "<redacted>" too` {
		t.Error(got)
	}
}
