package source

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Prometheus is a server with Prometheus's HTTP API
// (https://prometheus.io/docs/prometheus/latest/querying/api/), such as Prometheus itself, Thanos's
// querier, Mimir or VictoriaMetrics.
type Prometheus struct {
	url    *url.URL
	header http.Header
	// user and password are those of basic authentication; user is "" without.
	user, password string
	client         *http.Client
	// maxAnswer bounds an answer, in bytes; maxSamples bounds all samples of a window.
	maxAnswer  int64
	maxSamples int
}

// Access is how requests are authenticated and servers verified. The zero value sends no
// credentials and uses the system's certificates.
type Access struct {
	// Header is sent with every request: X-Scope-OrgID, for example.
	Header http.Header
	// TokenFile holds a bearer token, BasicAuthFile USER:PASSWORD. At most one of them is set.
	TokenFile, BasicAuthFile string
	// CA verifies https servers; nil means the system's certificates.
	CA *x509.CertPool
}

const (
	// queryTimeout bounds one request. Prometheus itself gives up after two minutes
	// (--query.timeout).
	queryTimeout = 2 * time.Minute
	// maxAnswer bounds an answer of the API. A window with a longer one is read in parts.
	maxAnswer = 256 << 20
	// maxSamples bounds the samples of a window, which are kept in memory: 16 bytes each.
	maxSamples = 20 << 20
)

// NewPrometheus returns the client of a server at an address, to which the paths of the API are
// appended.
func NewPrometheus(address string, access Access) (*Prometheus, error) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil { // url.Error repeats the address, which may contain a password
		return nil, errors.New("not a valid URL: use http://HOST:PORT")
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("%s: use http://HOST:PORT or https://HOST:PORT", u.Redacted())
	}
	p := &Prometheus{url: u, header: access.Header.Clone(), maxAnswer: maxAnswer, maxSamples: maxSamples}
	if p.header == nil {
		p.header = http.Header{}
	}
	switch {
	case access.TokenFile != "" && access.BasicAuthFile != "":
		return nil, errors.New("a bearer token and basic authentication exclude each other")
	case access.TokenFile != "":
		token, err := readSecret(access.TokenFile)
		if err != nil {
			return nil, err
		}
		p.header.Set("Authorization", "Bearer "+token)
	case access.BasicAuthFile != "":
		text, err := readSecret(access.BasicAuthFile)
		if err != nil {
			return nil, err
		}
		user, password, ok := strings.Cut(text, ":")
		if !ok || user == "" {
			return nil, fmt.Errorf("%s is not of the form USER:PASSWORD", access.BasicAuthFile)
		}
		p.user, p.password = user, password
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if access.CA != nil {
		transport.TLSClientConfig = &tls.Config{RootCAs: access.CA}
	}
	p.client = &http.Client{Transport: transport}
	return p, nil
}

// maxSecret bounds a file with a secret, in bytes.
const maxSecret = 1 << 20

// readSecret reads a file of one line. Errors do not quote it.
func readSecret(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" || strings.ContainsAny(secret, "\r\n\x00") {
		return "", fmt.Errorf("%s does not have exactly one line", file)
	}
	return secret, nil
}

// Name returns the address without user info.
func (p *Prometheus) Name() string {
	u := *p.url
	u.User, u.RawQuery = nil, ""
	return u.String()
}

// APIError is an error that the server returned.
type APIError struct {
	// Status is the HTTP status, Type and Message are the answer's errorType and error; "" if the
	// answer is not one of the API.
	Status        int
	Type, Message string
}

func (e *APIError) Error() string {
	text := strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status)))
	if e.Message == "" {
		return text + ", and no error message of the HTTP API: is this the address of a Prometheus server?"
	}
	if e.Type != "" {
		text += ", " + e.Type
	}
	return text + ": " + e.Message
}

// tooMuch reports whether a shorter window may do: a limit of the server's is exceeded
// (--query.max-samples of Prometheus; the limits of Mimir and VictoriaMetrics), or the answer is
// too long.
func tooMuch(err error) bool {
	var api *APIError
	if errors.As(err, &api) {
		text := strings.ToLower(api.Message)
		return strings.Contains(text, "too many samples") || strings.Contains(text, "too many points") || strings.Contains(text, "exceed") || strings.Contains(text, "limit")
	}
	return errors.Is(err, errTooLong)
}

var errTooLong = fmt.Errorf("the answer is longer than %d MiB", maxAnswer>>20)

// request sends a request to a path of the API, and calls decode with the answer's body. A POST
// takes queries of any length; where only GET is allowed, the request is repeated with GET.
func (p *Prometheus) request(ctx context.Context, path string, form url.Values, decode func(io.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	resp, err := p.send(ctx, http.MethodPost, path, form)
	if err == nil && resp.StatusCode == http.StatusMethodNotAllowed {
		resp.Body.Close()
		resp, err = p.send(ctx, http.MethodGet, path, form)
	}
	if err != nil {
		return fmt.Errorf("Prometheus at %s: %w", p.Name(), err)
	}
	defer resp.Body.Close()
	if err := decode(&limitedReader{r: resp.Body, left: p.maxAnswer, status: resp.StatusCode}); err != nil {
		var notJSON *formatError
		if errors.As(err, &notJSON) && resp.StatusCode != http.StatusOK {
			err = &APIError{Status: resp.StatusCode}
		}
		return fmt.Errorf("Prometheus at %s: %w", p.Name(), err)
	}
	return nil
}

func (p *Prometheus) send(ctx context.Context, method, path string, form url.Values) (*http.Response, error) {
	u := p.url.JoinPath(path)
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(form.Encode())
	} else {
		u.RawQuery = form.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	for name, values := range p.header {
		req.Header[name] = values
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if p.user != "" {
		req.SetBasicAuth(p.user, p.password)
	}
	resp, err := p.client.Do(req)
	if urlErr := (*url.Error)(nil); errors.As(err, &urlErr) {
		err = urlErr.Err // without the URL, which has the query
	}
	return resp, err
}

// limitedReader is an answer's body with a bound.
type limitedReader struct {
	r      io.Reader
	left   int64
	status int
}

func (l *limitedReader) Read(b []byte) (int, error) {
	if l.left <= 0 {
		return 0, errTooLong
	}
	n, err := l.r.Read(b[:min(int64(len(b)), l.left)])
	l.left -= int64(n)
	return n, err
}

// jobs returns the jobs that have metrics of vLLM between two times.
func (p *Prometheus) jobs(ctx context.Context, from, to time.Time) (jobs []string, err error) {
	form := url.Values{
		"match[]": {`{__name__=~"(ray_)?vllm[:_]num_requests_running"}`},
		"start":   {unixText(from)}, "end": {unixText(to)},
	}
	err = p.request(ctx, "api/v1/label/job/values", form, func(r io.Reader) error {
		jobs, err = decodeStrings(r)
		return err
	})
	return jobs, err
}

// unixText formats a time as the API takes it, in seconds.
func unixText(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1e3, 'f', 3, 64)
}
