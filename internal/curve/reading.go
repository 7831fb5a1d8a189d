package curve

import "time"

// Reading is the value of a figure at a time, for a file of all readings.
type Reading struct {
	At time.Time
	// Name is the figure, as in [Figure].
	Name  string
	Value float64
	// Endpoint is the address of the engine's server, Stage its stage; "" if there is none.
	Endpoint, Stage string
}
