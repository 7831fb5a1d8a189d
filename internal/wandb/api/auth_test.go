package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/wandb/wandbtest"
)

const jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSJ9.signature"

func tokenFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "jwt")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestIdentityToken(t *testing.T) {
	b := newBench(t)
	b.backend.JWT = jwt
	credentials := filepath.Join(t.TempDir(), "credentials.json")
	if err := os.WriteFile(credentials, []byte(`{"other":1,"credentials":{"https://x":{"expires_at":"2020-01-01 00:00:00","access_token":"old"}}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	exchanges := func() (n int) {
		for _, op := range b.backend.Ops() {
			if op == "oidc/token" {
				n++
			}
		}
		return n
	}
	send := func() {
		t.Helper()
		c := b.client(t)
		c.Auth = IdentityToken(tokenFile(t, jwt+"\n"), credentials)
		if _, err := c.Send(context.Background(), event(), Target{}); err != nil {
			t.Fatal(err)
		}
	}
	send()
	want(t, "exchanges", exchanges(), 1)
	for _, r := range b.backend.Requests() {
		switch {
		case r.Op == "oidc/token":
			want(t, "form", string(r.Body), "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion="+jwt)
			want(t, "authorization", r.Header.Get("Authorization"), "")
		case r.Op != "PUT":
			want(t, "authorization", r.Header.Get("Authorization"), "Bearer access-token-1")
		}
	}
	// The file is one that the SDK reads: its token is used the next time.
	var file struct {
		Other       int
		Credentials map[string]map[string]string
	}
	text, err := os.ReadFile(credentials)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	want(t, "kept", fmt.Sprint(file.Other)+" "+file.Credentials["https://x"]["access_token"], "1 old")
	want(t, "token", fmt.Sprint(file.Credentials[b.server.URL]), "map[access_token:access-token-1 expires_at:2026-11-22 11:01:31]")
	info, err := os.Stat(credentials)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "mode", info.Mode(), 0o600)
	left, err := os.ReadDir(filepath.Dir(credentials))
	if err != nil {
		t.Fatal(err)
	}
	want(t, "files", len(left), 1)

	send()
	want(t, "exchanges", exchanges(), 1)
	// A token with five minutes left is not used.
	b.clock.t = b.clock.t.Add(55 * time.Minute)
	send()
	want(t, "exchanges", exchanges(), 2)
}

func TestIdentityTokenFails(t *testing.T) {
	for name, c := range map[string]struct {
		file  string
		fault *wandbtest.Fault
		kind  Kind
		text  string
		tries int
	}{
		"no file":      {file: "/nonexistent/jwt", kind: KindKey, text: "WANDB_IDENTITY_TOKEN_FILE"},
		"empty file":   {file: tokenFile(t, " \n"), kind: KindKey, text: "is empty"},
		"not known":    {file: tokenFile(t, "another.token.entirely"), kind: KindKey, text: "invalid_grant", tries: 1},
		"forbidden":    {file: tokenFile(t, jwt), fault: &wandbtest.Fault{Status: 403, Body: jwt}, kind: KindKey, text: "[redacted]", tries: 1},
		"no token":     {file: tokenFile(t, jwt), fault: &wandbtest.Fault{Body: `{}`}, kind: KindResponse, text: "no access token", tries: 1},
		"server fails": {file: tokenFile(t, jwt), fault: &wandbtest.Fault{Status: 502, Body: jwt}, kind: KindServer, text: "token exchange", tries: 4},
		"408 is final": {file: tokenFile(t, jwt), fault: &wandbtest.Fault{Status: 408}, kind: KindRejected, text: "HTTP 408", tries: 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.backend.JWT = jwt
			if c.fault != nil {
				c.fault.Op = "oidc/token"
				b.backend.Fail(*c.fault)
			}
			b.Auth = IdentityToken(c.file, "/nonexistent/folder/credentials.json")
			_, err := b.Send(context.Background(), event(), Target{})
			e, ok := errors.AsType[*Error](err)
			if !ok {
				t.Fatalf("got %v", err)
			}
			want(t, "kind", e.Kind, c.kind)
			if !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %q, want %q in it", err, c.text)
			}
			want(t, "exchanges", len(slices.DeleteFunc(b.backend.Ops(), func(op string) bool { return op != "oidc/token" })), c.tries)
			noSecrets(t, err.Error(), jwt, "another.token.entirely")
		})
	}
}

// A faulty credentials file only costs a token exchange.
func TestFaultyCredentialsFile(t *testing.T) {
	for _, content := range []string{"", "null", "[]", `{"credentials":null}`, `{"credentials":[]}`, `{"credentials":{"URL":"x"}}`,
		`{"credentials":{"URL":{"expires_at":"tomorrow","access_token":"access-token-9"}}}`} {
		b := newBench(t)
		b.backend.JWT = jwt
		file := tokenFile(t, strings.ReplaceAll(content, "URL", b.server.URL))
		b.Auth = IdentityToken(tokenFile(t, jwt), file)
		if _, err := b.Send(context.Background(), event(), Target{}); err != nil {
			t.Errorf("%s: %v", content, err)
		}
		if got := readCredentials(file).of(b.server.URL); got.AccessToken != "access-token-1" {
			t.Errorf("%s became %+v", content, got)
		}
	}
}

// No way of printing shows the key.
func TestKeyNotPrinted(t *testing.T) {
	key := APIKey(wandbtest.Key)
	text, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	c := &Client{Auth: key}
	noSecrets(t, fmt.Sprintf("%v %s %q %+v %#v %s %+v", key, key, key, key, key, text, c))

	b := newBench(t)
	b.Auth = APIKey(wandbtest.Key + "\nHost: x")
	_, err = b.Send(context.Background(), event(), Target{})
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Kind != KindKey || !strings.Contains(err.Error(), "line break") {
		t.Errorf("got %v", err)
	}
	noSecrets(t, err.Error())
	want(t, "requests", len(b.backend.Requests()), 0)
}

// A secret that is longer than a message is not shown in part.
func TestLongSecrets(t *testing.T) {
	b := newBench(t)
	b.backend.Fail(wandbtest.Fault{Status: 400, Body: strings.Repeat("é", 140) + " " + wandbtest.Key + strings.Repeat(" more", 2000)})
	_, err := b.Send(context.Background(), event(), Target{})
	if err == nil || len(err.Error()) > 600 {
		t.Errorf("got %v", err)
	}
	noSecrets(t, err.Error())
}
