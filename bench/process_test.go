package bench

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
)

// startTimeout bounds the start of a server. A working server starts much sooner.
const startTimeout = time.Minute

// process is a server that runs until the benchmark ends.
type process struct {
	cmd     *exec.Cmd
	address string
}

// start runs a server and waits until it responds. Of Latchkey's variables, its
// environment has only env and the address to listen on. Its log is discarded.
func start(b *testing.B, binary string, env []string, args ...string) *process {
	b.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	must(b, err)
	p := &process{cmd: exec.Command(binary, args...), address: free.Addr().String()}
	must(b, free.Close())
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "LATCHKEY_") {
			p.cmd.Env = append(p.cmd.Env, variable)
		}
	}
	p.cmd.Env = append(append(p.cmd.Env, env...), "LATCHKEY_LISTEN="+p.address)
	must(b, p.cmd.Start())
	b.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait() // it was killed
	})
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(10 * time.Millisecond) {
		resp, err := http.Get("http://" + p.address + "/healthz")
		if err == nil {
			resp.Body.Close()
			return p
		}
		if time.Now().After(deadline) {
			b.Fatalf("%s does not respond: %v", binary, err)
		}
	}
}

func (p *process) cpu(b *testing.B) (µs float64) { return processCPU(b, p.cmd.Process.Pid) }

// asEmpty makes this program run as the server with the empty handler.
const asEmpty = "BENCH_SERVE_EMPTY"

func startEmpty(b *testing.B) *process {
	b.Helper()
	return start(b, os.Args[0], []string{asEmpty + "=1"})
}

// serveEmpty serves a gin handler that does nothing for every request.
func serveEmpty() {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.NoRoute(func(c *gin.Context) { c.Status(http.StatusOK) })
	fmt.Fprintln(os.Stderr, http.ListenAndServe(os.Getenv("LATCHKEY_LISTEN"), engine))
}
