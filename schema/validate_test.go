package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestExampleIsValid(t *testing.T) {
	for _, strict := range []bool{false, true} {
		if problems := Validate(example(t), Options{Strict: strict}); problems != nil {
			t.Errorf("strict %v:\n%s", strict, texts(problems))
		}
		events, problems, err := ValidateStream(bytes.NewReader(example(t)), Options{Strict: strict})
		if events != 1 || problems != nil || err != nil {
			t.Errorf("as a stream, strict %v: %d events, %v\n%s", strict, events, err, texts(problems))
		}
	}
	if u := UnexplainedNulls(exampleEvent(t)); u != nil {
		t.Errorf("unexplained: %v", u)
	}
}

// Each edit of the example causes exactly the problems listed: line, path and
// message. The line is that of the text in `at`.
func TestFullEvent(t *testing.T) {
	for _, c := range []struct {
		name     string
		old, new string
		at       string // "" for the new text
		want     string // problems without their line
		strict   bool
	}{
		{name: "wrong type", old: `"uuid": "GPU-8f6a3c1e-0d2b-4a77-9f57-5c1a3b0e9d42"`, new: `"uuid": 7`,
			want: `gpus.0.uuid: expected string, found 7`},
		{name: "wrong type where null is allowed", old: `"driver_version": "580.82.07"`, new: `"driver_version": {}`,
			want: `gpus.0.driver_version: expected string or null, found an object`},
		{name: "wrong type of a group that may be null", old: `{"cpu_seconds": 0.71, "max_rss_bytes": 17825792}`, new: `"cheap"`, at: `"overhead"`,
			want: `overhead: expected object or null, found the string "cheap"`},
		{name: "null where it is not allowed", old: `"hostname": "bench-07"`, new: `"hostname": null`,
			want: `run.hostname: expected string, found null`},
		{name: "fraction of an integer", old: `"cpu_count": 64`, new: `"cpu_count": 64.5`,
			want: `host.cpu_count: expected integer or null, found 64.5`},
		{name: "integer with an empty fraction", old: `"cpu_count": 64`, new: `"cpu_count": 6.4e1`},
		{name: "enum", old: `"memory_api": "v2"`, new: `"memory_api": "v3"`,
			want: `gpus.0.memory_api: expected one of v1, v2 or null, found the string "v3"`},
		{name: "enum that may not be null", old: `"base": "scraped"`, new: `"base": "guessed"`,
			want: `engine.window.base: expected one of scraped, zero or files, found the string "guessed"`},
		{name: "three averages", old: `[0.52, 0.58, 0.59]`, new: `[0.52, 0.58]`,
			want: `loadavg_pre: expected 3 elements, found 2`},
		{name: "key missing", old: "      \"name\": \"NVIDIA H100 80GB HBM3\",\n", new: "", at: "    {\n      \"index\"",
			want: `gpus.0.name: the key is missing`},
		{name: "core key missing", old: `  "peak_vram_gb": 70.875,` + "\n", new: "", at: "{",
			want: `peak_vram_gb: the key is missing`},
		{name: "schema_version missing", old: `  "schema_version": 1,` + "\n", new: "", at: "{",
			want: `schema_version: the key is missing`},
		{name: "schema_version of no vobs", old: `"schema_version": 1`, new: `"schema_version": 0`,
			want: `schema_version: expected 1, found 0`},
		{name: "schema_version of a newer vobs", old: `"schema_version": 1`, new: `"schema_version": 2, "more": null`,
			want: `schema_version: written by a newer vobs, which is needed to check it: expected schema_version 1, found 2`},
		{name: "unknown key", old: `"index": 0`, new: `"index": 0, "colour": "green"`,
			want: `warning: gpus.0.colour: unknown key, ignored: this version of vobs does not know it`},
		{name: "unknown key, strict", old: `"index": 0`, new: `"index": 0, "colour": "green"`, strict: true,
			want: `gpus.0.colour: unknown key`},
		{name: "unknown key that is null", old: `"index": 0`, new: `"index": 0, "colour": null`,
			want: `warning: gpus.0.colour: unknown key, ignored: this version of vobs does not know it`},
		{name: "unknown setting in the core", old: `"max_num_seqs": 128,`, new: `"max_num_seqs": 128, "dtype": "half",`,
			want: `engine_runtime_config.dtype: unknown key`},
		{name: "null without a reason", old: `"driver_version": "580.82.07"`, new: `"driver_version": null`,
			want: `gpus.0.driver_version: null without a reason: expected an entry in unavailable for it or for a group above it`},
		{name: "a reason for a longer name does not count", old: `"field": "omni"`, new: `"field": "omni_"`, at: "\"omni\": null",
			want: "omni: null without a reason: expected an entry in unavailable for it or for a group above it\n" +
				`warning: unavailable.12.field: "omni_" does not exist in the event`},
		{name: "exit code without a reason", old: `"exit_code": 0`, new: `"exit_code": null`,
			want: `run.exit_code: null without a reason: expected an entry in unavailable for it or for a group above it`},
		{name: "exit code of a killed command", old: "\"exit_code\": 0,\n    \"signal\": null", new: "\"exit_code\": null,\n    \"signal\": \"SIGKILL\""},
		{name: "exit code of a command that never started", old: "\"exit_code\": 0,\n    \"signal\": null,\n    \"core_dumped\": false,\n    \"interrupted\": false,\n    \"start_error\": null",
			new: `"exit_code": null, "signal": null, "core_dumped": false, "interrupted": false, "start_error": "no such file"`},
		{name: "end of a finished run", old: `"ended_at": "2026-11-21T10:01:41.556Z"`, new: `"ended_at": null`,
			want: `run.ended_at: null without a reason: expected an entry in unavailable for it or for a group above it`},
		{name: "null setting", old: `"dtype": "bfloat16", `, new: `"dtype": null, `},
		{name: "note without evidence", old: `{"field": "prefix_cache_hit_rate", "value": 0.4182, "threshold": 0.01}`, new: `null`, at: `"evidence"`},
		{name: "evidence without a limit", old: `"threshold": 0.01`, new: `"threshold": null`},
		{name: "typo in evidence", old: `"field": "prefix_cache_hit_rate"`, new: `"field": "prefix_cache.hit_rate"`,
			want: `warning: validity.0.evidence.field: "prefix_cache.hit_rate" does not exist in the event`},
		{name: "reason for a figure that is present", old: `"field": "host.cpu_limit"`, new: `"field": "host.cpu_count"`, at: `"cpu_limit"`,
			want: "host.cpu_limit: null without a reason: expected an entry in unavailable for it or for a group above it\n" +
				`warning: unavailable.0.field: host.cpu_count is not null: found 64`},
		{name: "reason for another device", old: `"field": "gpus.0.baseline_bytes"`, new: `"field": "gpus.1.baseline_bytes"`, at: `"baseline_bytes"`,
			want: "gpus.0.baseline_bytes: null without a reason: expected an entry in unavailable for it or for a group above it\n" +
				`warning: unavailable.2.field: "gpus.1.baseline_bytes" does not exist in the event`},
		{name: "empty reason", old: `"reason": "the engine exports no vllm-omni families"`, new: `"reason": " "`,
			want: `warning: unavailable.12.reason: empty: expected the reason why the figure is missing`},
		{name: "more hits than queries", old: `"hits": 856600`, new: `"hits": 2048312`,
			want: `warning: engine.prefix_cache.local.hits: greater than queries: 2048312 > 2048311`},
		{name: "percent for a fraction", old: `"kv_cache_usage_peak": 0.973`, new: `"kv_cache_usage_peak": 97.3`,
			want: `warning: engine.instances.0.kv_cache_usage_peak: expected a fraction from 0 to 1, found 97.3`},
		{name: "percent in a gauge", old: `"usage": {"last": 0.0, "mean": 0.61, "peak": 0.973, "method": "per_running_request"}`, new: `"usage": {"last": 0.0, "mean": 0.61, "peak": 97.3}`,
			want: `warning: engine.kv_cache.usage.peak: expected a fraction from 0 to 1, found 97.3`},
		{name: "mean above the peak", old: `"mean": 92.4`, new: `"mean": 128.5`,
			want: `warning: engine.requests.running.mean: greater than peak: 128.5 > 128`},
		{name: "mean above the maximum", old: `"max": 693.1`, new: `"max": 512.2`,
			want: `warning: gpus.0.power_watts.mean: greater than max: 512.3 > 512.2`},
		{name: "more memory than there is", old: `"memory_total_bytes": 85520809984`, new: `"memory_total_bytes": 76101451775`,
			want: `warning: gpus.0.peak_bytes: greater than memory_total_bytes: 76101451776 > 76101451775`, at: `"peak_bytes"`},
		{name: "core peak above that of any device", old: `"peak_vram_gb": 70.875`, new: `"peak_vram_gb": 70.876`,
			want: `warning: peak_vram_gb: greater than the highest peak of any device, 70.875 GiB`},
		{name: "quantiles out of order", old: `"p50_est": 121.0, "p90_est": 410.0`, new: `"p50_est": 421.0, "p90_est": 410.0`,
			want: "warning: engine.tokens.per_iteration.p50_est: greater than p90_est: 421.0 > 410.0\nwarning: engine.tokens.per_iteration.p50_est: outside p50_bounds: 421.0"},
		{name: "client percentiles out of order", old: `"p50": 2.704, "p90": 5.98`, new: `"p50": 6.704, "p90": 5.98`,
			want: `warning: client.latency_seconds.time_to_first_token.p50: greater than p90: 6.704 > 5.98`},
		{name: "client percentile outside its interval", old: `"p99": 9.404`, new: `"p99": 8.404`,
			want: `warning: client.latency_seconds.time_to_first_token.p99: outside p99_interval: 8.404`},
		{name: "more completed than started", old: `"started": 1000, "completed": 996`, new: `"started": 995, "completed": 996`,
			want: `warning: client.requests.completed: greater than started: 996 > 995`},
		{name: "estimate below its bounds", old: `"p99_est": 17.2`, new: `"p99_est": 9.9`,
			want: `warning: engine.latency_seconds.time_to_first_token.p99_est: outside p99_bounds: 9.9`},
		{name: "empty bounds", old: `"p99_bounds": [10.0, 20.0], "buckets": [[5, 506]`, new: `"p99_bounds": [20.0, 10.0], "buckets": [[5, 506]`,
			want: `warning: engine.latency_seconds.time_to_first_token.p99_bounds: the lower end is greater than the upper one: 20.0 > 10.0`},
		{name: "no lower end", old: `"p99_bounds": [10.0, 20.0], "buckets": [[5, 506]`, new: `"p99_bounds": [null, 20.0], "buckets": [[5, 506]`,
			want: `engine.latency_seconds.time_to_first_token.p99_bounds.0: null without a reason: expected an entry in unavailable for it or for a group above it`},
		{name: "no upper end, and the bucket of +Inf", old: `"p99_bounds": [10.0, 20.0], "buckets": [[5, 506]`, new: `"p99_bounds": [10.0, null], "buckets": [[5, 506], [null, 506]`},
		{name: "above without need", old: `"p99_est": 495.0, "above": null`, new: `"p99_est": 495.0, "above": 500`,
			want: `warning: engine.tokens.generation_per_request.above: expected null: no estimate lies beyond the highest bucket bound`},
		{name: "negative", old: `"settle_seconds": 0.15`, new: `"settle_seconds": -0.15`,
			want: `warning: engine.window.settle_seconds: expected no negative number, found -0.15`},
		{name: "cold", old: `"temperature_celsius_max": 67`, new: `"temperature_celsius_max": -3`},
		{name: "infinite", old: `"energy_joules": 51964.2`, new: `"energy_joules": 1e999`,
			want: `warning: gpus.0.energy_joules: 1e999 does not fit a 64-bit float`},
		{name: "exit code and signal", old: `"signal": null`, new: `"signal": "SIGTERM"`, at: `"exit_code"`,
			want: `warning: run.exit_code: expected null: a signal killed the command, or it never started`},
		{name: "mismatches and no flag", old: `"flag_did_not_engage": true`, new: `"flag_did_not_engage": false`,
			want: `warning: flag_did_not_engage: false, but flag_mismatches has 1 entries for the settings that it covers`},
		{name: "a mismatch of another setting", old: `["max_num_seqs: intended=256 actual=128"]`, new: `["dtype: intended='half' actual='bfloat16'"]`, at: `"flag_did_not_engage"`,
			want: `warning: flag_did_not_engage: true, but flag_mismatches has 0 entries for the settings that it covers`},
		{name: "not a time", old: `"started_at": "2026-11-21T10:00:00.123Z"`, new: `"started_at": "yesterday"`,
			want: `warning: run.started_at: expected a time such as 2026-11-21T10:00:00.123Z, found the string "yesterday"`},
		{name: "local time", old: `"ended_at": "2026-11-21T10:01:41.556Z"`, new: `"ended_at": "2026-11-21T11:01:41+01:00"`,
			want: `warning: run.ended_at: expected a time in UTC, found the string "2026-11-21T11:01:41+01:00"`},
		{name: "not UTF-8", old: `"hostname": "bench-07"`, new: "\"hostname\": \"bench\xff07\"",
			want: `run.hostname: the string is not UTF-8`},
		{name: "duplicate key", old: `"cpu_count": 64,`, new: `"cpu_count": 64, "cpu_count": "x",`,
			want: "host.cpu_count: duplicate key\nhost.cpu_count: expected integer or null, found the string \"x\""},
		{name: "several at once", old: `{"mean": 0.83, "max": 1.0}`, new: `{"mean": "a", "max": null}`,
			want: "gpus.0.utilization.mean: expected number, found the string \"a\"\ngpus.0.utilization.max: expected number, found null"},
	} {
		t.Run(c.name, func(t *testing.T) {
			doc := edit(t, c.old, c.new)
			at := c.at
			if at == "" {
				at = c.new
			}
			lines := []int{lineOf(t, doc, at), lineOf(t, doc, c.new)}
			problems := Validate(doc, Options{Strict: c.strict})
			var got []string
			for _, p := range problems {
				_, s, _ := strings.Cut(p.String(), ": ")
				s, _, _ = strings.Cut(s, ": it is already on line")
				got = append(got, s)
				ok := p.Line == lines[0] || p.Line == lines[1]
				if strings.HasPrefix(p.Path, "unavailable") && c.new == `"field": "omni_"` {
					ok = p.Line == lineOf(t, doc, c.new)
				}
				if !ok {
					t.Errorf("on line %d, want %d: %s", p.Line, lines[0], p)
				}
			}
			if d := cmp.Diff(c.want, strings.Join(got, "\n")); d != "" {
				t.Error(d)
			}
		})
	}
}

