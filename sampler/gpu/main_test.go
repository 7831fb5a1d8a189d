package gpu

import (
	"testing"

	"github.com/vobs/vobs/internal/testkit"
)

// Most tests wait for a helper process, which sleeps.
func TestMain(m *testing.M) { testkit.Main(m, "6") }
