package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Kind classifies failures by what can be done about them.
type Kind int

// The kinds of failure.
const (
	KindNetwork   Kind = iota // no connection, or it broke
	KindTimeout               // no response in time
	KindProxy                 // the proxy cannot be reached, or refuses
	KindTLS                   // the server's certificate is not trusted
	KindAddress               // the address cannot be used
	KindRedirect              // the server redirects
	KindKey                   // 401: the key is not known
	KindForbidden             // 403: the key has no permission
	KindNotFound              // 404, 410: no such run, project or entity; or no W&B server
	KindConflict              // 409: another writer was faster
	KindTooLarge              // 413
	KindRate                  // 429
	KindRejected              // any other 4xx, and errors that GraphQL reports under 200
	KindServer                // 5xx
	KindResponse              // a response that W&B would not send
	KindInput                 // the data cannot be sent
	KindContext               // the context ended
)

// Error is a request that failed for good. Its text says what was tried and what can be
// done; it never contains a secret.
type Error struct {
	Kind Kind
	// Op is the operation: UpsertBucket, RunResumeStatus, CreateRunFiles, file_stream,
	// "upload of NAME" or "token exchange".
	Op string
	// URL is the address, without user information and query.
	URL string
	// Status is the HTTP status, 0 if there was no response.
	Status int
	// Detail is the message of the server or the system.
	Detail string
	// Tries is how often the request was sent.
	Tries int
	// Progress is what had reached the server when an upload of several steps failed.
	Progress string

	retry      bool
	waitGiven  bool // the server set the time to wait
	retryAfter time.Duration
	tooLate    time.Duration // the pause for which there was no time
	cause      error         // only a context's error: others quote addresses
}

// Temporary reports whether the same request may succeed later.
func (e *Error) Temporary() bool { return e.retry }

// Unwrap returns the context's error if that ended the request.
func (e *Error) Unwrap() error { return e.cause }

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.problem())
	if e.Op != "" {
		fmt.Fprintf(&b, " (%s", e.Op)
		if e.URL != "" {
			fmt.Fprintf(&b, " at %s", e.URL)
		}
		if e.Status != 0 {
			fmt.Fprintf(&b, ": HTTP %d", e.Status)
		}
		if e.Tries > 1 {
			fmt.Fprintf(&b, ", tried %d times", e.Tries)
		}
		b.WriteString(")")
	}
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	if e.tooLate > 0 {
		fmt.Fprintf(&b, "; the next try is due in %v, but less time is left", e.tooLate.Round(100*time.Millisecond))
	}
	if e.Progress != "" {
		b.WriteString("; " + e.Progress)
	}
	if hint := e.Hint(); hint != "" {
		b.WriteString("; " + hint)
	}
	return b.String()
}

func (e *Error) problem() string {
	switch e.Kind {
	case KindTimeout:
		return "W&B did not answer in time"
	case KindProxy:
		return "the proxy to W&B failed"
	case KindTLS:
		return "the certificate of the W&B server is not trusted"
	case KindAddress:
		return "the address of W&B cannot be used"
	case KindRedirect:
		return "the W&B server redirects to another address"
	case KindKey:
		return "W&B does not know the key"
	case KindForbidden:
		return "W&B does not allow this"
	case KindNotFound:
		return "W&B does not find the run, project or entity"
	case KindConflict:
		return "another program writes to the same run of W&B"
	case KindTooLarge:
		return "W&B does not accept a request of this size"
	case KindRate:
		return "W&B limits the rate of requests"
	case KindRejected:
		return "W&B refused"
	case KindServer:
		return "the W&B server failed"
	case KindResponse:
		return "the response is not from a W&B server, or vobs does not understand it"
	case KindInput:
		return "this cannot be sent to W&B"
	case KindContext:
		if errors.Is(e.cause, context.DeadlineExceeded) {
			return "there was no time left for W&B"
		}
		return "the upload to W&B was stopped"
	}
	return "W&B cannot be reached"
}

