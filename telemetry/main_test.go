package telemetry

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "rewrite the generated documents")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
