package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// waitTimeout bounds every wait for a condition. Working code takes much less.
const waitTimeout = time.Minute

// process is a running command. Call its methods from the goroutine of the test.
type process struct {
	t        testing.TB
	cmd      *exec.Cmd
	stdin    io.Closer
	exited   chan struct{}
	out, err output
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

// start runs the command in an empty working directory, with only env of Latchkey's
// variables. It is killed when the test ends.
func start(t testing.TB, env []string, args ...string) *process {
	t.Helper()
	return startWith(t, env, nil, args...)
}

// startInto is start with standard error written to a file, and with the race detector.
func startInto(t testing.TB, errors *os.File, args ...string) *process {
	t.Helper()
	return startWith(t, []string{detectRaces}, errors, args...)
}

func startWith(t testing.TB, env []string, errors *os.File, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(program(t, env), args...), exited: make(chan struct{})}
	p.cmd.Dir = t.TempDir()
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "LATCHKEY_") {
			p.cmd.Env = append(p.cmd.Env, variable)
		}
	}
	p.cmd.Env = append(append(p.cmd.Env, env...), asCommand+"=1",
		"GORACE=atexit_sleep_ms=0") // a process with a race still exits with 66
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	if errors != nil {
		p.cmd.Stderr = errors
	}
	stdin, err := p.cmd.StdinPipe()
	must(t, err)
	p.stdin = stdin
	must(t, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait() // the result is in ProcessState
		close(p.exited)
	}()
	t.Cleanup(p.kill)
	return p
}

// kill kills the process, and reports races and log lines.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have exited
	<-p.exited
	_ = p.stdin.Close()
	if _, race, found := strings.Cut(p.err.String(), "WARNING: DATA RACE"); found {
		p.t.Errorf("the race detector found a race:%s", race[:min(len(race), 8000)])
	}
	if p.t.Failed() {
		var faults strings.Builder
		for line := range strings.Lines(p.err.String()) {
			if strings.Contains(line, `"level":"ERROR"`) || strings.Contains(line, `"level":"WARN"`) {
				faults.WriteString(line)
			}
		}
		p.t.Logf("%s\nstdout: %s\nstderr: %s\nfaults in it: %s", strings.Join(p.cmd.Args[1:], " "),
			tail(p.out.String()), tail(p.err.String()), tail(faults.String()))
	}
}

func tail(text string) string { return text[max(0, len(text)-2000):] }

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatal(err)
	}
}

// wait returns the exit code once the process has exited, or -1 if a signal ended it.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(waitTimeout):
		p.t.Fatalf("%s has not ended", p.cmd.Args[1])
	}
	return p.cmd.ProcessState.ExitCode()
}

// running reports whether the process is running.
func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// run runs a command and waits for its exit.
func run(t testing.TB, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	p := start(t, env, args...)
	code = p.wait()
	return code, p.out.String(), p.err.String()
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	if !within(waitTimeout, holds) {
		t.Fatalf("still waiting: %s", what)
	}
}

// within reports whether a condition holds within a time.
func within(d time.Duration, holds func() bool) bool {
	for deadline := time.Now().Add(d); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
