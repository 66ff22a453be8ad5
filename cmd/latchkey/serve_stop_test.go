package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
)

// openRequest is a request whose handler waits for its form.
type openRequest struct {
	t      *testing.T
	conn   net.Conn
	reader *bufio.Reader
	form   string
}

// hold sends the headers of a request, and returns when the handler waits for the
// body.
func hold(t *testing.T, s *server, path string, form url.Values) *openRequest {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(waitTimeout)))
	u := &openRequest{t, conn, bufio.NewReader(conn), form.Encode()}
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n",
		path, len(u.form))
	must(t, err)
	resp, err := http.ReadResponse(u.reader, nil)
	must(t, err)
	if resp.StatusCode != http.StatusContinue {
		t.Fatalf("the handler does not wait: %s", resp.Status)
	}
	return u
}

// finish sends the form and reads the response.
func (u *openRequest) finish() *response {
	u.t.Helper()
	_, err := io.WriteString(u.conn, u.form)
	must(u.t, err)
	resp, err := http.ReadResponse(u.reader, nil)
	must(u.t, err)
	text, err := io.ReadAll(resp.Body)
	must(u.t, err)
	return parse(resp.StatusCode, resp.Header, text)
}

// untilClosed waits until the server accepts no connections.
func untilClosed(t *testing.T, s *server) {
	t.Helper()
	eventually(t, "no open connections", func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
}

func TestSIGTERMLetsEveryAcceptedRequestFinish(t *testing.T) {
	t.Parallel()
	d := newRaceDeployment(t, testdb.Postgres(t))
	s := d.serve()
	requests := make([]*openRequest, 50)
	for i := range requests {
		session := d.signIn(s, fmt.Sprintf("user-%d", i))
		requests[i] = hold(t, s, "/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {"web"}, "refresh_token": {session.text("refresh_token")}})
	}
	s.signal(syscall.SIGTERM)
	untilClosed(t, s)
	answers := make([]*response, len(requests))
	for i, r := range requests {
		if answers[i] = r.finish(); answers[i].status != 200 {
			t.Errorf("request %d: %d %s", i, answers[i].status, answers[i].body)
		}
	}
	if code := s.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(s.err.String(), `"msg":"stopped"`) {
		t.Errorf("the log does not report that it has stopped: %s", tail(s.err.String()))
	}
	next := d.serve()
	for i, a := range answers {
		if again := next.refresh(a.text("refresh_token")); again.status != 200 {
			t.Errorf("the result of request %d is lost: %d %s", i, again.status, again.body)
		}
	}
}

func TestASecondSignalEndsTheProcessAtOnce(t *testing.T) {
	t.Parallel()
	d := newRaceDeployment(t, testdb.SQLite(t))
	s := d.serve()
	hold(t, s, "/token", url.Values{"grant_type": {"refresh_token"}})
	s.signal(syscall.SIGTERM)
	untilClosed(t, s)
	s.signal(syscall.SIGTERM)
	s.wait()
	if status, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGTERM {
		t.Errorf("it ended by %s, not by the signal", s.cmd.ProcessState)
	}
}
