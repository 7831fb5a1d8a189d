package ingest

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/vobs/vobs/schema"
)

// vobsLoad is the last line of `vobs load`: an object with the group client.
const vobsLoad = "vobs load"

func isLoad(o object) bool {
	var client struct {
		Tool string `json:"tool"`
	}
	return o.has("client") && json.Unmarshal(o.keys["client"], &client) == nil && client.Tool == vobsLoad
}

func readLoad(raw json.RawMessage) (*result, error) {
	var line struct {
		Client      *schema.Client       `json:"client"`
		Unavailable []schema.Unavailable `json:"unavailable"`
	}
	if err := json.Unmarshal(raw, &line); err != nil {
		return nil, err
	}
	c := line.Client
	if c == nil {
		return nil, errors.New("its group client is null")
	}
	if c.Settings == nil {
		c.Settings = map[string]any{}
	}
	r := &result{client: c, why: map[string]string{}, other: c.Tool + " did not report it"}
	for _, u := range line.Unavailable {
		if path, ok := strings.CutPrefix(u.Field, "client."); ok {
			r.missing(path, "%s", u.Reason)
		}
	}
	return r, nil
}
