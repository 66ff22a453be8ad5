//go:build unix

package testdb

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A test binary that is killed or times out runs no cleanup of its own.
func TestServerExitsWithItsProcess(t *testing.T) {
	if os.Getenv("LATCHKEY_TEST_VICTIM") != "" {
		becomeVictim(t)
	}
	victim := exec.Command(os.Args[0], "-test.run=^TestServerExitsWithItsProcess$", "-test.count=1")
	victim.Env = append(os.Environ(), "LATCHKEY_TEST_VICTIM=1")
	victim.Stderr = os.Stderr
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the victim printed nothing: %v", err)
	}
	folder, url, _ := strings.Cut(strings.TrimSpace(line), " ")
	query(t, url, "SELECT 1")
	postmaster := postmasterOf(t, folder)

	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait() // it was killed
	deadline := time.Now().Add(30 * time.Second)
	for !gone(folder) || alive(postmaster) {
		if time.Now().After(deadline) {
			t.Fatalf("the server still exists 30 s after its process: folder %v, process %v", !gone(folder), alive(postmaster))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// becomeVictim starts a server, prints where, and waits to be killed.
func becomeVictim(t *testing.T) {
	s, err := newServer(false)
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout.WriteString(s.folder + " " + s.url() + "\n")
	select {}
}

func postmasterOf(t *testing.T, folder string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	n, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func gone(folder string) bool {
	_, err := os.Stat(folder)
	return errors.Is(err, fs.ErrNotExist)
}

// alive does not count a zombie, because in a container nothing may reap it.
func alive(pid int) bool {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // Linux only
	return syscall.Kill(pid, 0) == nil && !bytes.Contains(stat, []byte(") Z "))
}
