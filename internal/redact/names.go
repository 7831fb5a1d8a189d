package redact

import (
	"strings"
	"unicode"

	"github.com/vobs/vobs/internal/vllm/args"
)

// sensitivity is what a name implies about its value.
type sensitivity int

const (
	// public: the value is shown.
	public sensitivity = iota
	// countable: the value is a secret unless it is a number, because such names are
	// also those of counts and sizes.
	countable
	// secret: the value is a secret.
	secret
)

// wordList is a list of words with a blank before and after each. It costs nothing at the
// start of the program.
type wordList string

func (l wordList) has(word string) bool {
	return word != "" && strings.Contains(string(l), " "+word+" ")
}

// The words of names, in lower case and without digits at their end. docs/secrets.md lists
// them for users.
const (
	// secretWords make a name a secret's wherever they stand in it.
	secretWords wordList = " secret secrets password passwords passwd passwds passphrase passphrases passcode passcodes " +
		"credential credentials cred creds bearer jwt "
	// owners are the people, programs and services that a key or token is for.
	owners wordList = " access account admin ai anthropic api app auth aws azure bearer bot claude client cohere csrf " +
		"databricks db deepseek deploy dev discord docker encryption gcp gemini gh git github gitlab gl " +
		"google grok groq hf hub hugging huggingface id jwt llm login master mistral mongo mongodb my mysql " +
		"ngc npm nvidia oauth openai openrouter personal pg postgres private proxy pypi redis refresh " +
		"registry replicate root secret security server service session sign signing slack smtp ssh ssl svc " +
		"sudo telegram tls together user vault vllm wandb web webhook "

	// What a model or a data set counts, names or separates. Such a word after key or token,
	// or before it, makes it an ordinary word.
	afterToken wordList = " id ids idx index count counts counter limit limits threshold thresholds len length lengths type " +
		"types budget budgets rate rates usage embedding embeddings level logprob logprobs logits prob probs " +
		"num number per classification classify healing throughput latency ratio size sizes str timeout ttl " +
		"lifetime expiry url uri endpoint "
	beforeToken wordList = " eos bos pad padding unk sep cls mask image video audio stop start end begin special first next last " +
		"per input output prompt generation generated completion text speech placeholder draft speculative " +
		"spec context decode prefill bad banned forced suppress think thinking reasoning tool delimiter " +
		"separator newline blank max min num total mean avg "
	afterKey wordList = " column columns col cols field fields name names dim dims head heads size len length type types " +
		"order func fn function state states cache padding mask bits prefix suffix error url uri "
	beforeKey wordList = " sort primary foreign partition cache dict group groupby order routing shard sharding row column col " +
		"public past per hash lookup map metric metrics label labels input inputs output outputs state query " +
		"unique index idempotency object image video audio text prompt question answer response target source " +
		"field dataset feature features sample json num "
	afterAuth wordList = " type types mode method methods provider url uri endpoint enabled required backend plugin scheme " +
		"sock socket server host port timeout level "
	beforePass  wordList = " single multi two num first second forward backward per by one full "
	beforePat   wordList = " ignore include exclude file glob match regex name path exclusion inclusion "
	switchWords wordList = " no enable disable skip without "
)

var (
	// secretEnds are secret words that may be joined to anything before them.
	secretEnds = []string{"password", "passwords", "passwd", "passphrase", "secret", "secrets", "credential", "credentials", "apikey", "apikeys", "apitoken", "apitokens"}
	// joinedEnds are words that may be joined to owners: hftoken, sshpass, openaikeys.
	joinedEnds = []string{"key", "keys", "token", "tokens", "pass", "pwd", "pat", "pats", "creds", "auth"}
)

// IsSecretName reports whether a flag, variable, header, label or JSON member of this name
// holds a secret.
func IsSecretName(name string) bool { return sensitivityOf(name) != public }

// sensitivityOf returns what a name implies about its value. It looks at the name's words:
// these end at anything but a letter or digit, before a capital that follows a small letter,
// and before the last of several capitals if a small letter follows.
func sensitivityOf(name string) sensitivity {
	words := splitName(name)
	found := public
	for i, word := range words {
		before, after, last := "", "", i == len(words)-1
		if i > 0 {
			before = words[i-1]
		}
		if !last {
			after = words[i+1]
		}
		if isSecretWord(word) && after != "stdin" {
			found = secret
			break
		}
		ordinary := false
		switch word {
		case "token":
			ordinary = afterToken.has(after) || beforeToken.has(before)
		case "tokens": // what a model reads and writes, unless an owner or nothing stands before it
			ordinary = before != "" && !owners.has(before) && !strings.EqualFold(lastComponent(name), word) || afterToken.has(after)
			last = false
		case "key":
			keyValue := (after == "value" || after == "values") && (i+2 < len(words) || beforeKey.has(before))
			ordinary = keyValue || afterKey.has(after) || beforeKey.has(before)
		case "keys":
			ordinary = afterKey.has(after) || beforeKey.has(before) || switchWords.has(before)
			last = false
		case "auth", "oauth":
			ordinary = afterAuth.has(after)
		case "pass":
			ordinary = !last || beforePass.has(before)
		case "pat", "pats":
			ordinary = !last || beforePat.has(before)
		case "pwd": // alone it is the working directory
			ordinary = !last || before == "" || before == "old"
		case "authorization", "cookie", "cookies":
			ordinary = !last
		default:
			ordinary = true
		}
		switch {
		case ordinary:
		case last:
			found = secret
		default:
			found = max(found, countable)
		}
	}
	if found != public && strings.IndexFunc(name, unicode.IsUpper) < 0 {
		// vLLM's own options are known.
		if option := strings.TrimPrefix(name, "--"); len(option) < maxOptionName && args.IsOption(option) && !args.IsSecretOption(option) {
			return public
		}
	}
	return found
}

