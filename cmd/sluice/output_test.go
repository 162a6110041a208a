package main

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestTablesMoveNoCursor(t *testing.T) {
	var out strings.Builder
	o := &outputFlag{format: "table"}
	err := o.print(&out, nil, func(w io.Writer) { fmt.Fprintln(w, "acme\x1b[2J\tZoë\u009b") })
	if want := "acme\uFFFD[2J  Zoë\uFFFD\n"; err != nil || out.String() != want {
		t.Errorf("got %q %v, want %q", out.String(), err, want)
	}
}
