// Package pgtest runs a real PostgreSQL for tests.
package pgtest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Server is a PostgreSQL of one test, on a free port of the loopback.
type Server struct {
	URL string

	t    testing.TB
	bin  string
	dir  string
	port string
	as   *syscall.Credential // nil: as this process
	cmd  *exec.Cmd
	// ended is closed when cmd has.
	ended chan struct{}
}

// Start makes a database and runs its server until the test ends. The test fails
// when there is no PostgreSQL, rather than pass without it.
func Start(t testing.TB) *Server {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		t.Fatal("pgtest: there is no PostgreSQL in /usr/lib/postgresql")
	}
	s := &Server{t: t, bin: filepath.Dir(found[len(found)-1])}
	if s.dir, err = os.MkdirTemp("", "pgtest"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(s.dir) })
	if os.Geteuid() == 0 { // which PostgreSQL refuses to run as
		s.as = nobody(t)
		if err := os.Chown(s.dir, int(s.as.Uid), int(s.as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, s.port, _ = net.SplitHostPort(l.Addr().String())
	l.Close()
	s.URL = "postgres://sluice@127.0.0.1:" + s.port + "/postgres?sslmode=disable&connect_timeout=2"
	initdb := s.command("initdb", "-D", filepath.Join(s.dir, "data"), "-U", "sluice", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("pgtest: initdb: %v\n%s", err, out)
	}
	s.Run()
	t.Cleanup(s.Kill)
	return s
}

func nobody(t testing.TB) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err1 != nil || err2 != nil {
		t.Fatalf("pgtest: user nobody is %s:%s", u.Uid, u.Gid)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func (s *Server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	return cmd
}

// Run starts the server and waits until it accepts connections.
func (s *Server) Run() {
	s.t.Helper()
	s.cmd = s.command("postgres", "-D", filepath.Join(s.dir, "data"), "-p", s.port, "-h", "127.0.0.1", "-k", s.dir, "-F")
	s.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL // nothing is left of a test that is killed
	started, ended, cmd := make(chan error, 1), make(chan struct{}), s.cmd
	s.ended = ended
	go func() {
		// The kernel sends Pdeathsig when the thread that started the process ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // its exit status is the signal's
		}
	}()
	if err := <-started; err != nil {
		s.t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if s.command("pg_isready", "-q", "-h", "127.0.0.1", "-p", s.port).Run() == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal(fmt.Errorf("pgtest: the server does not get ready"))
		}
	}
}

// Kill ends the server at once: connections break, as when its machine dies.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGQUIT) // immediate shutdown: no farewell, children end too
	<-s.ended
	s.cmd = nil
}