// All problems of a document are reported, each with its line.
func TestAllProblems(t *testing.T) {
	doc := edit(t, `"hostname": "bench-07"`, `"hostname": 7`)
	doc = bytes.Replace(doc, []byte(`"memory_api": "v2"`), []byte(`"memory_api": 2`), 1)
	doc = bytes.Replace(doc, []byte(`"block_size": 16`), []byte(`"block_size": "16"`), 1)
	problems := Validate(doc, Options{})
	var got []int
	for _, p := range problems {
		got = append(got, p.Line)
	}
	want := []int{lineOf(t, doc, `"hostname"`), lineOf(t, doc, `"memory_api"`), lineOf(t, doc, `"block_size"`)}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s\n%s", d, texts(problems))
	}
}

func TestPartialEvent(t *testing.T) {
	e := exampleEvent(t)
	e.Run.ExitCode, e.Run.EndedAt = nil, nil
	if got := UnexplainedNulls(e); !cmp.Equal(got, []string{"run.ended_at", "run.exit_code"}) {
		t.Errorf("of a finished event: %v", got)
	}
	e.Partial = true
	if got := UnexplainedNulls(e); got != nil {
		t.Errorf("of a partial event: %v", got)
	}
	if problems := Validate(encode(t, e, Full), Options{Strict: true}); problems != nil {
		t.Error(texts(problems))
	}
}

