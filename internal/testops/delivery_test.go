package testops

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/models"
)

const webhookSecret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="

// hook is what a webhook says.
type hook struct {
	Type      string
	Timestamp time.Time
	Data      struct {
		ID, Session string
		Sequence    int64
	}
	at   time.Time
	body string
}

// hooks receives webhooks and counts what does not agree.
type hooks struct {
	mu       sync.Mutex
	down     bool
	byID     map[string]hook
	repeated int
	faults   []string
}

// ServeHTTP implements http.Handler.
func (h *hooks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	signed, err := standardwebhooks.NewWebhook(webhookSecret)
	if err == nil {
		err = signed.Verify(body, r.Header)
	}
	got := hook{at: time.Now(), body: string(body)}
	if err == nil {
		err = json.Unmarshal(body, &got)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	id := r.Header.Get("Webhook-Id")
	before, again := h.byID[id]
	switch {
	case err != nil:
		h.faults = append(h.faults, err.Error())
	case id != got.Data.ID, again && before.body != got.body:
		h.faults = append(h.faults, "an id does not stand for one event: "+before.body+" "+got.body)
	case again:
		h.repeated++
	default:
		h.byID[id] = got
	}
}

func (h *hooks) set(down bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = down
}

// bySession returns the events of each session, ordered by their sequence.
func (h *hooks) bySession() map[string][]hook {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := map[string][]hook{}
	for _, got := range h.byID {
		list[got.Data.Session] = append(list[got.Data.Session], got)
	}
	for _, of := range list {
		slices.SortFunc(of, func(a, b hook) int { return int(a.Data.Sequence - b.Data.Sequence) })
	}
	return list
}

// ended are the sessions that began and ended with success.
type ended struct {
	mu  sync.Mutex
	ids []string
}

func (e *ended) add(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ids = append(e.ids, id)
}

func (e *ended) all() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.ids)
}

// signInAndOut begins and ends sessions at a node until stop, whether it lives or not.
func signInAndOut(port int, done *ended, stop <-chan struct{}) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	post := func(path string, form url.Values) (answer map[string]any, ok bool) {
		resp, err := client.PostForm("http://127.0.0.1:"+text(port)+path, form)
		if err != nil {
			return nil, false
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		_ = json.Unmarshal(body, &answer)
		return answer, err == nil && resp.StatusCode == http.StatusOK
	}
	for {
		select {
		case <-stop:
			return
		case <-time.After(50 * time.Millisecond):
		}
		in, ok := post("/token", url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "client_id": {"web"},
			"subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"}, "subject_token": {clientToken("https://" + host)},
		})
		if !ok {
			continue
		}
		if _, ok := post("/revoke", url.Values{"client_id": {"web"}, "token": {in["refresh_token"].(string)}}); ok {
			done.add(in["session_id"].(string))
		}
	}
}

// Nodes are killed and paused while they deliver. An event may come more than once, and
// it may not be lost.
func TestNoEventIsLostWhoeverDies(t *testing.T) {
	folder, database := t.TempDir(), testdb.EmptyPostgres(t)
	h := &hooks{byID: map[string]hook{}}
	receiver := httptest.NewServer(h)
	t.Cleanup(receiver.Close)
	tenant := `
    event_destinations:
      - { id: hooks, type: webhook, url: "` + receiver.URL + `", allow_private_addresses: true, secret: ` + webhookSecret + `, events: [session.] }
`
	nodes := []*node{newNodeWith(t, folder, database, tenant), newNodeWith(t, folder, database, tenant)}
	db, err := sql.Open("pgx", database)
	must(t, err)
	t.Cleanup(func() { db.Close() })

	done, stop := &ended{}, make(chan struct{})
	var working sync.WaitGroup
	for _, n := range nodes {
		working.Go(func() { signInAndOut(n.port, done, stop) })
	}
	arrives := func(what string) {
		t.Helper()
		before := len(h.bySession())
		for deadline := time.Now().Add(waitTimeout); len(h.bySession()) < before+20; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: no events arrive; the lease: %s", what, lease(t, db))
			}
		}
	}
	for range 5 {
		arrives("at the beginning")
	}
	t.Logf("with nothing failing: %s", h.waits())

	h.set(true)
	time.Sleep(3 * time.Second)
	h.set(false)
	arrives("after the receiver was away")
	for range 2 {
		// One of the two delivers. The other takes over at the latest when the lease
		// has expired.
		for _, n := range nodes {
			before := lease(t, db)
			must(t, n.cmd.Process.Kill())
			<-n.exited
			n.start(t)
			for deadline := time.Now().Add(waitTimeout); before == lease(t, db) && !renewed(t, db); time.Sleep(50 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("nobody delivers")
				}
			}
		}
		arrives("after both were killed")
	}
	for _, n := range nodes {
		must(t, n.cmd.Process.Signal(syscall.SIGSTOP))
		time.Sleep(12 * time.Second) // longer than the lease
		must(t, n.cmd.Process.Signal(syscall.SIGCONT))
		arrives("after a node was paused")
	}
	close(stop)
	working.Wait()

	all := done.all()
	lost := func() (missing []string) {
		got := h.bySession()
		for _, id := range all {
			of := got[id]
			if len(of) != 2 || of[0].Type != "session.created" || !strings.HasPrefix(of[1].Type, "session.ended.") || of[0].Data.Sequence == of[1].Data.Sequence {
				missing = append(missing, id)
			}
		}
		return missing
	}
	for deadline := time.Now().Add(waitTimeout); len(lost()) > 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d sessions: %+v", len(lost()), len(all), h.bySession()[lost()[0]])
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.faults) > 0 {
		t.Errorf("%d faults: %s", len(h.faults), h.faults[0])
	}
	t.Logf("%d sessions, %d events, %d of them repeated", len(all), len(h.byID), h.repeated)
}

// waits returns how long after their moment events arrived.
func (h *hooks) waits() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []time.Duration
	for _, got := range h.byID {
		list = append(list, got.at.Sub(got.Timestamp))
	}
	slices.Sort(list)
	return fmt.Sprintf("%d events, half within %v, 99 %% within %v", len(list), list[len(list)/2], list[len(list)*99/100])
}

// lease returns who delivers.
func lease(t *testing.T, db *sql.DB) (holder string) {
	t.Helper()
	if err := db.QueryRow("SELECT holder FROM leases WHERE name = $1", models.DeliveryLease).Scan(&holder); err != nil && err != sql.ErrNoRows {
		t.Fatal(err)
	}
	return holder
}

// renewed reports whether the lease is held now.
func renewed(t *testing.T, db *sql.DB) (is bool) {
	t.Helper()
	must(t, db.QueryRow("SELECT count(*) > 0 FROM leases WHERE name = $1 AND expires_at > $2", models.DeliveryLease, time.Now().UnixMicro()+8_000_000).Scan(&is))
	return is
}
