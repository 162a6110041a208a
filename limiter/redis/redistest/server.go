// Package redistest runs a real redis-server for tests.
package redistest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is a running redis-server.
type Server struct {
	Address string
	t       testing.TB
	cmd     *exec.Cmd
}

// Start runs a server on a free port of the loopback until the test ends. The
// test fails when there is no redis-server, rather than pass without it.
func Start(t testing.TB) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Address: l.Addr().String(), t: t}
	l.Close()
	s.Run()
	t.Cleanup(s.Kill)
	return s
}

// Run starts the server, empty, at its address.
func (s *Server) Run() {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(s.Address)
	s.cmd = exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.t.TempDir())
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ready := make(chan bool, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if strings.Contains(lines.Text(), "eady to accept connections") {
				ready <- true
			}
		}
		close(ready)
	}()
	select {
	case ok := <-ready:
		if ok {
			return
		}
	case <-time.After(10 * time.Second):
	}
	s.t.Fatal("redis-server did not start")
}

// Kill ends the server at once.
func (s *Server) Kill() {
	if s.cmd != nil {
		s.cmd.Process.Kill()
		s.cmd.Wait()
		s.cmd = nil
	}
}

// Stop suspends the server: it accepts connections and does not answer.
func (s *Server) Stop() { s.cmd.Process.Signal(syscall.SIGSTOP) }

// Continue ends Stop.
func (s *Server) Continue() { s.cmd.Process.Signal(syscall.SIGCONT) }

// Open gives the server an epoch that grants at once, as if the cluster had been
// running.
func (s *Server) Open(prefix string, epoch uint64) {
	s.t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: s.Address})
	defer rdb.Close()
	if err := rdb.HSet(context.Background(), prefix+":{0}:register", "epoch", epoch, "open", 0, "early", 0, "since", 0).Err(); err != nil {
		s.t.Fatal(err)
	}
}

// Calls is how often a command ran.
func (s *Server) Calls(command string) (n int) {
	s.t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: s.Address})
	defer rdb.Close()
	info, err := rdb.Info(context.Background(), "commandstats").Result()
	if err != nil {
		s.t.Fatal(err)
	}
	if _, rest, ok := strings.Cut(info, "cmdstat_"+command+":calls="); ok {
		fmt.Sscanf(rest, "%d", &n)
	}
	return n
}

// Flush empties the server.
func (s *Server) Flush() {
	s.t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: s.Address})
	defer rdb.Close()
	if err := rdb.FlushAll(context.Background()).Err(); err != nil {
		s.t.Fatal(err)
	}
}