// Hint returns what a user can do, "" if nothing.
func (e *Error) Hint() string {
	switch e.Kind {
	case KindNetwork, KindTimeout:
		return "check the network, WANDB_BASE_URL and the proxies (HTTPS_PROXY)"
	case KindProxy:
		return "check WANDB_HTTPS_PROXY, HTTPS_PROXY and NO_PROXY"
	case KindTLS:
		return "add the server's CA to SSL_CERT_FILE, or set WANDB_INSECURE_DISABLE_SSL=true"
	case KindAddress, KindRedirect, KindResponse:
		return "check WANDB_BASE_URL (the default is https://api.wandb.ai) and the proxies"
	case KindKey:
		return "check WANDB_API_KEY or the netrc file, or run `wandb login`; a key belongs to one server (WANDB_BASE_URL)"
	case KindForbidden:
		return "check that the key may write to the entity and project (WANDB_ENTITY, WANDB_PROJECT)"
	case KindNotFound:
		return "check WANDB_ENTITY, WANDB_PROJECT and WANDB_BASE_URL"
	case KindRate:
		return "send the event later: `vobs wandb FILE`"
	}
	return ""
}

// authError turns an error of an Auth into an Error of the request that it was for.
func authError(err error, of *Error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		// The token exchange has been retried already.
		e.retry = false
		return e
	}
	of.Kind, of.Detail = KindKey, err.Error()
	return of
}

// contextEnded returns the error for a context that ended while e was tried.
func (e *Error) contextEnded(cause error) *Error {
	if errors.Is(cause, context.DeadlineExceeded) && e.Kind != KindTimeout && e.Kind != KindContext && e.Detail != "" {
		// The last failure says more than that time ran out.
		e.Detail = "last: " + e.Detail
	} else {
		e.Detail = ""
	}
	e.Kind, e.cause, e.retry, e.Status = KindContext, cause, false, 0
	return e
}

// transportFailed sets what kept a request from getting a response.
func (e *Error) transportFailed(err error, ctx context.Context, timeout time.Duration) *Error {
	e.Detail, e.retry = innermost(err), true
	op, _ := errors.AsType[*net.OpError](err)
	refusal, refused := errors.AsType[proxyRefusal](err)
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, host := errors.AsType[x509.HostnameError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	_, verify := errors.AsType[*tls.CertificateVerificationError](err)
	_, noTLS := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case refused:
		e.Kind, e.retry = KindProxy, refusal >= 500 || refusal == http.StatusTooManyRequests
	case op != nil && op.Op == "proxyconnect":
		e.Kind = KindProxy
	case ctx.Err() != nil, isTimeout(err):
		e.Kind, e.Detail = KindTimeout, fmt.Sprintf("no response within %v", timeout)
	case unknown, host, invalid, verify:
		e.Kind, e.retry = KindTLS, false
	case noTLS, errors.Is(err, http.ErrSchemeMismatch):
		e.Kind, e.retry, e.Detail = KindAddress, false, "the server does not speak TLS: http:// instead of https://?"
	case strings.Contains(err.Error(), "unsupported protocol scheme"), strings.Contains(err.Error(), "no Host in request URL"):
		e.Kind, e.retry = KindAddress, false
	case strings.Contains(err.Error(), "invalid header field"):
		e.Kind, e.retry = KindInput, false
	case strings.Contains(err.Error(), "malformed HTTP"):
		e.Kind, e.retry = KindResponse, false
	default:
		e.Kind = KindNetwork
	}
	return e
}

// proxyRefusal is the status with which a proxy refused to connect.
type proxyRefusal int

