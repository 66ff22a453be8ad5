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

// patience bounds the start of a server. Only what is broken waits so long.
const patience = time.Minute

// process is a server that runs until the benchmark ends.
type process struct {
	cmd     *exec.Cmd
	address string
}

// start runs a server with nothing of latchkey's in its environment but env and
// the address to listen on, and waits until it answers. Nobody reads its log.
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
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		resp, err := http.Get("http://" + p.address + "/healthz")
		if err == nil {
			resp.Body.Close()
			return p
		}
		if time.Now().After(deadline) {
			b.Fatalf("%s does not answer: %v", binary, err)
		}
	}
}

func (p *process) cpu(b *testing.B) (µs float64) { return processCPU(b, p.cmd.Process.Pid) }

// asEmpty makes this program the server whose handler does nothing.
const asEmpty = "BENCH_SERVE_EMPTY"

func startEmpty(b *testing.B) *process {
	b.Helper()
	return start(b, os.Args[0], []string{asEmpty + "=1"})
}

// serveEmpty serves a gin handler that does nothing, whatever it is asked.
func serveEmpty() {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.NoRoute(func(c *gin.Context) { c.Status(http.StatusOK) })
	fmt.Fprintln(os.Stderr, http.ListenAndServe(os.Getenv("LATCHKEY_LISTEN"), engine))
}
