package redact

import "strings"

// tokenForm is a form of tokens that is recognized anywhere.
type tokenForm struct {
	prefix string
	// chars are the characters after the prefix besides letters and digits.
	chars string
	// least is the number of characters after the prefix from which it is a token: below
	// what the issuer documents, so that a form that grew shorter is recognized too.
	least int
	// run is the length that a sequence of letters and digits without chars needs, so that
	// dashed words are no token; 0 for any.
	run int
	// exact is set if exactly least capitals and digits follow.
	exact bool
}

// tokenForms are the issuers' documented forms, as GitHub's secret scanning and gitleaks
// (config/gitleaks.toml) recognize them.
var tokenForms = []tokenForm{
	{prefix: "hf_", least: 20},                                // Hugging Face: 34 letters
	{prefix: "api_org_", least: 20},                           // Hugging Face, organization: 34 letters
	{prefix: "sk-", chars: "-_", least: 20, run: 12},          // OpenAI, Anthropic, OpenRouter, DeepSeek, LiteLLM
	{prefix: "sk_live_", least: 16},                           // Stripe: 24 and more
	{prefix: "sk_test_", least: 16},                           //
	{prefix: "rk_live_", least: 16},                           //
	{prefix: "ghp_", least: 16},                               // GitHub: 36; personal
	{prefix: "gho_", least: 16},                               // OAuth
	{prefix: "ghu_", least: 16},                               // user to server
	{prefix: "ghs_", least: 16},                               // server to server
	{prefix: "ghr_", least: 16},                               // refresh
	{prefix: "github_pat_", chars: "_", least: 20},            // GitHub, fine-grained: 82
	{prefix: "glpat-", chars: "-_.", least: 16},               // GitLab: 20, or 27 and more with its routing
	{prefix: "gldt-", chars: "-_.", least: 16},                // deploy
	{prefix: "glrt-", chars: "-_.", least: 16},                // runner
	{prefix: "glcbt-", chars: "-_.", least: 16},               // CI build
	{prefix: "glptt-", chars: "-_.", least: 16},               // pipeline trigger
	{prefix: "glsoat-", chars: "-_.", least: 16},              // SCIM
	{prefix: "gloas-", chars: "-_.", least: 16},               // OAuth application
	{prefix: "AKIA", least: 16, exact: true},                  // AWS access key
	{prefix: "ASIA", least: 16, exact: true},                  // AWS, temporary
	{prefix: "AIza", chars: "-_", least: 35},                  // Google: 35
	{prefix: "ya29.", chars: "-_.", least: 20},                // Google OAuth
	{prefix: "xoxb-", chars: "-", least: 16},                  // Slack: bot
	{prefix: "xoxp-", chars: "-", least: 16},                  // user
	{prefix: "xoxa-", chars: "-", least: 16},                  //
	{prefix: "xoxr-", chars: "-", least: 16},                  //
	{prefix: "xoxs-", chars: "-", least: 16},                  //
	{prefix: "xapp-", chars: "-", least: 16},                  // app
	{prefix: "npm_", least: 30},                               // npm: 36
	{prefix: "pypi-", chars: "-_", least: 50},                 // PyPI: 85 and more
	{prefix: "nvapi-", chars: "-_", least: 20},                // NVIDIA: 64
	{prefix: "gsk_", least: 20},                               // Groq: 52
	{prefix: "xai-", least: 40},                               // xAI: 80
	{prefix: "r8_", least: 30},                                // Replicate: 37
	{prefix: "pplx-", least: 30},                              // Perplexity: 48
	{prefix: "dapi", least: 32},                               // Databricks: 32 hexadecimal digits
	{prefix: "dckr_pat_", chars: "-_", least: 20},             // Docker: 27
	{prefix: "wandb_v1_", chars: "-_", least: 20},             // Weights & Biases
	{prefix: "lsv2_pt_", chars: "_", least: 20},               // LangSmith
	{prefix: "lsv2_sk_", chars: "_", least: 20},               //
	{prefix: "hvs.", chars: "-_", least: 20},                  // HashiCorp Vault: 90 and more
	{prefix: "SG.", chars: "-_.", least: 40},                  // SendGrid: 66
	{prefix: "tskey-", chars: "-", least: 16, run: 10},        // Tailscale
	{prefix: "eyJ"},                                           // JSON Web Token, see [jsonWebToken]
	{prefix: "Bearer ", chars: "-._~+/=", least: 16, run: 12}, // RFC 6750
	{prefix: "bearer ", chars: "-._~+/=", least: 16, run: 12}, //
	{prefix: "Basic ", chars: "+/=-_", least: 12, run: 12},    // RFC 7617
	{prefix: "-----BEGIN ", chars: "", least: 0},              // a private key, see [privateKey]
}