func TestUnexplainedNulls(t *testing.T) {
	// An event without any reading and without any reason.
	e := &GenerationObservability{SchemaVersion: Version}
	want := []string{
		"peak_vram_gb", "kv_cache_usage_perc", "prefix_cache_hit_rate", "spec_accept_rate", "loadavg_pre", "loadavg_post",
		"flag_mismatches", "flags_checked", "flags_unchecked", "run.ended_at", "run.exit_code",
		"overhead", "host", "gpus", "engine", "omni", "efficiency", "series",
	}
	if d := cmp.Diff(want, UnexplainedNulls(e)); d != "" {
		t.Error(d)
	}
	for _, field := range want {
		e.Unavailable = append(e.Unavailable, Unavailable{Field: field, Reason: "not tried"})
	}
	if got := UnexplainedNulls(e); got != nil {
		t.Errorf("all are explained, but: %v", got)
	}

	// A number without a JSON form becomes null, where null is not allowed.
	e = exampleEvent(t)
	e.GPUs[0].PowerWatts.Mean = Float(nan())
	if got := UnexplainedNulls(e); !cmp.Equal(got, []string{"gpus.0.power_watts.mean"}) {
		t.Errorf("NaN: %v", got)
	}

	// Every entry of the example is needed.
	for i, u := range exampleEvent(t).Unavailable {
		e := exampleEvent(t)
		e.Unavailable = append(e.Unavailable[:i], e.Unavailable[i+1:]...)
		got := UnexplainedNulls(e)
		if len(got) == 0 {
			t.Errorf("the reason for %s is not needed", u.Field)
		}
		for _, path := range got {
			if path != u.Field && !strings.HasPrefix(path, u.Field+".") {
				t.Errorf("without the reason for %s, %s is unexplained", u.Field, path)
			}
		}
	}
}

