package schema

import (
	"go/ast"
	goparser "go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// codeTable returns the severities of every code in the table.
func codeTable(t *testing.T) map[Code][]Severity {
	t.Helper()
	table := map[Code][]Severity{}
	for _, g := range Codes() {
		if g.Subject == "" || len(g.Codes) == 0 {
			t.Errorf("group %q has %d codes", g.Subject, len(g.Codes))
		}
		for _, c := range g.Codes {
			if _, twice := table[c.Code]; twice {
				t.Errorf("%s is in the table twice", c.Code)
			}
			if len(c.Severities) == 0 || !strings.HasSuffix(c.Meaning, ".") {
				t.Errorf("%s lacks a severity or a whole sentence on its meaning: %v, %q", c.Code, c.Severities, c.Meaning)
			}
			table[c.Code] = c.Severities
		}
	}
	return table
}

// parseSource parses every Go file of the repository that is not a test.
func parseSource(t *testing.T) map[string]*ast.File {
	t.Helper()
	files := map[string]*ast.File{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != ".." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bin" || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		f, err := goparser.ParseFile(token.NewFileSet(), path, nil, goparser.SkipObjectResolution)
		files[path] = f
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// codeConstants returns the constants of type Code by name.
func codeConstants(t *testing.T, f *ast.File) map[string]Code {
	t.Helper()
	constants := map[string]Code{}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Code" {
			constants[spec.Names[0].Name] = Code(stringLiteral(spec.Values[0]))
		}
		return true
	})
	return constants
}

// stringLiteral returns the value of a string literal, or "" for anything else.
func stringLiteral(e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	s, err := strconv.Unquote(lit.Value)
	if err != nil {
		return ""
	}
	return s
}

// lastName returns Name of schema.Name and of Name, or "".
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// Every code that is passed to Notes.Doubt, as a literal or as a constant, is in the
// table with that severity, and every code and severity in the table is passed
// somewhere.
func TestCodesMatchSource(t *testing.T) {
	table, files := codeTable(t), parseSource(t)
	constants := codeConstants(t, files[filepath.Join("..", "schema", "codes.go")])
	if got, want := slices.Sorted(maps.Values(constants)), slices.Sorted(maps.Keys(table)); !slices.Equal(got, want) {
		t.Errorf("the constants are\n%q, the table has\n%q", got, want)
	}
	severities := map[string]Severity{"Info": Info, "Warning": Warning, "Error": Error}
	type use struct {
		code     Code
		severity Severity
	}
	used := map[use]bool{}
	for path, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || lastName(call.Fun) != "Doubt" || len(call.Args) != 4 {
				return true
			}
			code := Code(stringLiteral(call.Args[0]))
			if code == "" {
				code = constants[lastName(call.Args[0])]
			}
			severity := severities[lastName(call.Args[1])]
			switch {
			case code == "" || severity == "":
				t.Errorf("%s: Doubt must be called with a code and a severity that are constants", path)
			case !slices.Contains(table[code], severity):
				t.Errorf("%s: the table of schema/codes.go lacks %s with severity %s", path, code, severity)
			}
			used[use{code, severity}] = true
			return true
		})
	}
	for code, list := range table {
		for _, severity := range list {
			if !used[use{code, severity}] {
				t.Errorf("no call of Doubt has %s with severity %s", code, severity)
			}
		}
	}
}
