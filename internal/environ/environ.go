// Package environ reads and changes environments: lists of NAME=value entries, as
// execve(2) takes them. It does not touch the process's own environment.
package environ

import (
	"slices"
	"strings"
)

// Lookup returns the value of a variable as getenv(3) does: of several entries the
// first counts. ok distinguishes an empty variable from one that is not set.
func Lookup(env []string, name string) (value string, ok bool) {
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// With returns env with the variable set to value. Existing entries are removed: of two
// entries a shell uses the last, getenv the first.
func With(env []string, name, value string) []string {
	return append(Without(env, name), name+"="+value)
}

// Without returns env without the variable.
func Without(env []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(entry string) bool { return strings.HasPrefix(entry, name+"=") })
}
