package testfeed

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
)

// waitTimeout bounds every wait. Working code takes much less.
const waitTimeout = time.Minute

// newFollower starts a server that follows the event log, like a node.
func newFollower(t *testing.T, url string, clients ...settings.ClientSpec) *testserver.Deployment {
	return testserver.NewDeployment(t, testserver.Options{DatabaseURL: url, Run: true}, clients...)
}

func eachFollower(t *testing.T, test func(t *testing.T, d *testserver.Deployment)) {
	testdb.Each(t, func(t *testing.T, url string) { test(t, newFollower(t, url)) })
}

// otherFollower starts another node of d that follows the log, with its own path to the
// database.
func otherFollower(d *testserver.Deployment, databaseURL string) *testserver.Deployment {
	d.T.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		d.T.Fatal(err)
	}
	other := *d
	other.Server = testserver.New(d.T, testserver.Options{DatabaseURL: databaseURL, Clock: d.Clock, Listener: listener, Issuer: d.URL, Run: true})
	other.URL = "http://" + listener.Addr().String()
	return &other
}

// signOut ends the session of a response.
func signOut(d *testserver.Deployment, a *testserver.Answer) {
	d.T.Helper()
	d.Want(200, "", d.Post("/revoke", []string{"client_id", "web", "token", a.Text("refresh_token")}))
}

// revocations requests the feed as the client backend, or as another client.
func revocations(d *testserver.Deployment, query string, opts ...testserver.Option) *testserver.Answer {
	d.T.Helper()
	return d.Want(200, "", d.Get("/revocations"+query, append([]testserver.Option{testserver.AsBackend()}, opts...)...))
}

// untilRevoked waits until the feed of the node has n revocations. After a jump of the
// clock, the node's memory is too old for a moment.
func untilRevoked(d *testserver.Deployment, n int) *testserver.Answer {
	d.T.Helper()
	for deadline := time.Now().Add(waitTimeout); ; time.Sleep(10 * time.Millisecond) {
		a := d.Get("/revocations", testserver.AsBackend())
		if list, reported := a.JSON["revoked"].([]any); reported && len(list) >= n {
			return a
		}
		if time.Now().After(deadline) {
			d.T.Fatalf("still waiting for %d revocations: %s", n, a.Body)
		}
	}
}

// pass advances the clock while the node continues to read the log.
func pass(d *testserver.Deployment, elapsed time.Duration) {
	d.T.Helper()
	const step = 9 * time.Second // its memory must not become too old
	for ; elapsed > 0; elapsed -= step {
		d.Clock.Advance(min(elapsed, step))
		for deadline := time.Now().Add(waitTimeout); revocations(d, "").JSON["as_of"] != float64(d.Clock.Now().Unix()); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				d.T.Fatal("the node does not look")
			}
		}
	}
}

// feed is an open stream of revocations.
type feed struct {
	t      *testing.T
	header http.Header
	events chan event
	cancel context.CancelFunc
}

// event is an event of a stream, or a comment, whose name is ":".
type event struct{ name, id, data string }

// sids returns the sessions in an event or a snapshot.
func (s event) sids() (list []string) {
	var said struct {
		SID     string
		Revoked []struct{ SID string }
	}
	_ = json.Unmarshal([]byte(s.data), &said)
	if said.SID != "" {
		list = append(list, said.SID)
	}
	for _, e := range said.Revoked {
		list = append(list, e.SID)
	}
	return list
}

// follow opens a stream as the client backend, or as another client, and reads its
// snapshot.
func follow(d *testserver.Deployment, opts ...testserver.Option) (*feed, event) {
	d.T.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	d.T.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.URL+"/revocations", nil)
	if err != nil {
		d.T.Fatal(err)
	}
	for _, o := range append([]testserver.Option{testserver.AsBackend(), testserver.Header("Accept", "text/event-stream")}, opts...) {
		o(r)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		d.T.Fatal(err)
	}
	if resp.StatusCode != 200 {
		d.T.Fatalf("the stream returned status %d", resp.StatusCode)
	}
	f := &feed{t: d.T, header: resp.Header, events: make(chan event, 4096), cancel: cancel}
	go f.read(resp)
	first, open := f.next()
	if !open || first.name != "snapshot" {
		d.T.Fatalf("the stream begins with %+v", first)
	}
	return f, first
}

func (f *feed) read(resp *http.Response) {
	defer close(f.events)
	defer resp.Body.Close()
	var e event
	var data []string
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		field, value, _ := strings.Cut(lines.Text(), ":")
		switch value = strings.TrimPrefix(value, " "); field {
		case "event":
			e.name = value
		case "id":
			e.id = value
		case "data":
			data = append(data, value)
		case "":
			if value != "" {
				e.name, data = ":", []string{value}
				continue
			}
			e.data = strings.Join(data, "\n")
			f.events <- e
			e, data = event{}, nil
		}
	}
}

// next waits for an event. It returns false if the stream has ended.
func (f *feed) next() (event, bool) {
	f.t.Helper()
	select {
	case e, open := <-f.events:
		return e, open
	case <-time.After(waitTimeout):
		f.t.Fatal("still waiting for an event")
		return event{}, false
	}
}

// untilReported reads until every session has been reported, and returns the last id.
func (f *feed) untilReported(sids ...string) (id string) {
	f.t.Helper()
	missing := map[string]bool{}
	for _, sid := range sids {
		missing[sid] = true
	}
	for len(missing) > 0 {
		e, open := f.next()
		if !open {
			f.t.Fatalf("the stream ended while %d sessions were missing", len(missing))
		}
		for _, sid := range e.sids() {
			delete(missing, sid)
		}
		id = e.id
	}
	return id
}

// untilEnd reads until the stream ends.
func (f *feed) untilEnd() {
	f.t.Helper()
	for open := true; open; {
		_, open = f.next()
	}
}
