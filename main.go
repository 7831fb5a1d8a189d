// Vobs brackets a vLLM generation run and leaves one honest JSON event: see
// README.md.
package main

import (
	"os"

	"github.com/vobs/vobs/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args)) }
