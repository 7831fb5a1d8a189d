package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path"
	"strings"
	"time"
)

// makeSBOM returns the list of what is linked into a binary (CycloneDX 1.6, JSON), as the binary
// itself records it.
func makeSBOM(ctx context.Context, o options, rel release, binary string, licenses []file) ([]byte, error) {
	text, err := output(exec.CommandContext(ctx, o.cyclonedx, "bin", "-json", "-std", "-noserial", "-notimestamp", "-version", "v"+rel.Version, binary))
	if err != nil {
		return nil, err
	}
	return completeSBOM(text, rel, modulesLicenses(licenses))
}

// completeSBOM adds to an SBOM the date of the commit and the licenses of the modules. They are
// those in the package: what cyclonedx-gomod finds depends on what it can download. The hashes of
// cyclonedx-gomod itself are left out, because it is built where it is used.
func completeSBOM(text []byte, rel release, licenses map[string]string) ([]byte, error) {
	var bom map[string]any
	if err := json.Unmarshal(text, &bom); err != nil {
		return nil, fmt.Errorf("the SBOM: %w", err)
	}
	meta, ok := bom["metadata"].(map[string]any)
	if !ok {
		return nil, errors.New("the SBOM has no metadata")
	}
	meta["timestamp"] = rel.Date.Format(time.RFC3339)
	tools, _ := meta["tools"].([]any)
	for _, t := range tools {
		delete(t.(map[string]any), "hashes")
	}
	components, _ := bom["components"].([]any)
	if len(components) == 0 {
		return nil, errors.New("the SBOM has no components")
	}
	for _, c := range append(components, meta["component"]) {
		c, _ := c.(map[string]any)
		name, _ := c["name"].(string)
		id := licenses[name]
		if id == "" {
			return nil, fmt.Errorf("the SBOM: no license of %q", name)
		}
		c["licenses"] = []any{map[string]any{"license": map[string]any{"id": id}}}
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(bom); err != nil {
		return nil, err
	}
	return []byte(b.String()), nil
}

// modulesLicenses returns the SPDX identifier of the license of each module, of vobs and of Go's
// standard library ("std").
func modulesLicenses(files []file) map[string]string {
	out := map[string]string{"github.com/vobs/vobs": "Apache-2.0"}
	for _, f := range files {
		id := licenseOf(string(f.data))
		module := strings.TrimPrefix(path.Dir(f.name), "licenses/")
		if path.Dir(f.name) == goFolder {
			module = "std"
		}
		if id != "" {
			out[module] = id
		}
	}
	return out
}
