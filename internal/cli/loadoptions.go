package cli

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vobs/vobs/internal/load"
	"github.com/vobs/vobs/internal/slo"
)

// loadServer returns the server that the argument and the flags describe.
func loadServer(c *cli.Context) (*load.Server, error) {
	hint := "vobs load [flags] http://HOST:PORT"
	switch {
	case c.NArg() == 0:
		return nil, withHint(errors.New("no server to send the load to"), hint)
	case c.NArg() > 1:
		return nil, withHint(fmt.Errorf("unexpected argument %q", c.Args().Get(1)), hint+"; flags go in front of the URL")
	case c.IsSet("api-key-env") && c.IsSet("api-key-file"):
		return nil, errors.New("--api-key-env and --api-key-file exclude each other")
	}
	key, err := "", error(nil)
	if name := c.String("api-key-env"); name != "" {
		text, isSet := os.LookupEnv(name)
		if !isSet {
			return nil, fmt.Errorf("--api-key-env: the variable %s is not set", name)
		}
		if key, err = load.Key(text); err != nil {
			return nil, fmt.Errorf("--api-key-env: the variable %s %w", name, err)
		}
	}
	if name := c.String("api-key-file"); name != "" {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("--api-key-file: %w", err)
		}
		if key, err = load.Key(string(text)); err != nil {
			return nil, fmt.Errorf("--api-key-file: %s %w", name, err)
		}
	}
	var options load.ServerOptions
	options.Key = key
	if name := c.String("ca"); name != "" {
		if options.CA, err = readCA("--ca", name); err != nil {
			return nil, err
		}
	}
	server, err := load.NewServer(c.Args().First(), options)
	if err != nil {
		return nil, withHint(err, hint)
	}
	return server, nil
}

// loadOptions turns the flags into what is to be sent.
func loadOptions(c *cli.Context) (o *load.Options, err error) {
	o = &load.Options{
		Plan:  load.Plan{Seed: c.Uint64("seed"), SharedPrefix: c.Float64("shared-prefix"), Cancel: c.Float64("cancel"), Rate: c.Float64("rate"), Ramp: c.Duration("ramp")},
		Model: c.String("model"), Vocab: c.Int("vocab"), IgnoreEOS: c.Bool("ignore-eos"),
		Concurrency: c.Int("concurrency"), Requests: c.Int("requests"), Duration: c.Duration("duration"), Timeout: c.Duration("timeout"),
	}
	if o.Endpoint, err = load.ParseEndpoint(c.String("endpoint")); err != nil {
		return nil, fmt.Errorf("--endpoint %w", err)
	}
	if o.Arrivals, err = load.ParseArrivals(c.String("arrivals")); err != nil {
		return nil, fmt.Errorf("--arrivals %w", err)
	}
	if o.PromptTokens, err = load.ParseLengths(c.String("prompt-tokens")); err != nil {
		return nil, fmt.Errorf("--prompt-tokens %w", err)
	}
	if o.OutputTokens, err = load.ParseLengths(c.String("output-tokens")); err != nil {
		return nil, fmt.Errorf("--output-tokens %w", err)
	}
	if o.Warmup, o.WarmupTime, err = parseWarmup(c.String("warmup")); err != nil {
		return nil, err
	}
	if text := c.String("slo"); text != "" {
		if o.SLO, err = slo.Parse(text); err != nil {
			return nil, err
		}
	}
	switch {
	case !c.IsSet("concurrency") && !c.IsSet("rate") && !c.IsSet("dataset"):
		return nil, withHint(errors.New("no load is given"), "--concurrency N for a closed loop, --rate N for an open one, or --scenario")
	case c.IsSet("concurrency") && c.IsSet("rate"):
		return nil, withHint(errors.New("--concurrency and --rate exclude each other"), "the first is a closed loop, the second an open one")
	case c.IsSet("concurrency") && (o.Concurrency < 1 || o.Concurrency > 100_000):
		return nil, fmt.Errorf("--concurrency %d: use a number from 1 to 100000", o.Concurrency)
	case c.IsSet("rate") && !(o.Rate > 0 && o.Rate <= 1e6):
		return nil, fmt.Errorf("--rate %v: use a number above 0, and at most a million", o.Rate)
	case c.IsSet("arrivals") && !c.IsSet("rate"):
		return nil, errors.New("--arrivals needs --rate: requests of a closed loop follow each other, and a trace has its times")
	case c.IsSet("requests") && o.Requests < 1:
		return nil, fmt.Errorf("--requests %d: use a number from 1 on", o.Requests)
	case !(o.SharedPrefix >= 0 && o.SharedPrefix <= 1):
		return nil, fmt.Errorf("--shared-prefix %v: use a share from 0 to 1, as 0.5", o.SharedPrefix)
	case !(o.Cancel >= 0 && o.Cancel <= 1):
		return nil, fmt.Errorf("--cancel %v: use a share from 0 to 1, as 0.02", o.Cancel)
	case c.IsSet("vocab") && o.Endpoint == load.Chat:
		return nil, errors.New("--vocab makes token ids, and --endpoint chat sends text")
	case c.IsSet("vocab") && (o.Vocab < 16 || o.Vocab > 10_000_000):
		return nil, fmt.Errorf("--vocab %d: use a number from 16 to 10000000", o.Vocab)
	}
	for _, name := range []string{"ramp", "duration", "timeout"} {
		if c.IsSet(name) && c.Duration(name) <= 0 {
			return nil, fmt.Errorf("--%s %v: use a time above 0", name, c.Duration(name))
		}
	}
	if err := datasetOptions(c, o); err != nil {
		return nil, err
	}
	if o.Requests == 0 && o.Dataset == nil {
		o.Duration = cmp.Or(o.Duration, defaultDuration)
	}
	return o, nil
}

// parseWarmup reads a number of requests or a time.
func parseWarmup(text string) (requests int, duration time.Duration, err error) {
	if text == "" {
		return 0, 0, nil
	}
	if requests, err = strconv.Atoi(text); err == nil && requests >= 0 {
		return requests, 0, nil
	}
	if duration, err = time.ParseDuration(text); err == nil && duration >= 0 {
		return 0, duration, nil
	}
	return 0, 0, fmt.Errorf("--warmup %q: use a number of requests like 20, or a time like 10s", text)
}

// loadSettings returns the flags that describe the load, with their values.
func loadSettings(c *cli.Context) map[string]any {
	settings := map[string]any{}
	for _, name := range append([]string{
		"scenario", "concurrency", "rate", "arrivals", "ramp", "requests", "duration", "warmup", "prompt-tokens", "output-tokens",
		"ignore-eos", "shared-prefix", "cancel", "seed", "endpoint", "vocab", "timeout",
	}, datasetSettings...) {
		switch value := c.Value(name).(type) {
		case time.Duration:
			if name == "duration" && value == 0 && c.Int("requests") == 0 && !c.IsSet("dataset") {
				value = defaultDuration
			}
			if value > 0 {
				settings[name] = value.String()
			}
		case string:
			if value != "" && (name != "arrivals" || c.IsSet("rate")) {
				settings[name] = value
			}
		default:
			if value != 0 && value != 0.0 {
				settings[name] = value
			}
		}
	}
	return settings
}