// A reason may be for a key in a group that is null, for an absent key, or for an
// entry of a map, but not for a key that no event has.
func TestReasonPaths(t *testing.T) {
	for field, known := range map[string]bool{
		"omni":                       true,
		"engine":                     true,
		"engine.kv_cache.usage.peak": true,
		"engine.latency_seconds.request_queue_time.p50_est": true, // the group is null
		"engine.latency_seconds.request_queue_time.median":  false,
		"engine_runtime_config.max_num_seqs":                true,
		"engine_runtime_config.dtype":                       false,
		"engine.requests.finished.repetition":               true, // a map
		"engine.config.values.quantization":                 true,
		"run.labels.commit":                                 true,
		"gpus.0.torch.0.rank":                               true,
		"gpus.1":                                            false,
		"gpus.-1":                                           false,
		"gpus.first":                                        false,
		"gpus.0.":                                           false,
		"gpu.0":                                             false,
		"run.id.x":                                          false,
		"":                                                  false,
		".":                                                 false,
		"omni.":                                             false,
	} {
		e := exampleEvent(t)
		e.Unavailable = append(e.Unavailable, Unavailable{Field: field, Reason: "a reason"})
		found := true
		for _, p := range Validate(encode(t, e, Full), Options{}) {
			if !p.Warning {
				t.Errorf("%q: %s", field, p)
			}
			if strings.Contains(p.Message, "does not exist") {
				found = false
			}
		}
		if found != known {
			t.Errorf("%q: found %v, want %v", field, found, known)
		}
	}
}

