//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vobs/vobs/bench/internal/process"
)

// work is what a client sends: all requests as fast as a number of them at a time allows, or at
// a rate.
type work struct {
	requests, tokens int
	concurrency      int     // 0 for no limit
	rate             float64 // requests per second; 0 for no limit
	constant         bool    // gaps between requests are equal, not those of a Poisson process
	mayFail          bool    // failed requests are a result, not an error
	// pace is the time between two chunks of the server, if it has one.
	pace time.Duration
}

// clientTimeout bounds one run of a client.
const clientTimeout = 5 * time.Minute

// outcome is what a client reports.
type outcome struct {
	completed int
	chunks    int64           // with a token, of completed requests
	ttft      map[int]float64 // seconds, by the number of the request
	early     int64           // chunks that came less than a quarter of the pace after the one before
	cpu       float64         // seconds; 0 for that of the whole process
	failure   string          // one of the failures
}

// result is what one run of a client cost.
type result struct {
	cpu       float64 // seconds, user and system
	rss       float64 // MiB, the peak
	completed int
	failed    int
	added     []float64 // to the times to first token, in seconds
	merged    float64   // the share of the chunks that were taken together with the one before
	served    served
}

// client is one of the clients. run returns its command line, which writes files to a
// directory, and a function that reads what it reports, from stdout or from these files.
type client struct {
	name string
	run  func(dir, url string, w work) (argv []string, read func(stdout []byte) (outcome, error))
}

// measure runs the client once.
func (c client) measure(dir string, s *serverProcess, w work) (r result, err error) {
	if _, err := s.take(); err != nil { // what others left
		return r, err
	}
	argv, read := c.run(dir, s.url, w)
	ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, argv[0], argv[1:]...)
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Start(); err != nil {
		return r, err
	}
	stop, peak := make(chan struct{}), make(chan float64)
	go func() {
		highest := 0.0
		for {
			select {
			case <-stop:
				peak <- highest
				return
			case <-time.After(20 * time.Millisecond):
				highest = max(highest, process.PeakRSS(command.Process.Pid))
			}
		}
	}()
	err = command.Wait()
	close(stop)
	r.rss = <-peak
	if err != nil {
		return r, fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, tail(stderr.Bytes()))
	}
	usage := command.ProcessState.SysUsage().(*syscall.Rusage)
	r.cpu = float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
	out, err := read(stdout.Bytes())
	if err != nil {
		return r, err
	}
	if out.cpu > 0 {
		r.cpu = out.cpu
	}
	if r.served, err = s.take(); err != nil {
		return r, err
	}
	r.completed, r.failed = out.completed, w.requests-out.completed
	switch {
	case r.failed > 0 && !w.mayFail:
		return r, fmt.Errorf("%d of %d requests failed, one with: %s", r.failed, w.requests, out.failure)
	case r.failed > 0:
		fmt.Fprintf(os.Stderr, "bench: %s: %d of %d requests failed, one with: %s\n", c.name, r.failed, w.requests, out.failure)
	case out.chunks != int64(w.requests*w.tokens) || r.served.Chunks != out.chunks:
		return r, fmt.Errorf("it saw %d chunks, and the server sent %d; expected %d", out.chunks, r.served.Chunks, w.requests*w.tokens)
	}
	r.merged = float64(out.early) / float64(max(1, out.chunks))
	for number, ttft := range out.ttft {
		delay, ok := r.served.Delays[number]
		if !ok {
			return r, fmt.Errorf("the server knows no request %d", number)
		}
		r.added = append(r.added, ttft-delay)
	}
	if len(r.added) == 0 {
		return r, errors.New("it reports no time to first token")
	}
	return r, nil
}

// tail returns the end of a text.
func tail(text []byte) []byte { return text[max(0, len(text)-2000):] }

// vobsLoad runs vobs load. Its CPU time is that of the whole process.
func vobsLoad(vobs string) func(string, string, work) ([]string, func([]byte) (outcome, error)) {
	return func(dir, url string, w work) ([]string, func([]byte) (outcome, error)) {
		requests := dir + "/requests.jsonl"
		argv := []string{vobs, "load", "-q", "-o", dir + "/client.json", "--save-requests", requests, "--model", model, "--vocab", fmt.Sprint(vocabSize),
			"--prompt-tokens", "16", "--output-tokens", fmt.Sprint(w.tokens), "--requests", fmt.Sprint(w.requests)}
		switch {
		case w.rate == 0:
			argv = append(argv, "--concurrency", fmt.Sprint(w.concurrency))
		case w.constant:
			argv = append(argv, "--rate", fmt.Sprint(w.rate), "--arrivals", "constant")
		default:
			argv = append(argv, "--rate", fmt.Sprint(w.rate))
		}
		return append(argv, url), func([]byte) (outcome, error) { return readRequests(requests) }
	}
}

