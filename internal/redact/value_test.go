package redact

import (
	"strings"
	"testing"
)

// TestProgramValues redacts programs for sh -c and python -c, and arguments: S3C must go and KEEP
// stay.
func TestProgramValues(t *testing.T) {
	for _, program := range []string{
		// Substitutions.
		`HF_TOKEN=$(echo S3C) run KEEP`,
		`HF_TOKEN=$(echo $(echo S3C S3C) ")" S3C) run KEEP`,
		"HF_TOKEN=`echo S3C` run KEEP; `KEEP HF_TOKEN=S3C` KEEP `KEEP`",
		"HF_TOKEN=`echo \\`echo S3C\\` S3C` run KEEP",
		`export HF_TOKEN=$(printf %s S3C) KEEP; KEEP`,
		`export HF_TOKEN="$(printf "%s" "S3C S3C")" KEEP; KEEP`,
		`export "HF_TOKEN=$(printf "%s" S3C)" KEEP`,
		`export HF_TOKEN=a"b S3C"'S3C S3C'$(echo S3C)S3C${X:-S3C S3C}; KEEP`,
		`HF_TOKEN=${X:-"S3C S3C"} run KEEP`,
		`run KEEP ${HF_TOKEN:-S3C} ${HF_TOKEN:=S3C S3C} ${A:-KEEP} "${HF_TOKEN-S3C}" KEEP`,
		`bash -c "HF_TOKEN=$(echo S3C) x" KEEP`,
		`bash -c "cd KEEP; HF_TOKEN=\"$(echo S3C) S3C\" KEEP" KEEP`,
		`bash -c "cd KEEP; HF_TOKEN=\$(echo S3C) KEEP" KEEP`,
		`bash -c 'cd KEEP; HF_TOKEN=$(echo "S3C") KEEP' KEEP`,
		`HF_TOKEN=$(cat <<< 'S3C') KEEP`,
		`run --token $(echo S3C) --port KEEP; run --token=$(echo S3C) KEEP`,
		"run --token `echo S3C` --port KEEP; run --api-key \"$(echo \"S3C\")\" KEEP",
		`read HF_TOKEN <<< 'S3C'; KEEP`,
		`read -r HF_TOKEN <<<'S3C S3C' ; KEEP <<< KEEP`,
		`read HF_TOKEN <<< $(echo S3C); read HF_TOKEN < <(echo S3C); read A <<< KEEP; KEEP`,
		`mapfile -t API_KEYS <<< "S3C S3C"; KEEP`,
		`printf -v HF_TOKEN %s S3C; printf %s KEEP`,
		`set -x HF_TOKEN (echo S3C); KEEP`,
		`set -x HF_TOKEN $(echo S3C) S3C; KEEP`,
		`A=$(KEEP) HF_TOKEN=S3C KEEP $(KEEP x)`,
		`echo $(HF_TOKEN=S3C KEEP) KEEP`,
		`vllm serve KEEP --max-model-len $(KEEP 8) --tokenizer $(KEEP)`,
		`curl -H 'Authorization: Bearer '$(echo S3C) http://KEEP/; curl -HX-Api-Key:$(echo S3C) KEEP`,
		"curl -H Cookie:`echo S3C` KEEP; curl http://u:$(echo \"S3C\")@KEEP/ KEEP; curl http://$(echo KEEP):80/$(KEEP)",
		`[[ $TOKEN == $(echo S3C) ]]; KEEP`,
		// Python.
		`monkeypatch.setenv('HF_TOKEN', value='S3C'); f('token', x='KEEP'); KEEP`,
		`os.environ.setdefault('HF_TOKEN','S3C'); KEEP`,
		`os.environ.setdefault("HF_TOKEN", "S3C"); KEEP`,
		`os.putenv('HF_TOKEN', f'S3C'); KEEP`,
		`os.putenv('HF_TOKEN', 'S3C' + "S3C"); KEEP`,
		`os.putenv(b'HF_TOKEN', b'S3C'); KEEP`,
		`os.putenv('HF_TOKEN', str('S3C')); KEEP`,
		`setattr(x,'api_key','S3C'); setattr(x, 'KEEP', 'KEEP')`,
		`setattr(x, 'api_key', ('S3C')); KEEP`,
		`bash -c "python -c \"os.putenv('HF_TOKEN','S3C')\" KEEP"`,
		`bash -c 'python -c "os.putenv(\"HF_TOKEN\",\"S3C\")" KEEP'`,
		`getattr(x, 'token', KEEP); d['tokens'] , 'KEEP'; f("max_tokens", "KEEP"); names = ["token", "KEEP", 'key', 'KEEP']`,
		`os.environ['HF_TOKEN']=str('S3C'); KEEP`,
		`os.environ['HF_TOKEN'] = str("S3C" , 'S3C').strip('S3C'); KEEP`,
		`os.environ["HF_TOKEN"]='S3C'.strip(); KEEP`,
		`os.environ["HF_TOKEN"] = 'S3C'.replace('a', 'S3C'); KEEP`,
		`os.environ["HF_TOKEN"] = "".join(['S3C','S3C']); KEEP`,
		`api_key = 'a' + 'S3C'; KEEP`,
		`api_key = 'a'+'S3C'; KEEP`,
		`api_key='a' + 'S3C' + get('S3C'); KEEP`,
		`api_key = x + 'S3C'; KEEP`,
		`api_key = 'S3C' 'S3C'; KEEP`,
		`api_key = '%s' % 'S3C'; KEEP`,
		`api_key = os.getenv('X') or 'S3C'; KEEP`,
		`api_key = x if y else 'S3C'; KEEP`,
		`api_key = y = 'S3C'; KEEP`,
		`import KEEP; api_key: str = 'S3C'; KEEP`,
		`api_key := "S3C"; KEEP`,
		`api_key = get('S3C'); KEEP`,
		`api_key=get('S3C'); KEEP`,
		`api_key = get(get("S3C")); KEEP`,
		`api_key = ('S3C') + ('S3C'); KEEP`,
		`f(api_key='a' + 'S3C', b='KEEP'); f(api_key=get('S3C'), b='KEEP'); f(api_key=x or 'S3C', b=KEEP)`,
		`d = {'api_key': 'a' + 'S3C', 'b': 'KEEP', "token": get('S3C'), 'c': 'KEEP', 'key': x or 'S3C', 'd': KEEP, 'secret': 'S3C'.strip(), 'e': KEEP}`,
		`key = f(KEEP); tokens = encode(KEEP, x); token = tokenizer.decode(KEEP) ; print('KEEP')`,
		`print(sorted(x, key=itemgetter('KEEP')))`,
		`api_key = not x or 'S3C'; api_key = f'{x}' f'S3C'; api_key = lambda: 'S3C'; KEEP`,
		"api_key = 'a' \\\n  'S3C'; api_key = 'a' + \\\n 'S3C'; KEEP",
		`api_key='it\'s S3C'; KEEP`,
		`HF_TOKEN=$'a\'S3C S3C' KEEP`,
		`tokens = llm.encode("KEEP"); tokens = get("S3C"); KEEP`,
		`host=KEEP; HF_TOKEN=S3C python KEEP`,
		// Values after flags.
		`run --token -Zq7S3C3Xk9Lm2== KEEP; run --api-key -- S3C; run --port KEEP`,
		// Connection strings.
		`run --dsn "Server=KEEP;Pwd=S3C;" KEEP; x 'Server=KEEP;Uid=KEEP;Password=S3C & S3C;Encrypt=KEEP' KEEP`,
		`pyodbc.connect('DRIVER={KEEP};SERVER=KEEP;PWD={S3C;S3C}'); KEEP`,
		`curl h/p?a=KEEP&sig=S3C KEEP`,
		`curl "https://h/p?a=KEEP&sig=S3C&b=KEEP" KEEP`,
	} {
		for _, argv := range [][]string{{"sh", "-c", program}, {"client", program}} {
			got := strings.Join(New(nil).Command(argv), " ")
			if strings.Contains(got, "S3C") {
				t.Errorf("%s\nshows a secret: %s", program, got)
			}
			if want := strings.Count(program, "KEEP"); strings.Count(got, "KEEP") != want && argv[0] == "sh" {
				t.Errorf("%s\nlost more than secrets: %s", program, got)
			}
		}
	}
}
