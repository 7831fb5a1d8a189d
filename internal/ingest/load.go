package ingest

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/vobs/vobs/schema"
)

// vobsLoad is the last line of `vobs load`: an object with the group client, and with notes
// about it as an event has them.
const vobsLoad = "vobs load"

// maxNotes bounds the notes of validity that are taken over.
const maxNotes = 32

func isLoad(o object) bool {
	var client struct {
		Tool string `json:"tool"`
	}
	return o.has("client") && json.Unmarshal(o.keys["client"], &client) == nil && client.Tool == vobsLoad
}

func readLoad(raw json.RawMessage) (*result, error) {
	var line struct {
		Client      *schema.Client       `json:"client"`
		Validity    []schema.Validity    `json:"validity"`
		Unavailable []schema.Unavailable `json:"unavailable"`
	}
	if err := json.Unmarshal(raw, &line); err != nil {
		return nil, err
	}
	c := line.Client
	if c == nil {
		return nil, errors.New("its group client is null")
	}
	c.EngineDifferenceSeconds = nil // the run computes it
	if c.Settings == nil {
		c.Settings = map[string]any{}
	}
	r := &result{client: c, why: map[string]string{}, other: c.Tool + " did not report it"}
	for _, u := range line.Unavailable {
		if path, ok := strings.CutPrefix(u.Field, "client."); ok {
			r.missing(path, "%s", u.Reason)
		}
	}
	severities := []schema.Severity{schema.Info, schema.Warning, schema.Error}
	for _, v := range line.Validity[:min(len(line.Validity), maxNotes)] {
		if v.Code != "" && slices.Contains(severities, v.Severity) {
			r.validity = append(r.validity, v)
		}
	}
	return r, nil
}