// lastComponent returns what follows the last dot, bracket or the like in a name, such as
// d["tokens"] and x.tokens.
func lastComponent(name string) string {
	separates := func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) && c != '_' && c != '-' }
	name = strings.TrimRightFunc(name, separates)
	return name[strings.LastIndexFunc(name, separates)+1:]
}

// assignedSensitivity returns what the name before = implies. It may be joined to a flag of one
// letter, as in -eKEY=VALUE.
func assignedSensitivity(name string) sensitivity {
	level := sensitivityOf(name)
	if level == public && len(name) > 2 && name[0] == '-' && name[1] != '-' {
		return sensitivityOf(name[2:])
	}
	return level
}

// maxOptionName is longer than the name of any option.
const maxOptionName = 64

// splitName returns the words of a name in lower case, without digits at their end. A word of
// digits only is left out.
func splitName(name string) []string {
	var words []string
	start := -1
	flush := func(end int) {
		if start < 0 {
			return
		}
		if word := strings.TrimRight(name[start:end], "0123456789"); word != "" {
			words = append(words, strings.ToLower(word))
		}
		start = -1
	}
	var last, beforeLast rune // the runes before c
	lastAt := 0
	for i, c := range name {
		switch {
		case !unicode.IsLetter(c) && !unicode.IsDigit(c):
			flush(i)
		case unicode.IsUpper(c) && unicode.IsLower(last):
			flush(i)
		case unicode.IsLower(c) && unicode.IsUpper(last) && unicode.IsUpper(beforeLast) && lastAt > start:
			if rest := name[i:]; !isPluralEnd(rest) {
				flush(lastAt)
				start = lastAt
			}
		}
		if start < 0 && (unicode.IsLetter(c) || unicode.IsDigit(c)) {
			start = i
		}
		beforeLast, last, lastAt = last, c, i
	}
	flush(len(name))
	return words
}

// isPluralEnd reports whether a name goes on with a lone s, as in APIKEYs.
func isPluralEnd(s string) bool {
	return s[0] == 's' && (len(s) == 1 || !unicode.IsLetter(rune(s[1])))
}

// isSecretWord reports whether a word makes any name a secret's: one of secretWords, or key,
// token or the like joined to what is before it.
func isSecretWord(word string) bool {
	const longest = 48
	if secretWords.has(word) {
		return true
	}
	if len(word) > longest {
		word = word[len(word)-longest:]
	}
	for _, end := range secretEnds {
		if strings.HasSuffix(word, end) {
			return true
		}
	}
	for _, end := range joinedEnds {
		if before, ok := strings.CutSuffix(word, end); ok && before != "" && isOwners(before) {
			return true
		}
	}
	return false
}

// isOwners reports whether s is one or two of owners, joined.
func isOwners(s string) bool {
	if owners.has(s) {
		return true
	}
	for i := 1; i < len(s); i++ {
		if owners.has(s[:i]) && owners.has(s[i:]) {
			return true
		}
	}
	return false
}

// isSecretHeader reports whether a request header of this name carries a secret although it
// may be glued to what is before it, as in -HAuthorization.
func isSecretHeader(name string) bool {
	const longest = len("authorization")
	name = strings.ToLower(name[max(0, len(name)-longest):])
	return strings.HasSuffix(name, "authorization") || strings.HasSuffix(name, "cookie")
}

// isHeaderName reports whether s is the name of such a header, by itself.
func isHeaderName(s string) bool {
	switch strings.ToLower(s) {
	case "authorization", "proxy-authorization", "x-authorization", "cookie", "set-cookie":
		return true
	}
	return false
}

// isScheme reports whether s is a scheme of the Authorization header, which the secret follows.
func isScheme(s string) bool {
	switch strings.ToLower(s) {
	case "bearer", "basic", "token", "digest", "apikey":
		return true
	}
	return false
}

// isSwitch reports whether a flag such as --no-password never has a value after it.
func isSwitch(flag string) bool {
	words := splitName(flag)
	return len(words) > 1 && switchWords.has(words[0])
}

// isNumber reports whether s is a number or a truth value: 8, 0.5, 8k, true.
func isNumber(s string) bool {
	const longest = 16
	switch s {
	case "true", "false", "True", "False", "none", "None", "null", "auto":
		return true
	}
	if len(s) > longest {
		return false
	}
	s = strings.TrimLeft(s, "+-")
	s = strings.TrimSuffix(s, "%")
	if s != "" && strings.IndexByte("kKmMgG", s[len(s)-1]) >= 0 {
		s = s[:len(s)-1]
	}
	digits := 0
	for _, c := range s {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c != '.' && c != '_':
			return false
		}
	}
	return digits > 0
}
