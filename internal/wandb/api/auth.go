package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Auth signs the requests to the server.
type Auth interface {
	// sign adds the Authorization header; the text of its error contains no secret.
	sign(context.Context, *Client, *http.Request) error
	// secrets returns the texts that no error may contain.
	secrets() []string
}

// APIKey signs with a key, as the SDK does: by HTTP basic authentication.
func APIKey(key string) Auth { return apiKey(key) }

type apiKey string

func (k apiKey) sign(_ context.Context, _ *Client, r *http.Request) error {
	if strings.ContainsFunc(string(k), func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return errors.New("the key has a line break or another control character in it")
	}
	r.Header.Set("Authorization", "Basic "+k.encoded())
	return nil
}

func (k apiKey) encoded() string {
	return base64.StdEncoding.EncodeToString([]byte("api:" + string(k)))
}

func (k apiKey) secrets() []string {
	return []string{string(k), k.encoded(), url.QueryEscape(string(k))}
}

// String, GoString and MarshalText keep the key out of what is printed.
func (apiKey) String() string { return "[redacted]" }

// GoString is String.
func (apiKey) GoString() string { return "[redacted]" }

// MarshalText is String.
func (apiKey) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// IdentityToken signs with an access token that the server issues for the identity token
// (a JWT) in tokenFile. The access token is cached in credentialsFile, which the SDK uses
// too (wandb/core/internal/api/credentials.go); with "" it is not cached.
func IdentityToken(tokenFile, credentialsFile string) Auth {
	return &identity{tokenFile: tokenFile, credentialsFile: credentialsFile}
}

type identity struct {
	tokenFile, credentialsFile string

	mu     sync.Mutex
	token  access
	hidden []string // all tokens so far
}

// access is an access token as the credentials file holds it.
type access struct {
	// ExpiresAt is in UTC, in expiryLayout.
	ExpiresAt   string `json:"expires_at"`
	AccessToken string `json:"access_token"`
}

const (
	expiryLayout = "2006-01-02 15:04:05"
	// minLifetime is the least remaining life of a token that is used.
	minLifetime = 5 * time.Minute
)

func (a access) usable(now time.Time) bool {
	expires, err := time.Parse(expiryLayout, a.ExpiresAt)
	return err == nil && a.AccessToken != "" && expires.Sub(now) > minLifetime
}

func (i *identity) secrets() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]string{}, i.hidden...)
}

func (i *identity) sign(ctx context.Context, c *Client, r *http.Request) error {
	token, err := i.access(ctx, c)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return nil
}

func (i *identity) hide(secrets ...string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, s := range secrets {
		i.hidden = append(i.hidden, s, url.QueryEscape(s))
	}
}

// access returns a token that is valid for a while. Two goroutines may both fetch one,
// which is harmless; no lock is held during the request.
func (i *identity) access(ctx context.Context, c *Client) (string, error) {
	now := c.now()
	i.mu.Lock()
	token := i.token
	i.mu.Unlock()
	if token.usable(now) {
		return token.AccessToken, nil
	}
	file := readCredentials(i.credentialsFile)
	if token = file.of(c.base()); !token.usable(now) {
		var err error
		if token, err = i.exchange(ctx, c); err != nil {
			return "", err
		}
		// If this fails, the token is fetched again next time, by us and by the SDK.
		_ = file.write(i.credentialsFile, c.base(), token)
	}
	i.hide(token.AccessToken)
	i.mu.Lock()
	i.token = token
	i.mu.Unlock()
	return token.AccessToken, nil
}

func (i *identity) exchange(ctx context.Context, c *Client) (access, error) {
	b, err := os.ReadFile(i.tokenFile)
	if err != nil {
		return access{}, fmt.Errorf("cannot read the identity token (WANDB_IDENTITY_TOKEN_FILE): %w", err)
	}
	jwt := string(bytes.TrimSpace(b))
	if jwt == "" {
		return access{}, fmt.Errorf("the identity token's file is empty: %s", i.tokenFile)
	}
	i.hide(jwt)
	form := "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=" + url.QueryEscape(jwt)
	var token access
	// A plain error would be a nil *Error in an interface.
	if err := c.do(ctx, call{
		op: "token exchange", method: http.MethodPost, url: c.base() + "/oidc/token", body: []byte(form),
		header:   http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
		toServer: true, unsigned: true,
		// Here the SDK retries no 4xx but 429 (TokenExchangeRetryPolicy).
		retries: map[int]bool{http.StatusRequestTimeout: false, http.StatusTooEarly: false},
		accept: func(a response) *Error {
			var t struct {
				AccessToken string  `json:"access_token"`
				ExpiresIn   float64 `json:"expires_in"`
			}
			if json.Unmarshal(a.body, &t) != nil || t.AccessToken == "" {
				return &Error{Kind: KindResponse, Detail: "no access token in the response"}
			}
			i.hide(t.AccessToken)
			expires := c.now().UTC().Add(time.Duration(t.ExpiresIn * float64(time.Second)))
			token = access{expires.Format(expiryLayout), t.AccessToken}
			return nil
		},
	}); err != nil {
		e, _ := errors.AsType[*Error](err)
		switch e.Status {
		case http.StatusBadRequest, http.StatusForbidden, http.StatusUnprocessableEntity:
			e.Kind = KindKey
		}
		return access{}, e
	}
	return token, nil
}

// credentials is the content of the file of access tokens, with entries of others.
type credentials map[string]json.RawMessage

func readCredentials(path string) credentials {
	out := credentials{}
	b, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(b, &out) != nil || out == nil {
		return credentials{}
	}
	return out
}

func (c credentials) servers() map[string]json.RawMessage {
	out := map[string]json.RawMessage{}
	_ = json.Unmarshal(c["credentials"], &out)
	if out == nil {
		out = map[string]json.RawMessage{}
	}
	return out
}

func (c credentials) of(base string) access {
	var a access
	_ = json.Unmarshal(c.servers()[base], &a)
	return a
}

// write replaces the file atomically, readable by its owner only, if its directory
// exists.
func (c credentials) write(path, base string, token access) error {
	if path == "" {
		return nil
	}
	servers := c.servers()
	var err error
	if servers[base], err = json.Marshal(token); err != nil {
		return err
	}
	if c["credentials"], err = json.Marshal(servers); err != nil {
		return err
	}
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	// CreateTemp makes files of mode 0600.
	temp, err := os.CreateTemp(filepath.Dir(path), ".credentials-*")
	if err != nil {
		return err
	}
	_, err = temp.Write(b)
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(temp.Name())
	}
	return err
}
