package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestNetworksAreReadFromWordsAndFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "n.txt")
	if err := os.WriteFile(file, []byte("# feed\n192.0.2.0/24\n\n2001:db8::1 # one\n198.51.100.77/24\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := parseNetworks([]string{"203.0.113.7", "@" + file})
	if want := "[203.0.113.7/32 192.0.2.0/24 2001:db8::1/128 198.51.100.0/24]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("%v %v, want %s", got, err, want)
	}
	if err := os.WriteFile(file, []byte("192.0.2.0/24\n192.0.2.0/33\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := parseNetworks([]string{"@" + file}); err == nil || err.Error() != file+`:2: "192.0.2.0/33" is no address and no network, such as 203.0.113.0/24` {
		t.Error(err)
	}
	if _, err := parseNetworks([]string{"here"}); err == nil {
		t.Error("a word is no network")
	}
}
