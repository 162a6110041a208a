package certs

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice/conf"
)

// follow runs s and returns how to wait until it serves a certificate.
func follow(t *testing.T, s *Store) (serves func(name string, want int64)) {
	t.Helper()
	checked := make(chan struct{}, 1)
	s.afterCheck = func() {
		select {
		case checked <- struct{}{}:
		default:
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	<-checked // the look at the start, after which the directories are watched
	return func(name string, want int64) {
		t.Helper()
		timeout := time.After(10 * time.Second)
		for serialOf(t, s, hello(name)) != want {
			select {
			case <-checked:
			case <-timeout:
				t.Fatalf("%s: still serves %d, want %d", name, serialOf(t, s, hello(name)), want)
			}
		}
	}
}

func TestFilesThatAreWrittenOver(t *testing.T) {
	dir := t.TempDir()
	serves := follow(t, open(t, put(t, dir, "a", issue("ecdsa", time.Hour, "a.example"))))
	next := issue("ecdsa", time.Hour, "a.example")
	put(t, dir, "a", next)
	serves("a.example", next.serial)
}

func TestFilesThatAreRenamedOver(t *testing.T) {
	dir := t.TempDir()
	files := put(t, dir, "a", issue("ecdsa", time.Hour, "a.example"))
	serves := follow(t, open(t, files))
	for range 2 { // also after the file that was watched first is gone
		next := issue("ecdsa", time.Hour, "a.example")
		temp := put(t, dir, "new", next)
		for from, to := range map[string]string{temp.Cert: files.Cert, temp.Key: files.Key} {
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
		}
		serves("a.example", next.serial)
	}
}

func symlink(t *testing.T, target, link string) {
	t.Helper()
	temp := link + ".tmp"
	if err := os.Symlink(target, temp); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temp, link); err != nil {
		t.Fatal(err)
	}
}

// A Kubernetes secret is a directory of links through ..data, which alone is
// replaced, as a whole.
func TestKubernetesSecrets(t *testing.T) {
	dir := t.TempDir()
	version := func(name string) issued {
		i := issue("ecdsa", time.Hour, "a.example")
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name, "tls.crt"), i.cert)
		write(t, filepath.Join(dir, name, "tls.key"), i.key)
		symlink(t, name, filepath.Join(dir, "..data"))
		return i
	}
	version("..2026_11_23_1")
	files := conf.Certificate{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	symlink(t, "..data/tls.crt", files.Cert)
	symlink(t, "..data/tls.key", files.Key)

	serves := follow(t, open(t, files))
	for n := range 2 {
		old, _ := os.Readlink(filepath.Join(dir, "..data"))
		next := version("..2026_11_23_" + string(rune('2'+n)))
		if err := os.RemoveAll(filepath.Join(dir, old)); err != nil {
			t.Fatal(err)
		}
		serves("a.example", next.serial)
	}
}

// A link further up is replaced without an event in the directory watched.
func TestPollingFindsWhatEventsMiss(t *testing.T) {
	dir := t.TempDir()
	for _, v := range []string{"v1", "v2"} {
		if err := os.Mkdir(filepath.Join(dir, v), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	put(t, filepath.Join(dir, "v1"), "a", issue("ecdsa", time.Hour, "a.example"))
	next := issue("ecdsa", time.Hour, "a.example")
	put(t, filepath.Join(dir, "v2"), "a", next)
	current := filepath.Join(dir, "current")
	symlink(t, "v1", current)
	s, err := Open([]conf.Certificate{{Cert: filepath.Join(current, "a.pem"), Key: filepath.Join(current, "a-key.pem")}}, Options{Poll: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	serves := follow(t, s)
	symlink(t, "v2", current)
	serves("a.example", next.serial)
}

func TestANewListIsFollowed(t *testing.T) {
	dirA, dirB := t.TempDir(), t.TempDir()
	s := open(t, put(t, dirA, "a", issue("ecdsa", time.Hour, "a.example")))
	serves := follow(t, s)
	b := issue("ecdsa", time.Hour, "b.example")
	files := put(t, dirB, "b", b)
	if err := s.Use([]conf.Certificate{files}); err != nil {
		t.Fatal(err)
	}
	serves("b.example", b.serial)
	next := issue("ecdsa", time.Hour, "b.example")
	put(t, dirB, "b", next)
	serves("b.example", next.serial)
}
