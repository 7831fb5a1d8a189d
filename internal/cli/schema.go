package cli

import (
	"github.com/urfave/cli/v2"

	"github.com/vobs/vobs/schema"
)

func schemaCommand() *cli.Command {
	return &cli.Command{
		Name:  "schema",
		Usage: "print the JSON Schema of the event (draft 2020-12)",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "strict", Usage: "forbid unknown keys everywhere, not in the core alone"}},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			text, err := schema.JSON(c.Bool("strict"))
			if err != nil {
				return err
			}
			_, err = c.App.Writer.Write(text)
			return err
		},
	}
}