// readRequests reads the file of --save-requests.
func readRequests(path string) (outcome, error) {
	out := outcome{ttft: map[int]float64{}}
	f, err := os.Open(path)
	if err != nil {
		return out, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var line struct {
			Number     int
			Intended   float64  `json:"intended_seconds"`
			FirstToken *float64 `json:"first_token_seconds"`
			Chunks     int64
			Failure    *string
			Message    *string
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return out, fmt.Errorf("%s: %w", path, err)
		}
		if line.Failure != nil || line.FirstToken == nil {
			out.failure = "no token"
			if line.Failure != nil {
				out.failure = *line.Failure + ": " + *line.Message
			}
			continue
		}
		out.completed++
		out.chunks += line.Chunks
		out.ttft[line.Number] = *line.FirstToken - line.Intended
	}
	return out, lines.Err()
}

// pythonRequests runs the request function of vllm bench serve, in a file of vLLM. Its CPU
// time is without the start of Python.
func pythonRequests(python, function string) func(string, string, work) ([]string, func([]byte) (outcome, error)) {
	return func(dir, url string, w work) ([]string, func([]byte) (outcome, error)) {
		arrivals := "poisson"
		if w.constant {
			arrivals = "constant"
		}
		argv := []string{python, "bench/load/client.py", function, url, fmt.Sprint(w.requests), fmt.Sprint(w.tokens), fmt.Sprint(w.concurrency),
			fmt.Sprint(w.rate), arrivals, fmt.Sprint(firstID), model, fmt.Sprint(w.pace.Seconds() / 4)}
		return argv, func(stdout []byte) (outcome, error) {
			var line struct {
				CPUSeconds float64
				Completed  int
				Chunks     int64
				Early      int64
				TTFT       map[int]float64
				Failure    string
			}
			if err := json.Unmarshal(stdout, &line); err != nil {
				return outcome{}, fmt.Errorf("client.py: %w: %s", err, tail(stdout))
			}
			return outcome{completed: line.Completed, chunks: line.Chunks, ttft: line.TTFT, early: line.Early, cpu: line.CPUSeconds, failure: line.Failure}, nil
		}
	}
}

// rustRequests runs vLLM's client in Rust. Its CPU time is that of the whole process.
func rustRequests(binary, tokenizer string) func(string, string, work) ([]string, func([]byte) (outcome, error)) {
	return func(dir, url string, w work) ([]string, func([]byte) (outcome, error)) {
		const name = "rust.json"
		argv := []string{binary, "bench", "serve", "--backend", "vllm", "--base-url", url, "--model", model, "--tokenizer", tokenizer,
			"--random-input-len", "16", "--random-output-len", fmt.Sprint(w.tokens), "--prompt-token-ids", "--ignore-eos", "--num-prompts", fmt.Sprint(w.requests),
			"--request-id-prefix", idPrefix, "--disable-tqdm", "--no-steady-state", "--save-result", "--save-detailed", "--result-dir", dir, "--result-filename", name}
		if w.concurrency > 0 {
			argv = append(argv, "--max-concurrency", strconv.Itoa(w.concurrency))
		}
		if w.rate > 0 {
			argv = append(argv, "--request-rate", fmt.Sprint(w.rate))
		}
		if w.constant {
			argv = append(argv, "--burstiness", "1000000")
		}
		os.Remove(dir + "/" + name)
		return argv, func([]byte) (outcome, error) {
			var file struct {
				Completed int
				TTFTs     []float64   `json:"ttfts"`
				ITLs      [][]float64 `json:"itls"`
				Errors    []string
			}
			text, err := os.ReadFile(dir + "/" + name)
			if err == nil {
				err = json.Unmarshal(text, &file)
			}
			out := outcome{completed: file.Completed, ttft: map[int]float64{}}
			for i, ttft := range file.TTFTs {
				if file.Errors[i] != "" {
					out.failure = file.Errors[i]
					continue
				}
				out.chunks += int64(len(file.ITLs[i]) + 1)
				out.ttft[i] = ttft
				for _, gap := range file.ITLs[i] {
					if gap < w.pace.Seconds()/4 {
						out.early++
					}
				}
			}
			return out, err
		}
	}
}
