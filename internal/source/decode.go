package source

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// matrixSeries is one series of an answer.
type matrixSeries struct {
	Metric map[string]string `json:"metric"`
	Values []sample          `json:"values"`
	// Histograms are native histograms, which are not read.
	Histograms json.RawMessage `json:"histograms"`
}

// sample is the value of a series at a time in milliseconds of Unix time.
type sample struct {
	at    int64
	value float64
}

// UnmarshalJSON reads [1700000000.123,"1.5"].
func (s *sample) UnmarshalJSON(text []byte) error {
	inner, ok := strings.CutPrefix(string(text), "[")
	at, value, ok2 := strings.Cut(strings.TrimSuffix(inner, "]"), ",")
	seconds, err := strconv.ParseFloat(strings.TrimSpace(at), 64)
	if !ok || !ok2 || err != nil {
		return fmt.Errorf("sample %.40q has no time", text)
	}
	value = strings.Trim(strings.TrimSpace(value), `"`)
	if s.value, err = strconv.ParseFloat(value, 64); err != nil {
		return fmt.Errorf("sample %.40q has no value", text)
	}
	s.at = int64(math.Round(seconds * 1e3))
	return nil
}

// formatError reports that an answer is not one of the API.
type formatError struct{ err error }

func (e *formatError) Error() string {
	return "not an answer of Prometheus's HTTP API: " + e.err.Error()
}
func (e *formatError) Unwrap() error { return e.err }

// answer is what every answer of the API has beside its data.
type answer struct {
	status, errorType, message string
	warnings                   []string
}

// decodeMatrix reads an answer to a query of a range selector, series by series, and calls add with
// each. It returns the answer's warnings.
func decodeMatrix(r io.Reader, add func(matrixSeries) error) (warnings []string, err error) {
	a, err := decodeAnswer(r, func(dec *json.Decoder) error {
		return members(dec, func(key string) error {
			switch key {
			case "resultType":
				var kind string
				if err := dec.Decode(&kind); err != nil {
					return err
				}
				if kind != "matrix" {
					return fmt.Errorf("the result is a %s, not a matrix", kind)
				}
				return nil
			case "result":
				return elements(dec, func() error {
					var s matrixSeries
					if err := dec.Decode(&s); err != nil {
						return err
					}
					return add(s)
				})
			}
			return skip(dec)
		})
	})
	return a.warnings, err
}

// decodeStrings reads an answer whose data are strings.
func decodeStrings(r io.Reader) (out []string, err error) {
	_, err = decodeAnswer(r, func(dec *json.Decoder) error { return dec.Decode(&out) })
	return out, err
}

// decodeAnswer reads an answer; data reads its data.
func decodeAnswer(r io.Reader, data func(*json.Decoder) error) (a answer, err error) {
	dec := json.NewDecoder(r)
	err = members(dec, func(key string) error {
		switch key {
		case "status":
			return dec.Decode(&a.status)
		case "errorType":
			return dec.Decode(&a.errorType)
		case "error":
			return dec.Decode(&a.message)
		case "warnings":
			return dec.Decode(&a.warnings)
		case "data":
			return data(dec)
		}
		return skip(dec)
	})
	status := http.StatusOK
	if l, ok := r.(*limitedReader); ok {
		status = l.status
	}
	var own *ownError
	switch {
	case errors.Is(err, errTooLong):
		return a, errTooLong
	case errors.As(err, &own):
		return a, own.err
	case a.status == "error":
		return a, &APIError{Status: status, Type: a.errorType, Message: a.message}
	case err != nil:
		return a, &formatError{err}
	case a.status != "success" || status != http.StatusOK:
		return a, &formatError{fmt.Errorf("its status is %q", a.status)}
	}
	return a, nil
}

// ownError is an error that is not about the answer's form.
type ownError struct{ err error }

func (e *ownError) Error() string { return e.err.Error() }

// members reads an object, or null, and calls value with each key, which must read the value.
func members(dec *json.Decoder, value func(key string) error) error {
	if null, err := begin(dec, '{'); null || err != nil {
		return err
	}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		key, ok := token.(string)
		if !ok {
			return fmt.Errorf("expected a key, found %v", token)
		}
		if err := value(key); err != nil {
			return err
		}
	}
	_, err := dec.Token() // the }
	return err
}

// elements reads an array, or null, and calls element for each element, which must read it.
func elements(dec *json.Decoder, element func() error) error {
	if null, err := begin(dec, '['); null || err != nil {
		return err
	}
	for dec.More() {
		if err := element(); err != nil {
			return err
		}
	}
	_, err := dec.Token() // the ]
	return err
}

// begin reads the beginning of an object or array, or null.
func begin(dec *json.Decoder, want json.Delim) (null bool, err error) {
	switch token, err := dec.Token(); {
	case err != nil:
		return false, err
	case token == nil:
		return true, nil
	case token != want:
		return false, fmt.Errorf("expected %v, found %v", want, token)
	}
	return false, nil
}

func skip(dec *json.Decoder) error {
	var ignored json.RawMessage
	return dec.Decode(&ignored)
}
