// Package run is a run of Weights & Biases made from an event. The online client and the
// offline file write it in two different wire formats, so that what `wandb sync` uploads
// later equals what is sent at once.
package run

import (
	"encoding/json"
	"time"
)

// Run is everything that W&B gets to know of one event. Whoever writes it adds what the
// wire formats need in addition (_step, _timestamp, _runtime, the _wandb keys of config and
// summary), since that depends on the run that is written to.
type Run struct {
	// ID is the run id (1 to 64 characters, none of : ; , # ? / ').
	ID string
	// Entity, Project, Group, JobType, Name and Notes may be empty: then the server
	// chooses them.
	Entity, Project, Group, JobType, Name, Notes string
	// Tags have 1 to 64 characters each.
	Tags []string
	// Host is the name of the machine.
	Host string
	// Config is the run's configuration, one item per top-level key.
	Config []Item
	// Rows are the history, oldest first.
	Rows []Row
	// Summary holds the run's last values.
	Summary []Item
	// Files are stored with the run.
	Files []File
	// StartTime and Duration are the command's.
	StartTime time.Time
	Duration  time.Duration
	// ExitCode is the command's; 128 + n if signal n killed it. W&B shows 0 as finished,
	// anything else as failed.
	ExitCode int
	// Writer names this program and its version ("vobs 1.2.3").
	Writer string
}

// Item is a key with its value. A slash in a key is part of its name; a dot would make a
// nested key.
type Item struct {
	Key  string
	JSON json.RawMessage
}

// Row is one row of the history.
type Row struct {
	Time  time.Time
	Items []Item
}

// File is a file of the run; its name is relative to the run's directory.
type File struct {
	Name    string
	Content []byte
}
