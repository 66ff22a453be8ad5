package testevents

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/oauth/delivery"
	"github.com/latchkey/latchkey/settings"
)

// waitTimeout bounds every wait. Working code takes much less.
const waitTimeout = time.Minute

// received is a webhook that a receiver has accepted or refused.
type received struct {
	ID        string
	Type      string
	Timestamp time.Time
	Data      struct {
		ID, Tenant, Session, User, Client, Issuer string
		Sequence                                  int64
		Details                                   map[string]any
	}
	At         time.Time
	Body       string
	Status     int // the answer
	Verified   error
	Signatures int
}

// receiver receives webhooks.
type receiver struct {
	URL    string
	Secret string

	mu     sync.Mutex
	got    []received
	answer func(r received) int // nil: 204
	body   string               // of every answer
	header http.Header
}

// newSecret returns a secret that signs webhooks.
func newSecret() string {
	key := make([]byte, 32)
	rand.Read(key)
	return settings.WebhookSecretPrefix + base64.StdEncoding.EncodeToString(key)
}

func newReceiver(t testing.TB) *receiver {
	r := &receiver{Secret: newSecret(), header: http.Header{}}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.URL = server.URL + "/hooks"
	return r
}

// ServeHTTP verifies a webhook with the library of Standard Webhooks.
func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, _ := io.ReadAll(q.Body)
	got := received{At: time.Now(), Body: string(body), ID: q.Header.Get("Webhook-Id"), Status: http.StatusNoContent}
	got.Signatures = len(strings.Fields(q.Header.Get("Webhook-Signature")))
	r.mu.Lock()
	hook, err := standardwebhooks.NewWebhook(r.Secret)
	if err == nil {
		// The clock of the test need not be the real one.
		err = hook.VerifyIgnoringTimestamp(body, q.Header)
	}
	got.Verified = err
	if err := json.Unmarshal(body, &got); err != nil && got.Verified == nil {
		got.Verified = err
	}
	answer := r.answer
	r.mu.Unlock()
	if answer != nil {
		got.Status = answer(got)
	}
	r.mu.Lock()
	r.got = append(r.got, got)
	text, header := r.body, r.header.Clone()
	r.mu.Unlock()
	for name, values := range header {
		w.Header()[name] = values
	}
	w.WriteHeader(got.Status)
	if got.Status != http.StatusNoContent {
		io.WriteString(w, text)
	}
}

// set changes how the receiver answers.
func (r *receiver) set(answer func(received) int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// all returns what was received so far.
func (r *receiver) all() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]received(nil), r.got...)
}

// accepted returns what was answered with a 2xx.
func (r *receiver) accepted() (list []received) {
	for _, got := range r.all() {
		if got.Status < 300 {
			list = append(list, got)
		}
	}
	return list
}

// until waits until enough has been received.
func (r *receiver) until(t testing.TB, what string, enough func(all []received) bool) []received {
	t.Helper()
	for deadline := time.Now().Add(waitTimeout); ; time.Sleep(5 * time.Millisecond) {
		all := r.all()
		if enough(all) {
			return all
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s; received %d: %+v", what, waitTimeout, len(all), types(all))
		}
	}
}

func types(list []received) (names []string) {
	for _, r := range list {
		names = append(names, r.Type)
	}
	return names
}

// count returns an `enough` for a number of accepted webhooks.
func (r *receiver) count(n int) func([]received) bool {
	return func([]received) bool { return len(r.accepted()) >= n }
}

// webhook is a destination of the receiver.
func (r *receiver) webhook(id string, change ...func(*settings.DestinationSpec)) settings.DestinationSpec {
	d := settings.DestinationSpec{ID: id, Secret: r.Secret, DestinationSettings: settings.DestinationSettings{
		Type: settings.DestinationWebhook, URL: r.URL, AllowPrivateAddresses: true,
	}}
	for _, fn := range change {
		fn(&d)
	}
	return d
}

// only restricts a destination to types of events.
func only(types ...string) func(*settings.DestinationSpec) {
	return func(d *settings.DestinationSpec) { d.Events = types }
}

// deployed starts a server that delivers, with destinations of the tenant "default".
func deployed(t *testing.T, url string, destinations ...settings.DestinationSpec) *testserver.Deployment {
	t.Helper()
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: url, Run: true, Admin: true})
	configure(d, destinations...)
	return d
}

// configure makes destinations those of the tenant "default".
func configure(d *testserver.Deployment, destinations ...settings.DestinationSpec) {
	d.T.Helper()
	tenant := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())
	tenant.EventDestinations = destinations
	d.Apply(tenant)
}

// untilLeft waits until the node, which has delivered to a destination, no longer does.
func untilLeft(d *testserver.Deployment, id string) {
	d.T.Helper()
	until(d.T, "the node leaves the destination "+id, func() bool { return statusOf(d, id) == nil })
}

// untilBegun waits until the node delivers to a destination.
func untilBegun(d *testserver.Deployment, id string) {
	d.T.Helper()
	until(d.T, "the node delivers to "+id, func() bool { return statusOf(d, id) != nil })
}

// untilDone waits until nothing that the node has read waits for a destination.
func untilDone(d *testserver.Deployment, id string) {
	d.T.Helper()
	until(d.T, "nothing waits for "+id, func() bool {
		s := statusOf(d, id)
		return s != nil && s.Waiting == 0
	})
}

// statusOf returns how a destination fares; nil: the node does not deliver to it.
func statusOf(d *testserver.Deployment, id string) *delivery.Status {
	for _, s := range d.OAuth.Deliverer().Statuses() {
		if s.ID == id {
			return &s
		}
	}
	return nil
}
