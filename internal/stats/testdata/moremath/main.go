// Command moremath makes moremath.json from reference.json: the p value of the Mann-Whitney
// test of github.com/aclements/go-moremath, on which benchstat is based, for each case with
// ties. Run once, by hand, with its version v0.0.0-20210112150236-f10218a38794:
//
//	mkdir /tmp/moremath && cp moremath/main.go /tmp/moremath && cd /tmp/moremath
//	go mod init moremath && go get github.com/aclements/go-moremath@v0.0.0-20210112150236-f10218a38794
//	go run . < .../testdata/reference.json > .../testdata/moremath.json
package main

import (
	"encoding/json"
	"log"
	"os"

	"github.com/aclements/go-moremath/stats"
)

func main() {
	var reference struct {
		MannWhitney []struct {
			Source string
			X, Y   []float64
		} `json:"mann_whitney"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&reference); err != nil {
		log.Fatal(err)
	}
	type result struct {
		X []float64 `json:"x"`
		Y []float64 `json:"y"`
		P float64   `json:"p"`
	}
	out := json.NewEncoder(os.Stdout)
	for _, c := range reference.MannWhitney {
		if c.Source != "counted" {
			continue
		}
		test, err := stats.MannWhitneyUTest(c.X, c.Y, stats.LocationDiffers)
		if err == stats.ErrSamplesEqual {
			continue // p is 1
		} else if err != nil {
			log.Fatal(err)
		}
		if err := out.Encode(result{c.X, c.Y, test.P}); err != nil {
			log.Fatal(err)
		}
	}
}
