package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
)

// readComments returns the doc comments of the types in dir and of their fields,
// by "Type" and "Type.Field".
func readComments(dir string) (map[string]string, error) {
	comments := map[string]string{}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the types: %w", err)
	}
	for _, entry := range files {
		if !strings.HasSuffix(entry.Name(), ".go") || strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), dir+"/"+entry.Name(), nil, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("reading the types: %w", err)
		}
		for _, decl := range f.Decls {
			if types, ok := decl.(*ast.GenDecl); ok && types.Tok == token.TYPE {
				addComments(comments, types)
			}
		}
	}
	return comments, nil
}

func addComments(comments map[string]string, types *ast.GenDecl) {
	for _, spec := range types.Specs {
		t := spec.(*ast.TypeSpec)
		comments[t.Name.Name] = text(types.Doc)
		s, ok := t.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, field := range s.Fields.List {
			for _, name := range field.Names {
				comments[t.Name.Name+"."+name.Name] = text(field.Doc)
			}
		}
	}
}

// docLink is a Go doc link, such as [Version].
var docLink = regexp.MustCompile(`\[([A-Z]\w*)\]`)

// text joins a comment into one line and turns doc links into plain names.
func text(c *ast.CommentGroup) string {
	return docLink.ReplaceAllString(strings.Join(strings.Fields(c.Text()), " "), "$1")
}
