package wandb

import "fmt"

// Secret is a text that must not be printed: every verb prints "[secret]", or "" if it is
// empty. Reveal returns the text.
type Secret string

const hidden = "[secret]"

// Reveal returns the text itself, for the request that needs it.
func (s Secret) Reveal() string { return string(s) }

// String hides the text.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// GoString hides the text from %#v.
func (s Secret) GoString() string { return fmt.Sprintf("wandb.Secret(%q)", s.String()) }

// Format hides the text from every verb; %x of it would be as readable as the text.
func (s Secret) Format(f fmt.State, verb rune) {
	if verb == 'v' && f.Flag('#') {
		fmt.Fprint(f, s.GoString())
		return
	}
	fmt.Fprint(f, s.String())
}

// MarshalText hides the text from JSON, XML and flags.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
