package redact

import (
	"fmt"
	"strings"
	"testing"
)

// hostileTexts are patterns whose repetition could take quadratic time.
var hostileTexts = map[string]string{
	"words": "word ", "flags": "--api-key S ", "assignments": "a=", "secrets": "key=", "colons": "a:", "mixed": "a:b=",
	"single quotes": `' `, "double quotes": `" `, "escaped quotes": `\" `, "backslashes": `\`, "nested quotes": `"'`, "quotes": `'"\"'`,
	"brackets": "[", "list": `["`, "tuple": `("key",`, "object": `{"a":`, "secret object": `"key":[`, "secret list": "keys=[", "pending": "key: ",
	"prefixes": "sk-", "long prefixes": "hf_aaaaaaaaaaaaaaaaaaa-", "tokens": "eyJ-", "dotted tokens": "eyJaaaaaaaaaa.", "bearer": "Bearer ", "PEM": "-----BEGIN ",
	"private key": "-----BEGIN X PRIVATE KEY-----", "URLs": "a://", "queries": "://?a=&", "user info": "a:b@", "headers": "Authorization:", "calls": "f(key=",
	"array": "[1,", "capitals": "aB", "acronyms": "ABc", "names": "key_", "Python": `f"" `, "values": `"key":"" `, "set": "set -x A ",
	"substitutions": "key=$(", "quoted substitutions": `key="$(`, "backquotes": "key=`", "escaped values": `key=\"`, "expansions": "${", "defaults": "${key:-",
	"shown calls": "key = f( ", "calls of calls": "key=f(", "quoted calls": `key = f("`, "sums": `key = "a" + `, "or": "key = a or ", "arguments": `f("key", `, "triple quotes": `key="""`,
	"connection": "Server=a;", "braces": "Server={a;", "assignments of assignments": "key = a = ", "odd quotes": `key='"`, "members": `"key":a or `, "joined strings": `"key":"a" "`,
	"substituted headers": "key:$(", "substituted URLs": "a://u:$( ", "read": "read key <<< ", "tuples": "key = (", "escaped backquotes": "key=\\`",
}

// BenchmarkCommand shows that the time grows with the length: the 128 KiB of one argument,
// the most that Linux allows, take about twice the time of 64 KiB.
func BenchmarkCommand(b *testing.B) {
	r := New([]string{"HF_TOKEN=hf_abcdefgh", "PASSWORD=hunter2hunter2"})
	for name, pattern := range hostileTexts {
		for _, size := range []int{16 << 10, 64 << 10, 128 << 10} {
			text := strings.Repeat(pattern, size/len(pattern))
			b.Run(fmt.Sprintf("%s/%dKiB", name, size>>10), func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				for b.Loop() {
					r.Command([]string{"sh", "-c", text})
				}
			})
		}
	}
}
