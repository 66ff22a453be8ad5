package testfeed

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

func TestAStreamReportsRevocationsOfEveryNode(t *testing.T) {
	d := newFollower(t, testdb.Postgres(t))
	other := otherFollower(d, d.DatabaseURL)
	before, here, there := d.SignIn("alice"), d.SignIn("bob"), d.SignIn("carol")
	signOut(d, before)
	untilRevoked(other, 1)

	stream, first := follow(other)
	for name, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no", "Access-Control-Allow-Origin": ""} {
		if got := stream.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	var snapshot map[string]any
	if err := json.Unmarshal([]byte(first.data), &snapshot); err != nil || snapshot["cursor"] != first.id {
		t.Errorf("the snapshot is %q, %v", first.data, err)
	}
	if !slices.Equal(first.sids(), []string{before.Text("session_id")}) || !strings.Contains(first.data, `"as_of":`+d.JSONTime(0)) {
		t.Errorf("the snapshot is %s", first.data)
	}
	for _, end := range []struct {
		at *testserver.Deployment
		a  *testserver.Answer
	}{{d, here}, {other, there}} {
		signOut(end.at, end.a)
		e, _ := stream.next()
		if want := fmt.Sprintf(`{"sid":"%s","at":%s,"until":%s}`, end.a.Text("session_id"), d.JSONTime(0), d.JSONTime(390)); e.name != "revoked" || e.data != want || e.id == "" {
			t.Errorf("the stream sends %+v, want %s", e, want)
		}
	}
}

func TestAStreamSendsHeartbeats(t *testing.T) {
	eachFollower(t, func(t *testing.T, d *testserver.Deployment) {
		stream, _ := follow(d)
		for range 2 {
			pass(d, 10*time.Second)
			if e, _ := stream.next(); e != (event{name: ":", data: "as_of " + d.JSONTime(0)}) {
				t.Errorf("after 10 s the stream sends %+v", e)
			}
		}
	})
}

// A reader that resumes anywhere misses no entry, and skips known ones.
func TestAStreamResumesAtItsCursor(t *testing.T) {
	d := newFollower(t, testdb.Postgres(t))
	other := otherFollower(d, d.DatabaseURL)
	old := d.SignIn("old")
	signOut(d, old)
	untilRevoked(d, 1)
	untilRevoked(other, 1)
	pass(d, time.Minute)
	a, b, c := d.SignIn("alice"), d.SignIn("bob"), d.SignIn("carol")
	stream, _ := follow(d)
	signOut(d, a)
	id := stream.untilReported(a.Text("session_id"))
	stream.cancel()
	stream.untilEnd()
	signOut(d, b)
	signOut(other, c)
	for _, node := range []*testserver.Deployment{d, other} {
		untilRevoked(node, 4)
		_, first := follow(node, testserver.Header("Last-Event-ID", id))
		reported := first.sids()
		for _, missed := range []*testserver.Answer{b, c} {
			if !slices.Contains(reported, missed.Text("session_id")) {
				t.Errorf("revocations in the meantime are missing: %s", first.data)
			}
		}
		if slices.Contains(reported, old.Text("session_id")) {
			t.Errorf("old entries are repeated: %s", first.data)
		}
		for name, of := range map[string]string{
			"another database": "another" + id[strings.Index(id, "."):], "nothing": "x", "another client": id[:strings.LastIndex(id, ".")] + ".other",
		} {
			if _, first := follow(node, testserver.Header("Last-Event-ID", of)); len(first.sids()) != 4 {
				t.Errorf("a reader with an id of %s gets %s", name, first.data)
			}
		}
	}
}

