package gpu

import (
	"testing"

	"github.com/vobs/vobs/internal/testkit"
)

// Most tests wait for helper processes that sleep.
func TestMain(m *testing.M) { testkit.Main(m, "6") }
