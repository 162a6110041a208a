package front

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"testing"
)

// idleBudget is what an idle kept-alive connection may cost: its goroutine, its
// structs and net's, without buffers.
const idleBudget = 6 << 10

// TestIdleConnectionsCostLittle has a second process open the connections, so
// that this one holds their server's half alone.
func TestIdleConnectionsCostLittle(t *testing.T) {
	conns := 10_000
	if raceEnabled {
		conns = 500
	}
	if err := allowFiles(uint64(conns) + 200); err != nil {
		t.Fatalf("%d connections need as many open files: %v", conns, err)
	}
	r := start(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		deep(100) // a handler has a larger stack than a connection that waits
		_, _ = io.WriteString(w, "hello")
	})})
	before := inUse()
	release := openElsewhere(t, r.addr, conns)
	defer release()
	for s := r.server.Stats(); s.Idle != conns; s = r.server.Stats() {
		if t.Context().Err() != nil {
			t.Fatalf("Stats = %+v", s)
		}
		runtime.Gosched() // the last response has been read just now
	}
	after := inUse()
	cost := int(int64(after.total())-int64(before.total())) / conns
	t.Logf("%d idle connections: %d bytes each, %d of them stack", conns, cost, int(int64(after.stack)-int64(before.stack))/conns)
	if cost > idleBudget && !raceEnabled { // its own memory is not what is measured
		t.Errorf("an idle connection costs %d bytes, want at most %d", cost, idleBudget)
	}
}

// deep uses some stack.
//
//go:noinline
func deep(n int) int {
	var pad [64]byte
	if n == 0 {
		return int(pad[0])
	}
	return deep(n-1) + int(pad[n%64])
}

type memory struct{ heap, stack uint64 }

func (m memory) total() uint64 { return m.heap + m.stack }

// inUse is the heap and the stacks after a few collections, each of which halves the
// stacks that are mostly empty.
func inUse() memory {
	for range 6 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return memory{m.HeapInuse, m.StackInuse}
}

// clientsEnv tells the test binary to be the clients instead: "address count".
const clientsEnv = "FRONT_TEST_CLIENTS"

// openElsewhere has another process open n connections, each with a request
// answered, and keep them until release is called.
func openElsewhere(t *testing.T, addr string, n int) (release func()) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), clientsEnv+"="+addr+" "+strconv.Itoa(n))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	release = func() {
		_ = in.Close()
		_ = cmd.Wait()
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		release()
		t.Fatalf("clients said %q, %v", line, err)
	}
	return release
}

// beClients opens the connections that openElsewhere asks for, and holds them until its input ends.
func beClients(order string) error {
	var addr string
	var n int
	if _, err := fmt.Sscan(order, &addr, &n); err != nil {
		return err
	}
	if err := allowFiles(uint64(n) + 200); err != nil {
		return err
	}
	conns := make([]net.Conn, n)
	buf := make([]byte, 1024)
	for i := range conns {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
		conns[i] = c
		if _, err := io.WriteString(c, get); err != nil {
			return err
		}
		if _, err := c.Read(buf); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(conns)
	return err
}

// allowFiles raises the soft limit of open files to n.
func allowFiles(n uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur >= n {
		return err
	}
	limit.Cur = n
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}