func TestAStreamEndsWithTheRightsOfItsClient(t *testing.T) {
	client := func(change func(*settings.ClientSpec)) func(*settings.TenantSpec) {
		return func(tenant *settings.TenantSpec) { change(&tenant.Clients[1]) }
	}
	const renewed = "another-client-secret-of-many-characters"
	for name, c := range map[string]struct {
		change func(*settings.TenantSpec)
		ends   bool
	}{
		"disabled":            {client(func(c *settings.ClientSpec) { c.Disabled = true }), true},
		"with another secret": {client(func(c *settings.ClientSpec) { c.Secret = renewed }), true},
		"public": {client(func(c *settings.ClientSpec) {
			*c = settings.ClientSpec{ID: c.ID, ClientSettings: settings.ClientSettings{Auth: settings.AuthNone}}
		}), true},
		"of other introspection": {client(func(c *settings.ClientSpec) { c.Introspect = settings.IntrospectAudience }), true},
		// A client that may introspect every token still receives every revocation.
		"of another resource": {client(func(c *settings.ClientSpec) {
			c.ResourceIdentifiers = []string{"https://api.example.com"}
		}), false},
		"of a disabled tenant":               {func(tenant *settings.TenantSpec) { tenant.Disabled = true }, true},
		"with the same secret as before":     {client(func(c *settings.ClientSpec) { c.Secret, c.PreviousSecret = renewed, testserver.ClientSecret }), false},
		"of another name":                    {client(func(c *settings.ClientSpec) { c.Name = "Backend" }), false},
		"the same, while another is changed": {func(tenant *settings.TenantSpec) { tenant.Clients[0].Name = "Web" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			eachFollower(t, func(t *testing.T, d *testserver.Deployment) {
				a := d.SignIn("alice")
				stream, _ := follow(d)
				tenant := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())
				c.change(&tenant)
				d.Apply(tenant)
				if c.ends {
					d.Clock.Advance(5 * time.Second)
					stream.untilEnd()
					return
				}
				pass(d, 10*time.Second)
				if e, _ := stream.next(); e.name != ":" { // heartbeats follow the check of the client
					t.Fatalf("the stream sends %+v", e)
				}
				if err := d.Store.EndSession(t.Context(), row(d, a), d.Clock.Now(), session.Revoked); err != nil {
					t.Fatal(err)
				}
				stream.untilReported(a.Text("session_id"))
			})
		})
	}
}

// row returns the stored session of a response.
func row(d *testserver.Deployment, a *testserver.Answer) *models.Session {
	d.T.Helper()
	id, err := models.ParseSessionID(a.Text("session_id"))
	if err != nil {
		d.T.Fatal(err)
	}
	row, err := d.Store.Session(d.T.Context(), "default", id)
	if err != nil {
		d.T.Fatal(err)
	}
	return row
}

func TestANodeWithoutItsDatabaseEndsItsStreams(t *testing.T) {
	url := testdb.Postgres(t)
	proxy := testdb.NewProxy(t, url)
	d := newFollower(t, url)
	cut := otherFollower(d, proxy.URL())
	a := d.SignIn("alice")
	stream, first := follow(cut)
	cut.Want(200, "", cut.Get("/readyz"))

	proxy.Cut()
	d.Clock.Advance(settings.RevocationBound)
	stream.untilEnd()
	if ready := cut.Get("/readyz"); ready.Status != 503 {
		t.Errorf("ready: %d", ready.Status)
	}
	for _, accept := range []string{"application/json", "text/event-stream"} {
		if got := cut.Get("/revocations", testserver.AsBackend(), testserver.Header("Accept", accept)); got.Status != 503 || got.Error() != "temporarily_unavailable" || got.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", accept, got.Status, got.Body)
		}
	}
	signOut(d, a)
	proxy.Heal()
	untilRevoked(cut, 1)
	cut.Want(200, "", cut.Get("/readyz"))
	if _, first := follow(cut, testserver.Header("Last-Event-ID", first.id)); !slices.Equal(first.sids(), []string{a.Text("session_id")}) {
		t.Errorf("after the cut the stream begins with %s", first.data)
	}
	if log := cut.Log.String(); strings.Count(log, "cannot follow the event log") != 1 || strings.Count(log, "following the event log again") != 1 {
		t.Error("the log does not report it exactly once")
	}
}

