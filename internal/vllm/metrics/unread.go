package metrics

import "strings"

// Subject is what a family that is not read is about.
type Subject int

// The subjects of families whose presence matters, although they are not read.
const (
	// UnreadConnector is a KV connector or KV offloading.
	UnreadConnector Subject = iota
	// UnreadSpeculation is speculative decoding.
	UnreadSpeculation
)

// unreadMarks are parts of the names of such families.
var unreadMarks = []struct {
	mark    string
	subject Subject
}{
	{"offload", UnreadConnector}, {"connector", UnreadConnector}, {"kv_transfer", UnreadConnector}, {"kv_fetch", UnreadConnector},
	{"lmcache", UnreadConnector}, {"nixl", UnreadConnector}, {"mooncake", UnreadConnector}, {"hf3fs", UnreadConnector}, {"hisparse", UnreadConnector},
	{"spec_decode", UnreadSpeculation},
}

// Unread is a family that is on a page, but is not read.
type Unread struct {
	Name    string
	Subject Subject
}

// UnreadFamily returns the family of a sample or family name if it is vLLM's or LMCache's, is
// about one of the subjects and is not read. A subject with such a family must not be called
// off.
func UnreadFamily(name string) (family Unread, ok bool) {
	rest := strings.TrimPrefix(name, "ray_")
	if !strings.HasPrefix(rest, "vllm:") && !strings.HasPrefix(rest, "vllm_") && !strings.HasPrefix(rest, "lmcache:") && !strings.HasPrefix(rest, "lmcache_") {
		return family, false
	}
	for _, m := range unreadMarks {
		if !strings.Contains(rest, m.mark) {
			continue
		}
		for _, suffix := range []string{"_bucket", "_sum", "_count", "_created", "_total"} {
			if cut, found := strings.CutSuffix(name, suffix); found {
				if _, read := Lookup(cut); read {
					return family, false
				}
				name = cut
				break
			}
		}
		_, read := Lookup(name)
		return Unread{name, m.subject}, !read
	}
	return family, false
}