func (r proxyRefusal) Error() string {
	return strings.TrimSpace(fmt.Sprintf("it refuses to connect: HTTP %d %s", int(r), http.StatusText(int(r))))
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// innermost returns the text of an error without the layers that quote the address.
func innermost(err error) string {
	var url interface{ Unwrap() error }
	for errors.As(err, &url) {
		inner := url.Unwrap()
		if inner == nil {
			break
		}
		// Keep the text of a failed connection whole: "dial tcp 127.0.0.1:1: connect: connection refused".
		if _, ok := err.(*net.OpError); ok {
			break
		}
		err = inner
	}
	return err.Error()
}

// statusFailed sets what an unsuccessful status means. Which ones are retried is the
// SDK's policy (wandb/core/internal/clients/retrypolicies.go).
func (e *Error) statusFailed(a response, now time.Time) {
	e.Status, e.Detail = a.status, responseMessage(a)
	switch {
	case a.status >= 300 && a.status <= 399:
		e.Kind, e.Detail = KindRedirect, ""
		if to := a.header.Get("Location"); to != "" {
			e.Detail = "to " + cleanURL(to)
		}
	case a.status == http.StatusUnauthorized:
		e.Kind = KindKey
	case a.status == http.StatusForbidden:
		e.Kind = KindForbidden
	case a.status == http.StatusNotFound, a.status == http.StatusGone:
		e.Kind = KindNotFound
	case a.status == http.StatusProxyAuthRequired:
		e.Kind = KindProxy
	case a.status == http.StatusConflict:
		e.Kind = KindConflict
	case a.status == http.StatusRequestEntityTooLarge:
		e.Kind = KindTooLarge
	case a.status == http.StatusTooManyRequests:
		e.Kind, e.retry = KindRate, true
	case a.status == http.StatusNotImplemented:
		e.Kind = KindServer
	case a.status >= 500:
		e.Kind, e.retry = KindServer, true
	case a.status == http.StatusBadRequest, a.status == http.StatusUnprocessableEntity, a.status < 400:
		e.Kind = KindRejected
	default: // 408, 425 and similar
		e.Kind, e.retry = KindRejected, true
	}
	if e.retry {
		e.retryAfter, e.waitGiven = retryAfter(a.header.Get("Retry-After"), now)
	}
}

// retryAfter parses a Retry-After header: seconds, or a date (RFC 9110, 10.2.3).
func retryAfter(s string, now time.Time) (time.Duration, bool) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, false
	}
	if n, err := strconv.ParseFloat(s, 64); err == nil && n >= 0 && n < 1e9 {
		return time.Duration(n * float64(time.Second)), true
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(0, t.Sub(now)), true
	}
	return 0, false
}

// responseMessage returns the error message of a response, in any of the forms in use:
// {"errors":[{"message"}]}, {"error":"…"}, {"error":{"message"}}, plain text.
func responseMessage(a response) string {
	if text, ok := jsonError(a.body); ok {
		return text
	}
	text := strings.TrimSpace(string(a.body[:min(len(a.body), 4096)]))
	switch {
	case text == "":
		return ""
	case strings.HasPrefix(text, "<"):
		return "an HTML page"
	}
	return oneLine(text)
}

// jsonError returns the message of a JSON response that reports an error.
func jsonError(body []byte) (string, bool) {
	var a struct {
		Error  json.RawMessage
		Errors []json.RawMessage
	}
	if json.Unmarshal(body, &a) != nil {
		return "", false
	}
	var texts []string
	for _, raw := range append([]json.RawMessage{a.Error}, a.Errors...) {
		if len(raw) == 0 || string(raw) == "null" {
			continue
		}
		var text string
		var object struct{ Message string }
		switch {
		case json.Unmarshal(raw, &text) == nil:
		case json.Unmarshal(raw, &object) == nil && object.Message != "":
			text = object.Message
		default:
			text = string(raw)
		}
		if text != "" {
			texts = append(texts, oneLine(text))
		}
	}
	if len(texts) == 0 {
		return "", len(a.Errors) > 0 || (len(a.Error) > 0 && string(a.Error) != "null")
	}
	return oneLine(strings.Join(slices.Compact(texts), "; ")), true
}

// oneLine makes foreign text safe for a terminal: no line breaks, no escapes.
func oneLine(s string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))), " ")
}

// shorten cuts a text to what fits into a warning. Secrets have been removed before: half
// a key would not be recognized.
func shorten(s string) string {
	const most = 300
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && s[cut]&0xC0 == 0x80 {
		cut--
	}
	return s[:cut] + "…"
}

// scrub removes secrets from all texts, the longest first: one may contain another.
func (e *Error) scrub(secrets []string) {
	secrets = slices.Clone(secrets)
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	for _, secret := range secrets {
		// A short word ("true" as a header's value) occurs in many texts and is no secret.
		if len(secret) < 6 {
			continue
		}
		for _, text := range []*string{&e.Detail, &e.URL, &e.Op, &e.Progress} {
			*text = strings.ReplaceAll(*text, secret, "[redacted]")
		}
	}
	e.Detail = shorten(e.Detail)
}
