package cli

import (
	"fmt"
	"os"

	"github.com/vobs/vobs/internal/load/loadtest"
)

// openaiMain is a simulated OpenAI-compatible server on the unix socket args[0], until it is
// killed. Mode args[1] is fast, refuse (it answers 503), or hang (from the fifth request on; the
// sixth writes the file `hanging`). When it listens, it writes the file args[0].ready.
func openaiMain(args []string) int {
	s := loadtest.New(func(a *loadtest.Answer, number int) {
		switch args[1] {
		case "refuse":
			a.WriteHeader(503)
			a.Send(`{"error":{"message":"overloaded"}}`)
		case "hang":
			if number < 4 {
				a.All()
				return
			}
			a.Start()
			if number == 5 {
				_ = os.WriteFile("hanging", nil, 0o600)
			}
			<-a.Request.Context().Done()
		default:
			a.All()
		}
	})
	_, err := s.Listen(args[0])
	if err == nil {
		err = os.WriteFile(args[0]+".ready", []byte("ready\n"), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	select {}
}
