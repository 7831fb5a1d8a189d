// Schemagen writes event.schema.json, the tables in docs/event.md, and the models of
// the Python package from the Go types of package schema: run `go generate ./schema`.
//
// Doc comments become descriptions. Pointers and fields tagged
// `schema:"nullable"` allow null, and `enum` tags list the allowed values. The
// tags kind and unit are described at [schema.Field]. A key is required if
// required.txt lists it, so that new keys are optional.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
)

func main() {
	out := flag.String("o", "event.schema.json", "write the JSON Schema to `FILE`")
	dir := flag.String("dir", ".", "`FOLDER` of package schema")
	page := flag.String("doc", "", "update the tables in `FILE`, a Markdown page")
	models := flag.String("python", "", "write the pydantic models to `FILE`")
	flag.Parse()
	if err := run(*out, *dir, *page, *models); err != nil {
		fmt.Fprintln(os.Stderr, "schemagen:", err)
		os.Exit(1)
	}
}

func run(out, dir, page, models string) error {
	comments, err := readComments(dir)
	if err != nil {
		return err
	}
	if page != "" {
		if err := updatePage(page, comments); err != nil {
			return err
		}
	}
	root, order, err := eventSchema(comments)
	if err != nil {
		return err
	}
	if models != "" {
		text, err := pythonModels(root, order)
		if err != nil {
			return err
		}
		if err := os.WriteFile(models, []byte(text), 0o644); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		return fmt.Errorf("encoding the schema: %w", err)
	}
	return os.WriteFile(out, b.Bytes(), 0o644)
}