// The core follows NeMo Safe Synthesizer's rules: pydantic, extra="forbid", all keys
// optional.
func TestCore(t *testing.T) {
	for _, c := range []struct{ doc, want string }{
		{`{}`, ""},
		{emptyCore, ""},
		{populatedCore, ""},
		{`{"peak_vram_gb":64,"loadavg_pre":[1,2,3]}`, ""},
		{`{"peak_vram_gb":1.0,"unknown_field":"x"}`,
			"1: unknown_field: unknown key: the core has eight keys, and consumers reject any other; a full event has a schema_version\n"},
		{`{"peak_vram_gb":"64.5"}`, "1: peak_vram_gb: expected number or null, found the string \"64.5\"\n"},
		{`{"peak_vram_gb":true}`, "1: peak_vram_gb: expected number or null, found true\n"},
		{`{"loadavg_pre":[1,2]}`, "1: loadavg_pre: expected 3 elements, found 2\n"},
		{`{"loadavg_post":[1,2,3,4]}`, "1: loadavg_post: expected 3 elements, found 4\n"},
		{`{"loadavg_post":[1,null,3]}`, "1: loadavg_post.1: expected number, found null\n"},
		{`{"flag_did_not_engage":null}`, "1: flag_did_not_engage: expected boolean, found null\n"},
		{`{"flag_did_not_engage":1}`, "1: flag_did_not_engage: expected boolean, found 1\n"},
		{`{"engine_runtime_config":null}`, "1: engine_runtime_config: expected object, found null\n"},
		{`{"kv_cache_usage_perc":42}`, "1: warning: kv_cache_usage_perc: expected a fraction from 0 to 1, found 42\n"},
		{"{\n\"engine_runtime_config\":{\n\"a\":1,\n\"max_num_seqs\":\"many\"}}",
			"3: warning: engine_runtime_config.a: unknown key\n" +
				"4: warning: engine_runtime_config.max_num_seqs: expected integer, found the string \"many\"\n"},
		{`[]`, "1: expected an event, a JSON object, found an array\n"},
		{`null`, "1: expected an event, a JSON object, found null\n"},
		{`7`, "1: expected an event, a JSON object, found 7\n"},
	} {
		if got := texts(Validate([]byte(c.doc), Options{})); got != c.want {
			t.Errorf("%s:\ngot  %swant %s", c.doc, got, c.want)
		}
	}
	got := texts(Validate([]byte(`{"engine_runtime_config":{"a":1}}`), Options{Strict: true}))
	if want := "1: engine_runtime_config.a: unknown key\n"; got != want {
		t.Errorf("strict: got %s", got)
	}
}

