package testevents

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// receiverClient is a client that receives security events.
func receiverClient(id string, scopes ...string) settings.ClientSpec {
	return settings.ClientSpec{ID: id, Secret: testserver.ClientSecret, ClientSettings: settings.ClientSettings{
		Auth: settings.AuthSecret, Grants: []string{settings.GrantClientCredentials}, Scopes: scopes,
	}}
}

// polled is a destination that the client "receiver" polls.
func polled(id string, change ...func(*settings.DestinationSpec)) settings.DestinationSpec {
	d := settings.DestinationSpec{ID: id, DestinationSettings: settings.DestinationSettings{Type: settings.DestinationPoll, Client: "receiver"}}
	for _, fn := range change {
		fn(&d)
	}
	return d
}

// paused pauses a destination.
func paused(d *settings.DestinationSpec) { d.Paused = true }

// transmitter starts a server whose tenant "default" has the client "receiver", which
// may manage streams, and the client "other", which may read.
func transmitter(t *testing.T, url string, destinations ...settings.DestinationSpec) *testserver.Deployment {
	t.Helper()
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: url, Run: true, Admin: true})
	transmit(d, destinations...)
	return d
}

// transmit makes destinations those of the tenant "default".
func transmit(d *testserver.Deployment, destinations ...settings.DestinationSpec) {
	d.T.Helper()
	tenant := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend(),
		receiverClient("receiver", "ssf.read", "ssf.manage", "profile"), receiverClient("other", "ssf.read", "ssf.manage"))
	tenant.EventDestinations = destinations
	d.Apply(tenant)
}

// tokenOf returns an access token of a client for itself.
func tokenOf(d *testserver.Deployment, base, client string, extra ...string) string {
	d.T.Helper()
	return d.Want(200, "", d.Post(base+"/token", append([]string{"grant_type", "client_credentials"}, extra...), testserver.Basic(client, testserver.ClientSecret))).Text("access_token")
}

// bearer authenticates with an access token.
func bearer(token string) testserver.Option { return testserver.Authorization("Bearer " + token) }

// send sends a JSON body.
func send(d *testserver.Deployment, method, path, body string, opts ...testserver.Option) *testserver.Answer {
	d.T.Helper()
	var reader io.Reader
	if body != "" {
		opts = append([]testserver.Option{testserver.ContentType("application/json")}, opts...)
		reader = strings.NewReader(body)
	}
	return d.Do(method, path, reader, opts...)
}

// poll polls the destination as the client "receiver" and returns the tokens by jti.
func poll(d *testserver.Deployment, id, body string) (sets map[string]string, more bool) {
	d.T.Helper()
	a := send(d, http.MethodPost, "/ssf/poll/"+id, body, asReceiver())
	sets = setsOf(d, a)
	more, known := a.JSON["moreAvailable"].(bool)
	if !known {
		d.T.Fatalf("no moreAvailable: %s", a.Body)
	}
	return sets, more
}

// setsOf returns the tokens in the answer to a poll.
func setsOf(d *testserver.Deployment, a *testserver.Answer) map[string]string {
	d.T.Helper()
	d.Want(200, "", a)
	var answer struct {
		Sets map[string]string `json:"sets"`
	}
	if err := json.Unmarshal(a.Body, &answer); err != nil || answer.Sets == nil {
		d.T.Fatalf("%s: %v", a.Body, err)
	}
	return answer.Sets
}

// waitingPoll begins a poll that acknowledges what the destination has and then waits
// for an event. It returns once the tokens are acknowledged.
func waitingPoll(d *testserver.Deployment, id string) <-chan *testserver.Answer {
	d.T.Helper()
	sets, _ := poll(d, id, now)
	if len(sets) == 0 {
		d.T.Fatal("there is nothing to acknowledge")
	}
	text, _ := json.Marshal(map[string]any{"ack": jtis(sets)})
	answer := make(chan *testserver.Answer, 1)
	go func() { answer <- send(d, http.MethodPost, "/ssf/poll/"+id, string(text), asReceiver()) }()
	until(d.T, "the acknowledgement", func() bool {
		left, _ := poll(d, id, now)
		return len(left) == 0
	})
	return answer
}

// now is the body of a poll that does not wait.
const now = `{"returnImmediately":true}`

// ack is the body of a poll that acknowledges tokens and does not wait.
func ack(sets map[string]string) string {
	text, _ := json.Marshal(map[string]any{"returnImmediately": true, "ack": jtis(sets)})
	return string(text)
}

func jtis(sets map[string]string) []string {
	ids := []string{}
	for id := range sets {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// inOrder returns tokens in the order of their events.
func inOrder(d *testserver.Deployment, sets map[string]string) (texts []string) {
	d.T.Helper()
	ids := make([]models.EventID, 0, len(sets))
	for jti := range sets {
		id, err := models.ParseEventID(jti)
		if err != nil {
			d.T.Fatal(err)
		}
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b models.EventID) int { return slices.Compare(a[:], b[:]) })
	for _, id := range ids {
		texts = append(texts, sets[id.String()])
	}
	return texts
}

// set is a verified security event token.
type set struct {
	Header jose.Header
	Claims map[string]any
	Type   string
	Event  map[string]any
}

// verified verifies a security event token with the published keys of a tenant.
func verified(d *testserver.Deployment, base, text string) set {
	d.T.Helper()
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(d.Get(base+"/.well-known/jwks.json").Body, &keys); err != nil {
		d.T.Fatal(err)
	}
	token, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.ES256, jose.RS256})
	if err != nil {
		d.T.Fatalf("%s: %v", text, err)
	}
	s := set{Header: token.Headers[0]}
	if err := token.Claims(keys, &s.Claims); err != nil {
		d.T.Fatal(err)
	}
	events, _ := s.Claims["events"].(map[string]any)
	if len(events) != 1 {
		d.T.Fatalf("%d events: %v", len(events), s.Claims)
	}
	for name, event := range events {
		s.Type = name[strings.LastIndex(name, "/")+1:]
		s.Event, _ = event.(map[string]any)
	}
	return s
}

// typesOf returns the types of the events of tokens, sorted.
func typesOf(d *testserver.Deployment, sets map[string]string) (names []string) {
	d.T.Helper()
	for jti, text := range sets {
		s := verified(d, "", text)
		if s.Claims["jti"] != jti {
			d.T.Errorf("jti %v under the name %s", s.Claims["jti"], jti)
		}
		names = append(names, s.Type)
	}
	slices.Sort(names)
	return names
}
