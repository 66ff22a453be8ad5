package testops

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
)

// haproxy forwards to one of two servers, which the test selects. It does not close open
// connections.
type haproxy struct {
	t             *testing.T
	url, commands string
}

func newHAProxy(t *testing.T, p *testdb.ReplicatedCluster) *haproxy {
	t.Helper()
	folder, port := t.TempDir(), text(freePort(t))
	h := &haproxy{t: t, commands: filepath.Join(folder, "commands")}
	u, err := url.Parse(p.Primary.URL())
	must(t, err)
	socket := func(c *testdb.Cluster) string {
		u, err := url.Parse(c.URL())
		must(t, err)
		return filepath.Join(u.Query().Get("host"), ".s.PGSQL.5432")
	}
	u.Host, u.RawQuery = "127.0.0.1:"+port, "sslmode=disable"
	h.url = u.String()
	file := filepath.Join(folder, "haproxy.cfg")
	write(t, file, fmt.Sprintf(`global
    stats socket %s level admin
defaults
    mode tcp
    timeout connect 2s
    timeout client 1h
    timeout server 1h
listen database
    bind 127.0.0.1:%s
    server a unix@%s
    server b unix@%s disabled
`, h.commands, port, socket(p.Primary), socket(p.Standby)))
	run(t, exec.Command(installed(t, "haproxy"), "-db", "-f", file))
	untilListening(t, port)
	return h
}

// switchOver forwards new connections to the second server.
func (h *haproxy) switchOver() {
	h.t.Helper()
	for _, command := range []string{"set server database/a state maint", "set server database/b state ready"} {
		conn, err := net.Dial("unix", h.commands)
		must(h.t, err)
		_, err = io.WriteString(conn, command+"\n")
		must(h.t, err)
		_, err = io.ReadAll(conn)
		must(h.t, err)
		conn.Close()
	}
}

// outcome counts the responses that users got during a failover.
type outcome struct {
	answers, unavailable, wrong, lost atomic.Int64
	mu                                sync.Mutex
	first, last                       time.Time // of the 503 responses
}

// until repeats a request while it returns 503, as clients do.
func (y *outcome) until(stop <-chan struct{}, ask func() *testserver.Answer) *testserver.Answer {
	for {
		a := ask()
		y.answers.Add(1)
		if a.Status != 503 {
			return a
		}
		y.unavailable.Add(1)
		y.mu.Lock()
		y.last = time.Now()
		if y.first.IsZero() {
			y.first = y.last
		}
		y.mu.Unlock()
		select {
		case <-stop:
			return nil
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// user repeatedly signs in, refreshes, introspects at the other node, and signs out.
func (y *outcome) user(t *testing.T, issuer, name string, here, there *testserver.Deployment, stop <-chan struct{}) {
	wrong := func(what string, a *testserver.Answer) {
		y.wrong.Add(1)
		t.Errorf("%s: %s: %d %s", name, what, a.Status, a.Body)
	}
	active := func(access string, want bool) {
		a := y.until(stop, func() *testserver.Answer { return there.Introspect("", access) })
		if a != nil && (a.Status != 200 || a.JSON["active"] != want) {
			wrong(fmt.Sprintf("introspection, want active: %t", want), a)
		}
	}
	for {
		a := y.until(stop, func() *testserver.Answer {
			return here.Exchange("", "web", here.Issuer.Token(issuer, name, nil))
		})
		for range 10 {
			select {
			case <-stop:
				return
			default:
			}
			if a == nil {
				return
			}
			if a.Status != 200 {
				y.lost.Add(1)
				t.Errorf("%s lost a session: %d %s", name, a.Status, a.Body)
				break
			}
			active(a.Text("access_token"), true)
			token := a.Text("refresh_token")
			a = y.until(stop, func() *testserver.Answer { return here.Refresh("", "web", token) })
		}
		if a == nil || a.Status != 200 {
			continue
		}
		out := y.until(stop, func() *testserver.Answer {
			return here.Post("/revoke", []string{"token", a.Text("refresh_token"), "client_id", "web"})
		})
		if out != nil && out.Status != 200 {
			wrong("sign-out", out)
		} else if out != nil {
			active(a.Text("access_token"), false)
		}
	}
}

// The former primary keeps its connections and responds on them. It rejects writes once
// the standby is promoted.
func TestAFailoverUnderLoadLosesNoSession(t *testing.T) {
	cluster := testdb.NewReplicatedCluster(t)
	proxy := newHAProxy(t, cluster)
	a := testserver.NewDeployment(t, testserver.Options{DatabaseURL: proxy.url, Run: true})
	b := a.OtherNode()
	y, stop := new(outcome), make(chan struct{})
	watching, end := context.WithCancel(t.Context())
	var running, users sync.WaitGroup
	running.Go(func() { passTime(watching, a.Clock) })
	for _, d := range []*testserver.Deployment{a, b} {
		running.Go(func() { d.Store.Watch(watching) })
	}
	for i := range 6 {
		here, there := a, b
		if i%2 == 1 {
			here, there = b, a
		}
		users.Go(func() { y.user(t, a.URL, fmt.Sprint("user-", i), here, there, stop) })
	}
	y.wait(t, 300)
	cluster.Primary.Fence()
	cluster.Promote()
	proxy.switchOver()
	y.wait(t, 300)
	close(stop)
	users.Wait()
	end()
	running.Wait()
	if y.wrong.Load() != 0 || y.lost.Load() != 0 {
		t.Errorf("%d wrong answers, %d sessions lost", y.wrong.Load(), y.lost.Load())
	}
	for _, d := range []*testserver.Deployment{a, b} {
		d.Want(200, "", d.Get("/readyz"))
	}
	t.Logf("%d answers, %d of them 503, over %v", y.answers.Load(), y.unavailable.Load(), y.last.Sub(y.first).Round(time.Millisecond))
}

// wait waits for this many more responses other than 503.
func (y *outcome) wait(t *testing.T, more int64) {
	t.Helper()
	answered := func() int64 { return y.answers.Load() - y.unavailable.Load() }
	for want, deadline := answered()+more, time.Now().Add(2*time.Minute); answered() < want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d answers, %d of them 503", y.answers.Load(), y.unavailable.Load())
		}
	}
}

// passTime advances a clock in real time.
func passTime(ctx context.Context, clock *testserver.Clock) {
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
		now := time.Now()
		clock.Advance(now.Sub(last))
		last = now
	}
}