// The database works, except for events.
func TestANodeThatCannotFollowTheLogIsNotReady(t *testing.T) {
	d := newFollower(t, testdb.Postgres(t))
	stream, _ := follow(d)
	lock, err := testserver.OpenDatabase(t, d.DatabaseURL).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Rollback()
	if _, err := lock.Exec("LOCK TABLE events IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	d.Want(200, "", d.Get("/readyz"))
	d.Clock.Advance(settings.RevocationBound)
	if ready := d.Get("/readyz"); ready.Status != 503 || !strings.Contains(d.Log.String(), "the event log was last read 10s ago") {
		t.Errorf("ready: %d", ready.Status)
	}
	stream.untilEnd()
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	untilRevoked(d, 0)
	d.Want(200, "", d.Get("/readyz"))
}

func TestAStreamMissesNoneOfManyRevocations(t *testing.T) {
	const many = 1000
	d := newFollower(t, testdb.Postgres(t))
	nodes := []*testserver.Deployment{d, otherFollower(d, d.DatabaseURL)}
	streams := make([]*feed, len(nodes))
	for i, node := range nodes {
		streams[i], _ = follow(node)
	}
	sids := make([]string, many)
	var working sync.WaitGroup
	var next atomic.Int32
	for range 8 {
		working.Go(func() {
			for i := int(next.Add(1)) - 1; i < many; i = int(next.Add(1)) - 1 {
				a := d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", nil))
				sids[i] = a.Text("session_id")
				if got := nodes[i%2].Post("/revoke", []string{"client_id", "web", "token", a.Text("refresh_token")}); got.Status != 200 || sids[i] == "" {
					t.Errorf("%d %s, %d %s", a.Status, a.Body, got.Status, got.Body)
				}
			}
		})
	}
	for _, stream := range streams {
		working.Go(func() {
			reported := map[string]bool{}
			for len(reported) < many {
				select {
				case e, open := <-stream.events:
					for _, sid := range e.sids() {
						reported[sid] = true
					}
					if !open {
						t.Errorf("the stream ended after %d", len(reported))
						return
					}
				case <-time.After(waitTimeout):
					t.Errorf("still waiting after %d", len(reported))
					return
				}
			}
		})
	}
	working.Wait()
	for _, stream := range streams {
		for len(stream.events) > 0 {
			if e, _ := stream.next(); e.name == "revoked" && !slices.Contains(sids, e.sids()[0]) {
				t.Errorf("got an entry for a session that nobody ended: %+v", e)
			}
		}
	}
}

// idleReader is the reader of a stream, without a connection.
type idleReader struct {
	*httptest.ResponseRecorder
	answered chan int
}

// WriteHeader implements http.ResponseWriter.
func (r *idleReader) WriteHeader(status int) {
	r.ResponseRecorder.WriteHeader(status)
	r.answered <- status
}

func TestStreamsOfAClientAreLimited(t *testing.T) {
	d := newFollower(t, testdb.SQLite(t))
	ctx, leave := context.WithCancel(t.Context())
	answered := make(chan int)
	var reading sync.WaitGroup
	over := make(chan int, 2000)
	open := func(number int) (status int) {
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/revocations", nil)
		testserver.AsBackend()(r)
		r.Header.Set("Accept", "text/event-stream")
		reading.Go(func() {
			d.Handler.ServeHTTP(&idleReader{httptest.NewRecorder(), answered}, r)
			over <- number
		})
		return <-answered
	}
	for i := range 1003 {
		if status := open(i); status != 200 {
			t.Fatalf("stream %d returned status %d", i, status)
		}
	}
	ended := map[int]bool{<-over: true, <-over: true, <-over: true}
	if !ended[0] || !ended[1] || !ended[2] {
		t.Errorf("the streams %v ended, not the oldest", ended)
	}
	if streams := d.OAuth.Streams(); streams != 1000 {
		t.Errorf("%d streams are open", streams)
	}
	revocations(d, "") // a document does not count as a stream
	leave()
	reading.Wait()
	follow(d)
}
