//go:build linux

package main

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/vobs/vobs/bench/internal/venv"
)

const (
	pythonClient = "vllm bench serve (Python)"
	rustClient   = "vllm bench serve (Rust)"

	vllmVersion = "0.32.0"
	// functionFile is the file with the request function, in the package, and functionSHA256
	// its sum in that version.
	functionFile   = "vllm/benchmarks/lib/endpoint_request_func.py"
	functionSHA256 = "f31fae8c573ecc4bf8e31dae03823502e71404333e8111f4b535432758302b29"
	// rustFile is the Rust client, which the packages of some platforms have: vllm runs it if
	// VLLM_USE_RUST_BENCH is set (vllm/entrypoints/cli/benchmark/main.py, vllm/envs.py).
	rustFile = "vllm/vllm-rs"
)

// vllmClients returns vLLM's clients, without those that cannot be had, which it names on
// stderr.
func vllmClients(dir string) (clients []client, err error) {
	skipped := func(name string, reason any) { fmt.Fprintf(os.Stderr, "bench: SKIPPED: %s: %v\n", name, reason) }
	files := filepath.Join(dir, "vllm-"+vllmVersion)
	fetched := fetch(files)
	function := filepath.Join(files, functionFile)
	python, found := engineOfE2E()
	switch {
	case python != "":
		function = found
	case fetched != nil:
		skipped(pythonClient, fetched)
	default:
		python = interpreter(dir)
	}
	if python != "" {
		text, err := os.ReadFile(function)
		if err != nil {
			return nil, err
		}
		if sum := fmt.Sprintf("%x", sha256.Sum256(text)); sum != functionSHA256 {
			return nil, fmt.Errorf("%s is not that of vLLM %s: its SHA-256 is %s", function, vllmVersion, sum)
		}
		clients = append(clients, client{pythonClient, pythonRequests(python, function)})
	}
	rust := filepath.Join(files, rustFile)
	if fetched != nil {
		skipped(rustClient, fetched)
		return clients, nil
	}
	if _, err := os.Stat(rust); err != nil {
		skipped(rustClient, "the package for this platform does not have "+rustFile)
		return clients, nil
	}
	if out, err := exec.Command(rust, "bench", "serve", "--help").CombinedOutput(); err != nil {
		skipped(rustClient, fmt.Sprintf("%v: %s", err, tail(out)))
		return clients, nil
	}
	if err := writeTokenizer(dir); err != nil {
		return nil, err
	}
	return append(clients, client{rustClient, rustRequests(rust, dir)}), nil
}

// writeTokenizer writes the tokenizer.json that the Rust client makes its prompts with: of
// words, in the format of Hugging Face's tokenizers.
func writeTokenizer(dir string) error {
	words := map[string]int{"<unk>": 0}
	for i := range 255 {
		words[fmt.Sprintf("word%d", i)] = i + 1
	}
	text, err := json.Marshal(map[string]any{
		"version": "1.0", "added_tokens": []any{}, "pre_tokenizer": map[string]any{"type": "Whitespace"},
		"model": map[string]any{"type": "WordLevel", "vocab": words, "unk_token": "<unk>"},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "tokenizer.json"), text, 0o644)
}

// engineOfE2E returns the interpreter and the request function of the engine that the
// end-to-end tests have installed in E2E_DIR; "" without one.
func engineOfE2E() (python, function string) {
	dir := os.Getenv("E2E_DIR")
	found, _ := filepath.Glob(filepath.Join(dir, "vllm/venv/lib/python3*/site-packages", functionFile))
	if dir == "" || len(found) == 0 {
		return "", ""
	}
	return filepath.Join(dir, "vllm/venv/bin/python"), found[0]
}

// interpreter returns an interpreter with the packages that vLLM's request function needs; ""
// if they cannot be installed.
func interpreter(dir string) (python string) {
	for _, p := range [][2]string{{"aiohttp", "aiohttp==3.14.5"}, {"regex", "regex==2026.11.15"}, {"tqdm", "tqdm==4.70.1"}} {
		if python = venv.With(filepath.Dir(dir), p[0], p[1], pythonClient); python == "" {
			return ""
		}
	}
	return python
}

// fetch downloads vLLM's package from PyPI, without what it requires, and keeps the files of
// the clients.
func fetch(files string) error {
	if _, err := os.Stat(filepath.Join(files, functionFile)); err == nil {
		return nil
	}
	if err := os.MkdirAll(files, 0o755); err != nil {
		return err
	}
	wheels, err := os.MkdirTemp(files, "wheel-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(wheels)
	fmt.Fprintf(os.Stderr, "bench: fetching the package of vLLM %s (330 MB)\n", vllmVersion)
	command := exec.Command("python3", "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-cache-dir", "--no-deps", "--only-binary", ":all:",
		"-d", wheels, "vllm=="+vllmVersion)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", command, err, tail(out))
	}
	found, _ := filepath.Glob(wheels + "/*.whl")
	if len(found) != 1 {
		return fmt.Errorf("%s: %d wheels", command, len(found))
	}
	wheel, err := zip.OpenReader(found[0])
	if err != nil {
		return fmt.Errorf("%s: %w", found[0], err)
	}
	defer wheel.Close()
	for _, name := range []string{rustFile, functionFile} { // in this order: that of the function ends it
		i := slices.IndexFunc(wheel.File, func(f *zip.File) bool { return f.Name == name })
		if i >= 0 {
			if err := extract(wheel.File[i], filepath.Join(files, name)); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// extract writes a file of an archive under another name until it is whole.
func extract(f *zip.File, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to+".part", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return errors.Join(err, out.Close())
	}
	return errors.Join(out.Close(), os.Rename(to+".part", to))
}