func TestLogRecords(t *testing.T) {
	for _, c := range []struct {
		doc, want string
		events    int
	}{
		{`{"message":"vLLM generation complete","ctx":` + populatedCore + `,"level":"info","lineno":7}`, "", 1},
		{`{"message":"vllm.cell.complete","extra":{"ctx":` + emptyCore + `}}`, "", 1},
		{`{"message":"vllm.generation.complete","extra":{"ctx":{"x":1}}}`,
			"1: extra.ctx.x: unknown key: the core has eight keys, and consumers reject any other; a full event has a schema_version\n", 1},
		{`{"message":"vLLM generation complete","ctx":{"engine_runtime_config":{"a":1}}}`, "1: warning: ctx.engine_runtime_config.a: unknown key\n", 1},
		{`{"message":"vLLM generation complete"}`, "1: ctx: the key is missing: a log record has the event there or in extra.ctx\n", 1},
		{`{"message":"vLLM generation complete","ctx":null}`, "1: ctx: expected object, found null\n", 1},
		{`{"ctx":{}}`, "1: message: the key is missing: a log record has a message and a ctx\n", 1},
		{`{"message":1,"ctx":{}}`, "1: message: expected string, found 1\n", 1},
		{`{"message":"training.complete","ctx":{"peak_vram_gb":1}}`,
			"1: no event: none of the log records is that of a generation\n" +
				"1: warning: message: not the log record of a generation, skipped: \"training.complete\"\n", 0},
		{`{"message":"training.complete"}` + "\n" + `{"message":"vLLM generation complete","ctx":{}}`,
			"1: warning: message: not the log record of a generation, skipped: \"training.complete\"\n", 1},
	} {
		events, problems, err := ValidateStream(strings.NewReader(c.doc), Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Split(texts(problems), "\n")
		want := strings.Split(c.want, "\n")
		if d := cmp.Diff(sorted(want), sorted(got)); d != "" || events != c.events {
			t.Errorf("%s: %d events, want %d: %s", c.doc, events, c.events, d)
		}
	}
}

func TestStream(t *testing.T) {
	one := strings.TrimSuffix(string(encode(t, exampleEvent(t), Full)), "\n")
	bad := strings.Replace(one, `"core_dumped":false`, `"core_dumped":0`, 1)
	for _, c := range []struct {
		name, doc string
		events    int
		want      string
	}{
		{"lines", one + "\n" + one + "\n", 2, ""},
		{"no newline at the end", one + "\n" + emptyCore, 2, ""},
		{"CRLF and empty lines", "\r\n" + one + "\r\n\r\n" + one + "\r\n", 2, ""},
		{"indented documents", string(example(t)) + "\n" + string(example(t)), 2, ""},
		{"a problem on its line", one + "\n" + bad + "\n" + bad + "\n", 3,
			"2: run.core_dumped: expected boolean, found 0\n3: run.core_dumped: expected boolean, found 0\n"},
		{"a broken line among others", one + "\n" + one[:len(one)-40] + "\n" + bad + "\n", 2,
			"2: expected the closing '\"' of a string, found the end of the line\n3: run.core_dumped: expected boolean, found 0\n"},
		{"a line cut after a colon", `{"peak_vram_gb":` + "\n" + bad + "\n" + one + "\n", 2,
			"2: run.core_dumped: expected boolean, found 0\n" +
				"3: expected ',' or '}' after the value of \"peak_vram_gb\", found '{' (in the document that begins on line 1)\n"},
		{"a last line that is cut", one + "\n" + one[:300], 1, "2: expected"},
		{"text between", one + "\nINFO starting\nmore\n" + one + "\n", 2, "2: expected a JSON value, found 'I'\n"},
		{"two on a line", one + one + "\n" + bad, 3,
			"1: another event on the same line: expected a newline between them\n2: run.core_dumped: expected boolean, found 0\n"},
		{"garbage after an event", one + "}\n" + one, 2, "1: expected a newline after the event, found '}'\n"},
		{"nothing", "", 0, "1: empty: expected an event, a JSON object\n"},
		{"blanks", "\n \n", 0, "1: empty: expected an event, a JSON object\n"},
		{"other text", "hello\n", 0, "1: expected a JSON value, found 'h'\n"},
		{"a byte order mark", "\xef\xbb\xbf" + one, 0, "1: expected a JSON value, found a byte order mark (save the file without one)\n"},
		{"UTF-16", "\xff\xfe{\x00}\x00", 0, "1: expected a JSON value, found the byte 0xff, which is not UTF-8\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			events, problems, err := ValidateStream(strings.NewReader(c.doc), Options{})
			got := texts(problems)
			if c.name == "a last line that is cut" {
				got = got[:min(len(got), len(c.want))]
			}
			if d := cmp.Diff(c.want, got); d != "" || events != c.events || err != nil {
				t.Errorf("%d events, want %d (%v): %s", events, c.events, err, d)
			}
		})
	}
	broken := errors.New("read error")
	if _, _, err := ValidateStream(iotest.ErrReader(broken), Options{}); !errors.Is(err, broken) {
		t.Errorf("a read error gives %v", err)
	}
	if got := texts(Validate([]byte(one+"\n"+one), Options{})); got != "2: expected nothing after the event, found '{'\n" {
		t.Errorf("two documents: %s", got)
	}
	if got := texts(Validate(nil, Options{})); got != "1: empty: expected an event, a JSON object\n" {
		t.Errorf("no document: %s", got)
	}
}

