package testops

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// waitTimeout bounds every wait for a condition. Working code takes much less.
const waitTimeout = time.Minute

// built is the folder of the program, once a test has built it.
var built string

var latchkey = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "latchkey-ops-")
	if err != nil {
		return "", err
	}
	built = folder
	binary := filepath.Join(folder, "latchkey")
	build := exec.Command("go", "build", "-o", binary, "github.com/latchkey/latchkey/cmd/latchkey")
	if output, err := build.CombinedOutput(); err != nil {
		return "", errors.New(string(output))
	}
	return binary, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	os.Exit(code)
}

// process is a running program. It is killed when the test ends.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	output *output
}

// output is what a process has written so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// String returns everything that was written.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func start(t *testing.T, program string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(program, args...), exited: make(chan struct{}), output: &output{}}
	p.cmd.Dir = t.TempDir()
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "LATCHKEY_") {
			p.cmd.Env = append(p.cmd.Env, variable)
		}
	}
	p.cmd.Env = append(p.cmd.Env, "HOME="+p.cmd.Dir)
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	must(t, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait() // the result is in ProcessState
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGINT) // it may have exited; a proxy also stops its workers
		select {
		case <-p.exited:
		case <-time.After(10 * time.Second):
			_ = p.cmd.Process.Kill()
			<-p.exited
		}
		if t.Failed() {
			text := p.output.String()
			t.Logf("%s: %s", filepath.Base(program), text[max(0, len(text)-3000):])
		}
	})
	return p
}

// stop stops the process in order and waits until it has exited.
func (p *process) stop(t *testing.T) {
	t.Helper()
	must(t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.exited:
	case <-time.After(waitTimeout):
		t.Fatal("a process does not end after SIGTERM")
	}
}

// freePort returns an unused loopback port.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// waitFor waits until a URL returns 200.
func waitFor(t *testing.T, client *http.Client, url string, p *process) {
	t.Helper()
	deadline := time.After(waitTimeout)
	for {
		answer, err := client.Get(url)
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-p.exited:
			t.Fatalf("the process ended: %s", p.output)
		case <-deadline:
			t.Fatalf("%s does not answer 200: %v", url, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func text(port int) string { return strconv.Itoa(port) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