// maxTokenSearch is how much of a text is looked at to recognize a token, in bytes. Without a
// limit, a text full of prefixes would take quadratic time.
const maxTokenSearch = 128

// formsByByte are the indices of tokenForms by their first byte.
var formsByByte = func() (forms [256][]uint8) {
	for i, f := range tokenForms {
		forms[f.prefix[0]] = append(forms[f.prefix[0]], uint8(i))
	}
	return forms
}()

// redactTokens replaces tokens of known forms.
func redactTokens(s string) string {
	var out strings.Builder
	from := 0
	boundary := true // s[i] begins a word
	for i := 0; i < len(s); i++ {
		if forms := formsByByte[s[i]]; forms != nil && boundary {
			for _, f := range forms {
				keep, n := tokenForms[f].match(s[i:])
				if n == 0 {
					continue
				}
				out.WriteString(s[from : i+keep])
				out.WriteString(redacted)
				from = i + n
				i = from - 1
				break
			}
		}
		boundary = !isAlphanumeric(s[i]) || i > 0 && s[i-1] == '\\' // the escape sequence of a line break, maybe
	}
	if from == 0 {
		return s
	}
	out.WriteString(s[from:])
	return out.String()
}

// match returns the length of the token at the beginning of s, 0 if there is none, and how
// many of its bytes to keep.
func (f *tokenForm) match(s string) (keep, n int) {
	if !strings.HasPrefix(s, f.prefix) {
		return 0, 0
	}
	if f.prefix == "-----BEGIN " {
		return 0, privateKey(s)
	}
	if f.prefix == "eyJ" {
		return 0, jsonWebToken(s)
	}
	n = len(f.prefix)
	run, longest := 0, 0
	for n < min(len(s), maxTokenSearch) && f.has(s[n]) {
		if f.exact && s[n] >= 'a' {
			return 0, 0
		}
		if run++; !isAlphanumeric(s[n]) {
			run = 0
		}
		longest = max(longest, run)
		n++
	}
	text := s[len(f.prefix):n]
	switch {
	case len(text) < f.least, f.exact && len(text) != f.least, longest < f.run:
		return 0, 0
	case f.run > 0 && !isRandom(text):
		return 0, 0
	}
	for n < len(s) && f.has(s[n]) {
		n++
	}
	if f.prefix[len(f.prefix)-1] == ' ' {
		keep = len(f.prefix)
	}
	return keep, n
}

// has reports whether a token may contain c.
func (f *tokenForm) has(c byte) bool { return isAlphanumeric(c) || strings.IndexByte(f.chars, c) >= 0 }

// isRandom reports whether a text does not consist of words: a sequence of letters and digits
// of at least 10 has a digit or a change of case, or is longer than any word.
func isRandom(text string) bool {
	const long, longestWord = 10, 16
	for _, part := range strings.FieldsFunc(text, func(c rune) bool { return c > 127 || !isAlphanumeric(byte(c)) }) {
		switch {
		case len(part) >= longestWord:
			return true
		case len(part) < long:
		case strings.ContainsAny(part, "0123456789"), part != strings.ToLower(part) && part != strings.ToUpper(part):
			return true
		}
	}
	return false
}

// jsonWebToken returns the length of the JSON Web Token (RFC 7519) at the beginning of s, 0 if
// there is none: two parts in base64url, the first of which begins with eyJ, which is {", and
// one more, which may be empty, or three more if it is encrypted (RFC 7516).
func jsonWebToken(s string) int {
	const shortestHeader, longestHeader = 10, 512
	part := func(from, limit int) int {
		end := from
		for end < min(len(s), limit) && (isAlphanumeric(s[end]) || s[end] == '-' || s[end] == '_' || s[end] == '=') {
			end++
		}
		return end
	}
	n := part(0, longestHeader)
	if n < shortestHeader || n == len(s) || s[n] != '.' {
		return 0
	}
	payload := part(n+1, len(s))
	if payload == n+1 || payload == len(s) || s[payload] != '.' {
		return 0
	}
	for n = payload; n < len(s) && s[n] == '.'; {
		n = part(n+1, len(s))
	}
	return n
}

// privateKey returns the length of the private key in PEM format at the beginning of s, to
// its end line or to the end of s; 0 if it is something else.
func privateKey(s string) int {
	const longestLabel = 64
	header := s[:min(len(s), longestLabel)]
	const mark = "PRIVATE KEY-----"
	i := strings.Index(header, mark)
	if i < 0 || strings.ContainsAny(header[:i], "\n\\") {
		return 0
	}
	end := strings.Index(s[i:], "-----END ")
	if end < 0 {
		return len(s)
	}
	end += i + len("-----END ")
	if close := strings.Index(s[end:], "-----"); close >= 0 && close < longestLabel {
		return end + close + len("-----")
	}
	return len(s)
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
