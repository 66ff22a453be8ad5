package testops

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
)

// follower follows the revocation feed of a node, and resumes at its last event when the
// stream ends.
type follower struct {
	d *testserver.Deployment

	mu      sync.Mutex
	seen    map[string]bool // sids
	last    string
	streams int
	cut     func() // ends the stream
}

func (f *follower) run(ctx context.Context) {
	for ctx.Err() == nil {
		stream, cut := context.WithCancel(ctx)
		f.mu.Lock()
		f.cut = cut
		f.mu.Unlock()
		f.read(stream)
		cut()
		time.Sleep(20 * time.Millisecond)
	}
}

// read reads one stream to its end.
func (f *follower) read(ctx context.Context) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.d.URL+"/revocations", nil)
	if err != nil {
		return
	}
	testserver.AsBackend()(r)
	r.Header.Set("Accept", "text/event-stream")
	f.mu.Lock()
	if f.last != "" {
		r.Header.Set("Last-Event-ID", f.last)
	}
	f.mu.Unlock()
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK { // the node has no database
		return
	}
	f.mu.Lock()
	f.streams++
	f.mu.Unlock()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 16<<20)
	var id, data string // of the event that is being read
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			id = value
		case "data":
			data += value + "\n"
		case "": // the event is complete
			f.take(id, data)
			id, data = "", ""
		}
	}
}

// take takes note of an event, and of where to resume.
func (f *follower) take(id, data string) {
	var said struct {
		SID     string
		Revoked []struct{ SID string }
	}
	_ = json.Unmarshal([]byte(data), &said)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen[said.SID] = true
	for _, e := range said.Revoked {
		f.seen[e.SID] = true
	}
	if id != "" {
		f.last = id
	}
}

// reconnect ends the stream, so that the follower resumes at its last event.
func (f *follower) reconnect() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut()
}

// missing returns those of the sessions that the follower has not seen.
func (f *follower) missing(sids []string) (list []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, sid := range sids {
		if !f.seen[sid] {
			list = append(list, sid)
		}
	}
	return list
}

// listed is a session that is on a status list.
type listed struct {
	sid, refresh, path string
	index              int
}

func newListed(t *testing.T, a *testserver.Answer) listed {
	t.Helper()
	claims := testserver.Claims(t, a)
	list := claims["status"].(map[string]any)["status_list"].(map[string]any)
	return listed{
		sid: a.Text("session_id"), refresh: a.Text("refresh_token"),
		path: strings.TrimPrefix(list["uri"].(string), claims["iss"].(string)), index: int(list["idx"].(float64)),
	}
}

