package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
)

// readResponse sends a request on an open connection and reads the response.
func readResponse(t *testing.T, conn net.Conn, reader *bufio.Reader, request string) *http.Response {
	t.Helper()
	_, err := fmt.Fprint(conn, request)
	must(t, err)
	resp, err := http.ReadResponse(reader, nil)
	must(t, err)
	resp.Body.Close()
	return resp
}

func TestAStoppingNodeServesDuringTheShutdownDelay(t *testing.T) {
	t.Parallel()
	d := newRaceDeployment(t, testdb.SQLite(t))
	d.edit("shutdown_delay: 0s", "shutdown_delay: 10s")
	s := d.serve()
	session := d.signIn(s, "alice")
	address := strings.TrimPrefix(s.url, "http://")
	idle, err := net.Dial("tcp", address) // idle, like those of proxies
	must(t, err)
	defer idle.Close()
	must(t, idle.SetDeadline(time.Now().Add(waitTimeout)))
	reader := bufio.NewReader(idle)
	const probe = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
	if resp := readResponse(t, idle, reader, probe); resp.StatusCode != 200 || resp.Close {
		t.Fatalf("before: %s, closes %v", resp.Status, resp.Close)
	}
	s.signal(syscall.SIGTERM)
	eventually(t, "not ready", func() bool { return s.get("/readyz").status == 503 })
	if a := s.refresh(session.text("refresh_token")); a.status != 200 {
		t.Errorf("a new connection gets status %d %s", a.status, a.body)
	}
	if resp := readResponse(t, idle, reader, probe); resp.StatusCode != 200 || !resp.Close {
		t.Errorf("a kept-alive connection returned %s, closes %v", resp.Status, resp.Close)
	}
	if code := s.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, log, found := strings.Cut(s.err.String(), `"msg":"stopping"`); !found || strings.Contains(log, `"level":"ERROR"`) || !strings.Contains(log, `"msg":"stopped"`) {
		t.Errorf("the log of a clean stop: %s", tail(s.err.String()))
	}
}

func TestASecondSignalEndsTheDelay(t *testing.T) {
	t.Parallel()
	d := newRaceDeployment(t, testdb.SQLite(t))
	d.edit("shutdown_delay: 0s", "shutdown_delay: 5m")
	s := d.serve()
	s.signal(syscall.SIGTERM)
	eventually(t, "not ready", func() bool { return s.get("/readyz").status == 503 })
	s.signal(syscall.SIGTERM)
	if code := s.wait(); code != -1 {
		t.Errorf("exit code %d", code)
	}
}

func TestSIGHUPWithoutACertificateIsIgnored(t *testing.T) {
	t.Parallel()
	d := newRaceDeployment(t, testdb.SQLite(t))
	s := d.serve()
	for range 3 {
		s.signal(syscall.SIGHUP)
	}
	eventually(t, "a line in the log", func() bool { return strings.Contains(s.err.String(), "SIGHUP ignored") })
	if a := s.get("/readyz"); a.status != 200 {
		t.Errorf("afterwards /readyz answers %d", a.status)
	}
}

// serialOf returns the serial number of a server's certificate.
func serialOf(t *testing.T, address string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	must(t, err)
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String() + string(conn.ConnectionState().PeerCertificates[0].Signature)
}

func TestACertificateIsReplacedWithoutARestart(t *testing.T) {
	t.Parallel()
	d := newRaceDeployment(t, testdb.SQLite(t))
	write := func() {
		certificate, key := selfSigned(t)
		d.write("cert.pem", certificate)
		d.write("key.pem", key)
	}
	write()
	d.edit("\nissuer: http:", "\nissuer: https:", "metrics_listen: none", "metrics_listen: none\ntls: { cert_file: cert.pem, key_file: key.pem }")
	s := d.start()
	s.scheme = "https"
	s.untilServing()
	address := strings.TrimPrefix(s.url, "https://")
	first := serialOf(t, address)

	write()
	s.signal(syscall.SIGHUP)
	eventually(t, "the second certificate after SIGHUP", func() bool { return serialOf(t, address) != first })
	second := serialOf(t, address)

	d.write("cert.pem", "half a certif") // as after a full disk
	s.signal(syscall.SIGHUP)
	eventually(t, "a warning", func() bool { return strings.Contains(s.err.String(), "was not reloaded") })
	if serialOf(t, address) != second {
		t.Error("a broken pair replaced the one that could be served")
	}
	write()
	eventually(t, "the third certificate without a signal", func() bool { return serialOf(t, address) != second })
}

func TestTheServerSurvivesTheReaderOfItsLog(t *testing.T) {
	t.Parallel()
	d := newRaceDeployment(t, testdb.SQLite(t))
	address := freeAddress(t)
	metrics := freeAddress(t)
	d.edit("listen: 127.0.0.1:0\nmetrics_listen: none", "listen: "+address+"\nmetrics_listen: "+metrics+"\nlog: { level: debug }")
	fifo := filepath.Join(d.folder, "log")
	must(t, syscall.Mkfifo(fifo, 0o600))
	reader, err := os.OpenFile(fifo, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	must(t, err)
	writer, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	must(t, err)
	p := startInto(t, writer, "serve", "--config", d.file)
	writer.Close()
	s := &server{process: p, scheme: "http", url: "http://" + address}
	untilUp := func() {
		t.Helper()
		eventually(t, "ready", func() bool {
			resp, err := http.Get(s.url + "/readyz")
			if err == nil {
				resp.Body.Close()
			}
			return err == nil && resp.StatusCode == 200
		})
	}
	untilUp()
	must(t, reader.Close())
	for range 20 {
		if a := s.post("/token", []string{"grant_type", "refresh_token"}); a.status != 401 {
			t.Fatalf("with nobody at the log: %d %s", a.status, a.body)
		}
	}
	eventually(t, "lost lines are counted", func() bool {
		a := (&server{process: p, scheme: "http", url: "http://" + metrics}).get("/metrics")
		_, rest, found := strings.Cut(a.body, "\nlatchkey_log_lines_lost_total ")
		return found && !strings.HasPrefix(rest, "0\n")
	})
	s.signal(syscall.SIGTERM)
	if code := s.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