func FuzzValidate(f *testing.F) {
	f.Add(example(f), true)
	f.Add([]byte(emptyCore+"\n"+populatedCore), false)
	f.Add([]byte(`{"message":"vLLM generation complete","extra":{"ctx":{}}}`), false)
	f.Add([]byte(`{"schema_version":1,"run":null,"gpus":[{}],"unavailable":[{"field":"gpus.0..","reason":1},2],"validity":[{"evidence":{"field":"a"}}]}`), true)
	for _, s := range syntaxCases {
		f.Add([]byte(s.doc), false)
	}
	f.Fuzz(func(t *testing.T, doc []byte, strict bool) {
		opt := Options{Strict: strict}
		lines := 1 + bytes.Count(doc, []byte("\n"))
		problems := Validate(doc, opt)
		_, more, err := ValidateStream(bytes.NewReader(doc), opt)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range append(problems, more...) {
			if p.Line < 1 || p.Line > lines || p.Message == "" {
				t.Errorf("%+v in a document of %d lines", p, lines)
			}
		}
		sameSyntax(t, doc)
		if !json.Valid(doc) && len(problems) == 0 {
			t.Errorf("%q is not JSON, but was accepted", doc)
		}
	})
}

// Keys that are newer than the first events are in every new event, but an event
// without them is valid.
func TestAddedKeys(t *testing.T) {
	if doc := encode(t, exampleEvent(t), Full); !bytes.Contains(doc, []byte(`"residency":null`)) || !bytes.Contains(doc, []byte(`"promotion_failures":0`)) {
		t.Error("an added key is missing from a new event")
	}
	e := tree(t)
	engine := e.(map[string]any)["engine"].(map[string]any)
	delete(engine["tokens"].(map[string]any), "diffusion")
	delete(engine["kv_cache"].(map[string]any), "residency")
	offload := engine["kv_offload"].(map[string]any)
	for _, key := range []string{"promotion_failures", "cascade_failures", "active_promotions", "active_cascades", "lookup_delay_seconds", "primary_pinned", "backpressure"} {
		delete(offload["tiers"].([]any)[0].(map[string]any), key)
	}
	for _, key := range []string{"cpu_allocation_chunks", "promotion_allocation_failures"} {
		delete(offload, key)
	}
	for _, key := range []string{"post_seconds", "size_bytes", "descriptors", "failed_notifications", "expired_requests", "cache", "operations"} {
		delete(engine["kv_connectors"].([]any)[0].(map[string]any), key)
	}
	if problems := Validate(marshal(t, e), Options{Strict: true}); problems != nil {
		t.Error(texts(problems))
	}
}
