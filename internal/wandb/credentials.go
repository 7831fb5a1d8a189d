package wandb

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// Credentials authenticate requests: a key, or a file with an identity token.
type Credentials struct {
	// APIKey is the key.
	APIKey Secret
	// IdentityTokenFile holds a JWT, which the server exchanges for an access token.
	// CredentialsFile caches that.
	IdentityTokenFile, CredentialsFile string
	// Source is where they were found.
	Source string
}

// ErrNoKey means that there are no credentials; errors that wrap it say where vobs
// looked.
var ErrNoKey = errors.New("no key for W&B")

// Credentials looks for the key in WANDB_API_KEY or WANDB_IDENTITY_TOKEN_FILE, then in
// the netrc file, then in the settings files (_use_system_auth of
// wandb/sdk/lib/wbauth/authenticate.py). If there is none, the error wraps [ErrNoKey].
func (s *Settings) Credentials() (*Credentials, error) {
	key := &s.origin().key
	key.Do(func() { key.found, key.err = s.findCredentials() })
	return key.found, key.err
}

func (s *Settings) findCredentials() (*Credentials, error) {
	key := s.origin().env["WANDB_API_KEY"]
	token := s.origin().env["WANDB_IDENTITY_TOKEN_FILE"]
	switch {
	case key != "" && token != "":
		return nil, errors.New("WANDB_API_KEY and WANDB_IDENTITY_TOKEN_FILE are both set, and W&B accepts only one")
	case key != "":
		return fromKey(Secret(key), "WANDB_API_KEY")
	case token != "":
		return s.fromToken(token, "WANDB_IDENTITY_TOKEN_FILE"), nil
	}
	path := s.netrcPath()
	password, found, err := s.fromNetrc(path)
	switch {
	case err != nil:
		s.warn("the netrc file %s is ignored: %v", path, err)
	case password != "":
		return fromKey(password, path)
	case found:
		s.warn("the netrc file %s has an entry for %s without a password", path, s.BaseURL)
	}
	if key := s.origin().file["api_key"]; key != "" {
		return fromKey(Secret(key), settingsFile)
	}
	if token := s.origin().file["identity_token_file"]; token != "" {
		return s.fromToken(token, settingsFile), nil
	}
	return nil, fmt.Errorf("%w: set WANDB_API_KEY, or let `wandb login` write %s for %s", ErrNoKey, path, s.BaseURL)
}

func (s *Settings) fromToken(file, source string) *Credentials {
	cache, _ := s.origin().get("credentials_file")
	return &Credentials{
		IdentityTokenFile: s.path(file),
		CredentialsFile:   s.path(cmp.Or(cache, filepath.Join(s.origin().Home, ".config", "wandb", "credentials.json"))),
		Source:            source,
	}
}

// netrcPath is $NETRC, else ~/.netrc, else ~/_netrc if only that exists.
func (s *Settings) netrcPath() string {
	if path := s.origin().env["NETRC"]; path != "" {
		return s.path(path)
	}
	path := filepath.Join(s.origin().Home, ".netrc")
	if _, err := os.Stat(path); err != nil {
		other := filepath.Join(s.origin().Home, "_netrc")
		if _, err := os.Stat(other); err == nil {
			return other
		}
	}
	return path
}

// fromNetrc returns the password for the server. wandb.ai has two names: `wandb login`
// writes the newer one since 0.31, and either is valid for both.
func (s *Settings) fromNetrc(path string) (Secret, bool, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	n, err := parseNetrc(string(text))
	if err != nil {
		return "", false, err
	}
	u, err := url.Parse(s.BaseURL)
	if err != nil {
		return "", false, err
	}
	hosts := []string{u.Host}
	for forge, api := range forgeHosts {
		if u.Host == api {
			hosts = append(hosts, "api."+forge)
		} else if u.Host == "api."+forge {
			hosts = append(hosts, api)
		}
	}
	password, found := n.lookup(hosts...)
	return password, found, nil
}

// keyForms are the forms of a JWT, and of a key after its optional prefix
// (check_api_key of wandb/sdk/lib/wbauth/validation.py).
var keyForms = sync.OnceValues(func() (jwt, secret *regexp.Regexp) {
	return regexp.MustCompile(`^[\w-]+\.[\w-]+\.[\w-]+$`), regexp.MustCompile(`^[\w-]+$`)
})

// fromKey checks the form of a key. Its errors do not quote the key.
func fromKey(key Secret, source string) (*Credentials, error) {
	jwt, secret := keyForms()
	text := key.Reveal()
	if !jwt.MatchString(text) {
		if _, rest, ok := strings.Cut(text, "-"); ok {
			text = rest
		}
		switch {
		case strings.TrimSpace(text) != text:
			return nil, fmt.Errorf("the key in %s begins or ends with a space", source)
		case !secret.MatchString(text):
			return nil, fmt.Errorf("the key in %s has characters that W&B's keys do not have", source)
		case len(text) < 40:
			return nil, fmt.Errorf("the key in %s has %d characters where W&B's have 40 or more", source, len(text))
		}
	}
	return &Credentials{APIKey: key, Source: source}, nil
}
