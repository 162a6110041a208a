package cluster

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"sluice/conf"
)

func TestTheLibrarysLogIsRetoldAndThrottled(t *testing.T) {
	var out bytes.Buffer
	n, err := New(Options{
		Name: "a", Config: conf.Cluster{Bind: "127.0.0.1:0", Secret: secretOf(1)},
		Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo})),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	l := &logBridge{n: n}
	for i := range 1000 {
		fmt.Fprintf(l, "[ERR] memberlist: Decrypt packet failed: no installed keys could decrypt the message from=192.0.2.%d:7946\n", i%256)
	}
	fmt.Fprintln(l, "[DEBUG] memberlist: Stream connection from=192.0.2.1:9")
	fmt.Fprintln(l, "[INFO] memberlist: Suspect gw-2 has failed, no acks received")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "level=WARN") || !strings.Contains(lines[1], "level=INFO") || !strings.Contains(lines[1], "Suspect gw-2") {
		t.Errorf("logged:\n%s", out.String())
	}
	if d := n.Stats().Dropped["wrong_key"]; d != 1000 {
		t.Errorf("%d packets of a wrong key counted, want 1000", d)
	}
}
