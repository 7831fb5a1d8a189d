// Package run is one run of Weights & Biases as vobs writes it: what the
// online client and the offline file say in two different wire formats, so that
// what `wandb sync` uploads later equals what is sent at once.
package run

import (
	"encoding/json"
	"time"
)

// Run is everything that one event says to W&B. What the wire formats need
// beside it (_step, _timestamp, _runtime, the _wandb keys of config and summary)
// is added by whoever writes it, for it depends on the run that is written to.
type Run struct {
	// ID is the run id (1 to 64 characters, none of : ; , # ? / ').
	ID string
	// Entity, Project, Group, JobType, Name and Notes are empty where nobody gave
	// them: the server decides then.
	Entity, Project, Group, JobType, Name, Notes string
	// Tags have 1 to 64 characters each.
	Tags []string
	// Host is the name of the machine of the run.
	Host string
	// Config are the run's settings, one item per top-level key.
	Config []Item
	// Rows are the history, oldest first.
	Rows []Row
	// Summary are the run's last values.
	Summary []Item
	// Files are kept with the run.
	Files []File
	// StartTime and Duration are the command's.
	StartTime time.Time
	Duration  time.Duration
	// ExitCode is the command's; 128 + n where signal n ended it. W&B shows 0 as
	// finished, all else as failed.
	ExitCode int
	// Writer names this program and its version ("vobs 1.2.3").
	Writer string
}

// Item is one key with its value. A slash in a key is part of its name; a dot
// would be read as a nested key.
type Item struct {
	Key  string
	JSON json.RawMessage
}

// Row is one line of the history.
type Row struct {
	Time  time.Time
	Items []Item
}

// File is a file of the run; its name is relative to the run's folder.
type File struct {
	Name    string
	Content []byte
}
