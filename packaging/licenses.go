package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Folders of licenses for what is linked and is not a module.
const (
	goFolder  = "licenses/go"  // the standard library and the runtime
	zigFolder = "licenses/zig" // startup code and compiler runtime
)

// licenseName is that of a file with a license, or with what one requires to be passed on.
var licenseName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents|copyright)([-._].*)?$`)

// collectLicenses returns the licenses of everything that is linked into vobs for a target. It
// fails if one is missing or is of a kind that nobody has looked at.
func collectLicenses(ctx context.Context, o options, t target) ([]file, error) {
	cmd := o.goCommand(ctx, t, "env", "GOROOT")
	root, err := output(cmd)
	if err != nil {
		return nil, err
	}
	folders := map[string]string{goFolder: strings.TrimSpace(string(root))}
	if o.zig != "" {
		folders[zigFolder] = o.zig
	}
	var files []file
	for to, dir := range folders {
		found, err := licensesIn(dir, to)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("no license in %s", dir)
		}
		files = append(files, found...)
	}
	dirs, err := linkedModules(ctx, o, t)
	if err != nil {
		return nil, err
	}
	for module, packages := range dirs {
		n := 0
		for _, dir := range packages {
			found, err := licensesIn(dir.path, path.Join("licenses", module, dir.below))
			if err != nil {
				return nil, err
			}
			n += len(found)
			files = append(files, found...)
		}
		if n == 0 {
			return nil, fmt.Errorf("no license in the module %s", module)
		}
	}
	files = inOrder(files)
	return files, checkLicenses(files)
}

// A moduleDir is a folder of a module in which a license may lie.
type moduleDir struct{ path, below string }

// linkedModules returns, of each module that is linked into vobs, the folders of its linked packages
// and those above them.
func linkedModules(ctx context.Context, o options, t target) (map[string][]moduleDir, error) {
	list, err := output(o.goCommand(ctx, t, "list", "-deps", "-tags", tags, "-json=Dir,Module", "."))
	if err != nil {
		return nil, err
	}
	out := map[string][]moduleDir{}
	for dec := json.NewDecoder(bytes.NewReader(list)); ; {
		var p struct {
			Dir    string
			Module *struct {
				Path, Dir string
				Main      bool
			}
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, err
		}
		if p.Module == nil || p.Module.Main {
			continue
		}
		for dir := p.Dir; ; dir = filepath.Dir(dir) {
			below, err := filepath.Rel(p.Module.Dir, dir)
			if err != nil {
				return nil, err
			}
			d := moduleDir{dir, filepath.ToSlash(below)}
			if !slices.Contains(out[p.Module.Path], d) {
				out[p.Module.Path] = append(out[p.Module.Path], d)
			}
			if below == "." {
				break
			}
		}
	}
}

func licensesIn(dir, to string) (files []file, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !licenseName.MatchString(e.Name()) || path.Ext(e.Name()) == ".go" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		files = append(files, file{name: path.Join(to, e.Name()), data: data})
	}
	return files, nil
}

// checkLicenses returns an error if the text of a license is not one of those that allow
// distribution with vobs.
func checkLicenses(files []file) error {
	var problems []error
	for _, f := range files {
		base := strings.ToUpper(path.Base(f.name))
		if strings.HasPrefix(base, "NOTICE") || strings.HasPrefix(base, "PATENTS") || strings.HasPrefix(base, "COPYRIGHT") {
			continue // comes beside a license
		}
		if base == "LICENSE-LOGO" { // modernc.org/memory's picture, which is not packed
			continue
		}
		if licenseOf(string(f.data)) == "" {
			problems = append(problems, fmt.Errorf("%s: an unknown license: read it, and add it to licenseOf", f.name))
		}
	}
	return errors.Join(problems...)
}

// licenseOf returns the SPDX identifier of a license that allows distribution with vobs, or "".
func licenseOf(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	has := func(s string) bool { return strings.Contains(text, s) }
	switch {
	case has("SQLite has been dedicated to the public domain"):
		return "blessing"
	case has("Apache License Version 2.0"):
		return "Apache-2.0"
	case has("Permission is hereby granted, free of charge") && has("without restriction"):
		return "MIT"
	case has("Redistribution and use in source and binary forms") && (has("Neither the name") || has("endorse or promote products")):
		return "BSD-3-Clause"
	case has("Redistribution and use in source and binary forms"):
		return "BSD-2-Clause"
	}
	return ""
}
