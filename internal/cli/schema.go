package cli

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/vobs/vobs/internal/check"
	"github.com/vobs/vobs/schema"
)

func schemaCommand() *cli.Command {
	return &cli.Command{
		Name:  "schema",
		Usage: "print the JSON Schema of the event (draft 2020-12)",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "strict", Usage: "forbid unknown keys everywhere, not in the core alone"},
			&cli.StringFlag{Name: "of", Value: schemaOfEvent, Usage: "`KIND` of file that the schema describes: event, or limits for vobs check --limits"},
		},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			text, err := schemaOf(c.String("of"), c.Bool("strict"))
			if err != nil {
				return err
			}
			_, err = c.App.Writer.Write(text)
			return err
		},
	}
}

// The kinds of files that have a schema.
const (
	schemaOfEvent  = "event"
	schemaOfLimits = "limits"
)

// schemaOf returns the JSON Schema of a kind of file.
func schemaOf(kind string, strict bool) ([]byte, error) {
	switch kind {
	case schemaOfEvent:
		return schema.JSON(strict)
	case schemaOfLimits: // never allows unknown keys
		return check.FileSchema(), nil
	}
	return nil, fmt.Errorf("--of %q: use event or limits", kind)
}
