package environ

import (
	"slices"
	"testing"
)

func TestEnviron(t *testing.T) {
	env := []string{"A=1", "AB=2", "C=", "A=3", "=4", "no entry"}
	before := slices.Clone(env)
	for name, want := range map[string]string{"A": "1", "AB": "2", "C": ""} {
		if got, ok := Lookup(env, name); got != want || !ok {
			t.Errorf("%s is %q, %t", name, got, ok)
		}
	}
	for _, name := range []string{"B", "no entry", "AB="} {
		if got, ok := Lookup(env, name); ok {
			t.Errorf("%s is %q", name, got)
		}
	}
	if got, want := With(env, "A", "5"), []string{"AB=2", "C=", "=4", "no entry", "A=5"}; !slices.Equal(got, want) {
		t.Errorf("With: %q", got)
	}
	if got, want := Without(env, "C"), []string{"A=1", "AB=2", "A=3", "=4", "no entry"}; !slices.Equal(got, want) {
		t.Errorf("Without: %q", got)
	}
	if !slices.Equal(env, before) {
		t.Errorf("the environment was changed: %q", env)
	}
}