// statusList returns the entries of a status list of a node, of one bit each. It returns
// nil while the node has no database.
func statusList(t *testing.T, d *testserver.Deployment, path string) []byte {
	a := d.Get(path)
	if a.Status == 503 {
		return nil
	}
	if a.Status != 200 {
		t.Errorf("the status list: %d %s", a.Status, a.Body)
		return nil
	}
	parts := strings.Split(string(a.Body), ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var said struct {
		List struct {
			Bits int
			Lst  string
		} `json:"status_list"`
	}
	if err != nil || json.Unmarshal(payload, &said) != nil || said.List.Bits != 1 {
		t.Errorf("the status list: %s", payload)
		return nil
	}
	compressed, err := base64.RawURLEncoding.DecodeString(said.List.Lst)
	must(t, err)
	r, err := zlib.NewReader(bytes.NewReader(compressed))
	must(t, err)
	entries, err := io.ReadAll(r)
	must(t, err)
	return entries
}

func isRevoked(entries []byte, index int) bool {
	return index/8 < len(entries) && entries[index/8]>>(index%8)&1 == 1
}

// withClient returns the tenant default with further clients.
func withClient(d *testserver.Deployment, ids ...string) settings.TenantSpec {
	tenant := testserver.Tenant("default", d.Issuer, testserver.WebOnStatusList(), testserver.Backend())
	for _, id := range ids {
		c := testserver.Web()
		c.ID = id
		tenant.Clients = append(tenant.Clients, c)
	}
	return tenant
}

// Sessions are signed out before, during and after a promotion, with followers and
// readers of status lists at both nodes. A confirmed sign-out reaches every follower,
// and no status list shows it and later does not.
func TestAFailoverHidesNoRevocation(t *testing.T) {
	cluster := testdb.NewReplicatedCluster(t)
	proxy := newHAProxy(t, cluster)
	a := testserver.NewDeployment(t, testserver.Options{DatabaseURL: proxy.url, Run: true}, testserver.WebOnStatusList(), testserver.Backend())
	b := a.OtherNodeWith(testserver.Options{DatabaseURL: proxy.url, Run: true})
	nodes := []*testserver.Deployment{a, b}
	ctx, end := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer end()
	running.Go(func() { passTime(ctx, a.Clock) })
	followers := make([]*follower, len(nodes))
	for i, d := range nodes {
		followers[i] = &follower{d: d, seen: map[string]bool{}}
		running.Go(func() { d.Store.Watch(ctx) })
		running.Go(func() { followers[i].run(ctx) })
	}
	sessions := make([]listed, 120)
	for i := range sessions {
		sessions[i] = newListed(t, a.SignIn("alice"))
	}
	path := sessions[0].path
	for i, d := range nodes {
		running.Go(func() {
			var before []byte
			for reads := 0; ctx.Err() == nil; time.Sleep(30 * time.Millisecond) {
				now := statusList(t, d, path)
				if now == nil {
					continue
				}
				for _, s := range sessions {
					if isRevoked(before, s.index) && !isRevoked(now, s.index) {
						t.Errorf("node %d: read %d of the status list shows a session as valid that was revoked", i, reads)
					}
				}
				before, reads = now, reads+1
			}
		})
	}

	var revoked []string
	y, stop := new(outcome), make(chan struct{})
	signOut := func(i int) {
		t.Helper()
		d := nodes[i%2]
		answer := y.until(stop, func() *testserver.Answer {
			return d.Post("/revoke", []string{"token", sessions[i].refresh, "client_id", "web"})
		})
		if answer == nil || answer.Status != 200 {
			t.Fatalf("sign-out: %+v", answer)
		}
		revoked = append(revoked, sessions[i].sid)
	}
	for i := range sessions {
		if i == 40 { // the former primary keeps its connections, and answers on them
			a.Apply(withClient(a, "before"))
			cluster.Primary.Fence()
			running.Go(func() {
				time.Sleep(300 * time.Millisecond) // of outage
				cluster.Promote()
				proxy.switchOver()
			})
		}
		if i == 45 || i == 50 || i == 100 { // with the database gone, soon after it is back, and later
			for _, f := range followers {
				f.reconnect()
			}
		}
		signOut(i)
	}
	a.Apply(withClient(a, "before", "after"))

	within := func(what string, holds func() bool) {
		t.Helper()
		for deadline := time.Now().Add(waitTimeout); !holds(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("still waiting: " + what)
			}
		}
	}
	for i, f := range followers {
		within("each follower sees every sign-out", func() bool { return len(f.missing(revoked)) == 0 })
		within("each status list shows every sign-out", func() bool {
			entries := statusList(t, nodes[i], path)
			for _, s := range sessions {
				if !isRevoked(entries, s.index) {
					return false
				}
			}
			return true
		})
		for _, client := range []string{"before", "after"} {
			within("each node knows what was configured "+client+" the promotion", func() bool {
				return nodes[i].Exchange("", client, a.Issuer.Token(a.URL, "bob", nil)).Status == 200
			})
		}
		if f.streams < 3 {
			t.Errorf("the follower of node %d has resumed only %d times", i, f.streams-1)
		}
		t.Logf("node %d: %d streams", i, f.streams)
	}
	t.Logf("%d sign-outs, %d answers 503, over %v", len(revoked), y.unavailable.Load(), y.last.Sub(y.first).Round(time.Millisecond))
}
