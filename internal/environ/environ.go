// Package environ reads and changes environments: lists of NAME=value entries, as
// execve(2) takes them. None of it touches the process's own.
package environ

import (
	"slices"
	"strings"
)

// Lookup finds a variable as getenv(3) does: of several entries the first counts. ok
// tells one that is set to nothing from one that is not set.
func Lookup(env []string, name string) (value string, ok bool) {
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// With is env with a variable of this value, whatever it had: of two entries a shell
// takes the last, getenv the first.
func With(env []string, name, value string) []string {
	return append(Without(env, name), name+"="+value)
}

// Without is env without a variable.
func Without(env []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(entry string) bool { return strings.HasPrefix(entry, name+"=") })
}
