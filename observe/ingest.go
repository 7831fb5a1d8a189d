package observe

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/internal/ingest"
	"github.com/vobs/vobs/schema"
)

const (
	// ingestTimeout bounds the reading of the load generator's result.
	ingestTimeout = time.Second
	// mtimeSlack is by how much a file's time of modification may be before the clock: the
	// kernel takes it from its last tick, which is 10 ms ago at most (CONFIG_HZ=100).
	mtimeSlack = 20 * time.Millisecond
)

// readResult reads the load generator's result, which the command has written. Without one it
// warns, and returns nil and the reason.
func (r *run) readResult() (*schema.Client, schema.Notes) {
	var notes schema.Notes
	if r.cfg.Ingest == "" {
		return nil, notes
	}
	client, read, err := r.parseResult(r.cfg.Ingest)
	if err != nil {
		r.cfg.Warn(fmt.Sprintf("--ingest: %v", err))
		notes.Missing("client", err.Error())
		return nil, notes
	}
	return client, read
}

func (r *run) parseResult(file string) (*schema.Client, schema.Notes, error) {
	data, err := bounded.Call(file, ingestTimeout, func() ([]byte, error) { return readNewFile(file, r.startedAt) })
	if err != nil {
		return nil, schema.Notes{}, err
	}
	client, notes, err := ingest.Parse(data, r.startedAt)
	if err != nil {
		return nil, schema.Notes{}, fmt.Errorf("%s: %w", file, err)
	}
	return client, notes, nil
}

// readNewFile reads a file that has been written since the run's start.
func readNewFile(file string, start time.Time) ([]byte, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s does not exist: the command wrote no result there", file)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", file)
	case info.ModTime().Before(start.Add(-mtimeSlack)):
		return nil, fmt.Errorf("%s is from before the run: the command did not write it", file)
	case info.Size() > ingest.MaxBytes:
		return nil, fmt.Errorf("%s: %w", file, ingest.TooLarge(info.Size()))
	}
	return io.ReadAll(io.LimitReader(f, ingest.MaxBytes+1)) // it may still grow
}

// redactClient removes secrets from the texts that a load generator wrote.
func (r *run) redactClient(c *schema.Client) {
	if c == nil {
		return
	}
	for name, value := range c.Settings {
		c.Settings[name] = r.redactSetting(value)
	}
	if c.Requests == nil || c.Requests.Failed == nil {
		return
	}
	failed := map[string]int64{}
	for kind, n := range c.Requests.Failed {
		failed[r.redactor.Text(kind)] += n
	}
	c.Requests.Failed = failed
}

// redactSetting returns a setting, which may be a list or an object, without secrets.
func (r *run) redactSetting(value any) any {
	switch v := value.(type) {
	case string:
		return r.redactor.Text(v)
	case []any:
		for i := range v {
			v[i] = r.redactSetting(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = r.redactSetting(v[name])
		}
	}
	return value
}
