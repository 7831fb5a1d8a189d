package redact

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIsSecretName(t *testing.T) {
	for name, want := range map[string]bool{
		"--api-key": true, "--api_key": true, "OPENAI_API_KEY": true, "HF_TOKEN": true, "apiKey": true, "X-Api-Key": true,
		"--wandb.token": true, "AWS_SECRET_ACCESS_KEY": true, "password": true, "--db-credentials": true, "DB_PASSWD": true,
		"APIKEYs": true, "HFToken": true, "openAIKey": true, "apiKey1": true, "API_KEY_2": true, "token_prod": true,
		// Plurals.
		"--api-keys": true, "api_keys": true, "--tokens": true, "--keys": true, "secrets": true, "passwords": true, "hf_tokens": true,
		// Joined.
		"--hftoken": true, "--authtoken": true, "--openaikey": true, "PGPASSWORD": true, "MYSQL_PWD": true, "SSHPASS": true, "GITHUB_PAT": true,
		"apikeys": true, "clientsecret": true, "dbpwd": true, "githubpat": true, "openaiapikey": true, "accesskey": true,
		// Other words.
		"--passphrase": true, "--creds": true, "--bearer": true, "--auth": true, "http_auth": true, "SMTP_PASS": true, "--jwt": true, "Authorization": true,
		"Set-Cookie": true, "cookies": true,
		// vLLM's options.
		"--return-tokens-as-token-ids": false, "--long-prefill-token-threshold": false, "--enable-prompt-tokens-details": false, "allow_credentials": false,
		"dbo_decode_token_threshold": false, "--hf-token": true, "api_key": true, "--no-allow-credentials": false,
		// What models and data sets have.
		"--num-key-value-heads": false, "num_key_value_heads": false, "--key-column": false, "eos_token_id": false, "pad_token": false, "sort_keys": false,
		"max_tokens": false, "prompt_tokens": false, "token_type_ids": false, "time_per_output_token": false, "past_key_values": false, "cache_key": false,
		// Look-alikes.
		"bypass": false, "compass": false, "author": false, "path": false, "pattern": false, "PWD": false, "OLDPWD": false, "SSH_AUTH_SOCK": false,
		"turkey": false, "cookie_jar_size": false, "credit": false, "auth_type": false, "ignore_pat": false, "two_pass": false, "secretary": false,
		"APIKEY": true, "accessToken": true, "key": true,
		"--max-num-batched-tokens": false, "--tokenizer": false, "--max-tokens": false, "TOKENIZERS_PARALLELISM": false,
		"--tokenizer-mode": false, "--skip-tokenizer-init": false, "KEYBOARD": false, "monkey": false, "": false, "-": false,
	} {
		if got := IsSecretName(name); got != want {
			t.Errorf("IsSecretName(%q) = %v", name, got)
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

// FuzzRedact checks that no input causes a panic and that the value of a secret variable
// never survives.
func FuzzRedact(f *testing.F) {
	for _, s := range []string{
		"HF_TOKEN=\"a b\" x", "--api-key", "'", `{"key":"`, `\"key\":\"`, "a://b@c://d@e?key=1", "Authorization:", "é\xff", "x='y\"z'", "key = 'a", `"key":[`, "--token=`a`", `{"a":"{\"key\":[1,\"x\"]}"}`, "set -x KEY", "sk-aaaaaaaaaaaaaaaaaaaa", "eyJhbGciOiJub25lIn0.e30.", "u:p@h", "a\n- b", "api_keys = [", "f(key=x)",
		"key=$(a `b` \"$(c)\")", "${key:-a}", "key = f('a') or 'b' + c", "f('key', 'a')", "Server={a;b};Pwd='c';", "read key <<< a", `key=\"a\\"`,
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
		// The value of a secret's flag goes too, whatever it is, unless it is a flag.
		if got := r.Command([]string{"x", "--api-key", a, b}); len(got) < 3 || got[2] != redacted && !isFlag(a) {
			t.Errorf("the value of --api-key: %q", got)
		}
		// A flag does not swallow the next.
		if got := r.Command([]string{"x", "--api-key", "--port", "80"}); got[2] != "--port" || got[3] != "80" {
			t.Errorf("after --api-key: %q", got)
		}
		// JSON stays JSON, and loses what is under a secret's name.
		const hidden = "hidden-value"
		document, err := json.Marshal(map[string]any{"token": [][]string{{a}, {hidden}}, "api_keys": map[string]string{b: hidden}, a: []string{"--password", hidden, b}, "k": "n"})
		if err != nil {
			t.Fatal(err)
		}
		for _, arg := range []string{string(document), "--x=" + string(document)} {
			clean := strings.TrimPrefix(New(nil).Command([]string{arg})[0], "--x=")
			if strings.Contains(clean, "… (cut: ") {
				continue
			}
			if !json.Valid([]byte(clean)) || strings.Contains(clean, hidden) && a != hidden && b != hidden {
				t.Errorf("%s\nbecomes %s", arg, clean)
			}
		}
		if got := r.Command([]string{"x", "--api-key=" + a}); a != "" && len(a) < 1000 && got[1] != "--api-key="+redacted {
			t.Errorf("--api-key=%q: %q", a, got)
		}
	})
}
