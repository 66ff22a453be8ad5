package oauth

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/latchkey/latchkey/models"
)

const (
	// noticeEvery is how often the refusals for one reason, of one client and from
	// one network, become an event.
	noticeEvery = time.Minute
	// mostNotices bounds the events about refusals that a node writes for a tenant in
	// noticeEvery, whatever addresses the requests come from.
	mostNotices = 60
	// waitingNotices bounds those that are still to be written.
	waitingNotices = 256
)

// notices turns refused requests into events, a few of them. It writes them behind the
// responses: a caller that is refused need not wait, and learns nothing from it.
type notices struct {
	mu    sync.Mutex
	began time.Time // of the current period
	seen  map[noticeKey]bool
	count map[string]int // by tenant
	queue chan models.Event
}

type noticeKey struct {
	tenant, client string
	reason         Reason
	from           netip.Prefix
}

func newNotices() *notices { return &notices{queue: make(chan models.Event, waitingNotices)} }

// admit reports whether a refusal becomes an event.
func (n *notices) admit(key noticeKey, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now.Sub(n.began).Abs() >= noticeEvery {
		n.began, n.seen, n.count = now, map[noticeKey]bool{}, map[string]int{}
	}
	if n.seen[key] || n.count[key.tenant] >= mostNotices {
		return false
	}
	n.seen[key] = true
	n.count[key.tenant]++
	return true
}

// noticed returns the type of event that a refusal becomes; empty: none.
func noticed(call *Call) models.EventType {
	switch r := call.Reason; {
	case r == ReasonClientAuthentication && call.FailedClientID != "":
		return models.EventClientAuthenticationFailed
	case call.Grant != grantTokenExchange || r == ReasonSubjectTokenSpent || r == ReasonSubjectTokenOtherUser: // which have events of their own
		return ""
	case strings.HasPrefix(string(r), "subject_token_"), r == ReasonUserDisabled, r == ReasonUserUnknown, r == ReasonPolicyDenied, r == ReasonSignInDisabled, r == ReasonSessionLimit:
		return models.EventClientTokenRefused
	}
	return ""
}

// notice records a refused request, unless a similar one was refused shortly before.
func (s *Server) notice(call *Call) {
	what := noticed(call)
	if what == "" {
		return
	}
	now, client := s.now(), call.FailedClientID
	if call.Client != nil {
		client = call.Client.ID
	}
	if !s.notices.admit(noticeKey{call.Tenant.ID, client, call.Reason, network(call.IP)}, now) {
		return
	}
	details := map[string]any{"why": call.Reason}
	if checks := call.checks.forEvent(); len(checks) > 0 {
		details["checks"] = checks
	}
	e := models.Event{At: now, TenantID: call.Tenant.ID, Type: what, ClientID: client, Details: call.withDevice(details, nil)}
	select {
	case s.notices.queue <- e:
	default:
	}
}

// writeNotices writes the events until ctx ends. One that cannot be written is dropped.
func (s *Server) writeNotices(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-s.notices.queue:
			e.At = s.now() // nodes look for events that are stamped now
			if err := s.store.AddEvent(ctx, e); err != nil && ctx.Err() == nil {
				s.log.Warn("could not record a refused request", "event", string(e.Type), "tenant", e.TenantID, "error", err)
			}
		}
	}
}
