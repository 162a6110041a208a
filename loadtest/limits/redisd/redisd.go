// Package redisd runs a redis-server that can be made to fail.
package redisd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/loadtest/compare/proc"
)

// Server is a redis-server; its methods are for one goroutine at a time. It keeps
// nothing on disk, so it is empty whenever it starts.
type Server struct {
	Address string // host:port
	dir     string
	process *proc.Process
	stats   *redis.Client
}

// Quiet keeps go-redis from writing a line for every connection that fails: here
// servers are killed on purpose.
func Quiet() { redis.SetLogger(silence{}) }

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// Start starts a server at address, host:port; dir is for its log. Stop ends it.
func Start(address, dir string) (*Server, error) {
	s := &Server{Address: address, dir: dir}
	// For the rig's own questions: they must outlast a busy machine.
	s.stats = redis.NewClient(&redis.Options{Addr: address, ReadTimeout: 10 * time.Second, MaxRetries: -1})
	if err := s.Restart(); err != nil {
		s.stats.Close()
		return nil, err
	}
	return s, nil
}

// Restart starts the server again, empty, after Kill.
func (s *Server) Restart() error {
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "redis-"+port+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.process, err = proc.Start(proc.Spec{
		Args: []string{"redis-server", "--port", port, "--bind", host, "--protected-mode", "no", "--save", "", "--appendonly", "no", "--dir", s.dir,
			"--maxmemory-policy", "noeviction"},
		Output: log,
	})
	if err != nil {
		return err
	}
	end := time.Now().Add(20 * time.Second)
	for {
		err := s.stats.Ping(context.Background()).Err()
		if err == nil {
			return nil
		}
		select {
		case <-s.process.Ended():
			return errors.Join(errors.New("redis-server has ended; its log is "+log.Name()), s.process.Err())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(end) {
			s.process.Stop(time.Second)
			return fmt.Errorf("redis-server does not answer: %w", err)
		}
	}
}

// Kill ends the server at once.
func (s *Server) Kill() error {
	err := syscall.Kill(s.process.PID(), syscall.SIGKILL)
	<-s.process.Ended()
	return err
}

// Pause stops the server: it accepts connections, and does not answer.
func (s *Server) Pause() error { return syscall.Kill(s.process.PID(), syscall.SIGSTOP) }

// Continue ends Pause.
func (s *Server) Continue() error { return syscall.Kill(s.process.PID(), syscall.SIGCONT) }

// Flush empties the server.
func (s *Server) Flush() error { return s.stats.FlushAll(context.Background()).Err() }

// Stop ends the server for good.
func (s *Server) Stop() {
	select {
	case <-s.process.Ended():
	default:
		syscall.Kill(s.process.PID(), syscall.SIGCONT) //nolint:errcheck // it may have ended
	}
	s.process.Stop(5 * time.Second)
	s.stats.Close()
}

// Calls is how many script calls the server has answered since it started.
func (s *Server) Calls() (n int64, err error) {
	info, err := s.stats.Info(context.Background(), "commandstats").Result()
	if err != nil {
		return 0, err
	}
	return scriptCalls(info), nil
}

// scriptCalls reads INFO commandstats.
func scriptCalls(info string) (n int64) {
	for line := range strings.Lines(info) {
		for _, command := range []string{"cmdstat_evalsha:", "cmdstat_eval:"} {
			if rest, ok := strings.CutPrefix(line, command+"calls="); ok {
				var calls int64
				fmt.Sscanf(rest, "%d", &calls) //nolint:errcheck // 0 when it is no number
				n += calls
			}
		}
	}
	return n
}
