package oauth

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/delivery"
	"github.com/latchkey/latchkey/settings"
)

const (
	// pollWait bounds how long a poll waits for an event.
	pollWait = 20 * time.Second
	// pollLook is how often a waiting poll looks for new events, and pollAgain how
	// often it looks for those that became visible very late, and at the state of
	// the stream.
	pollLook, pollAgain = 500 * time.Millisecond, 5 * time.Second
	// maxPolls bounds how many polls of one client may wait at a node.
	maxPolls = 10

	defaultPolled = 100       // events in one answer
	maxPollBody   = 256 << 10 // bytes; a thousand acknowledgements and errors fit
)

// errPollReplaced ends the oldest waiting poll of a client that has too many.
var errPollReplaced = errors.New("the client has too many waiting polls, of which this is the oldest")

// errStopping ends waiting polls when the node stops.
var errStopping = errors.New("the node is stopping")

// pollRequest is the body of a poll (RFC 8936 §2.2).
type pollRequest struct {
	MaxEvents         *int64                     `yaml:"maxEvents"`
	ReturnImmediately bool                       `yaml:"returnImmediately"`
	Ack               []string                   `yaml:"ack"`
	SetErrs           map[string]delivery.SETErr `yaml:"setErrs"`
}

// pollAnswer is the response to a poll (RFC 8936 §2.3).
type pollAnswer struct {
	Sets map[string]string `json:"sets"`
	More bool              `json:"moreAvailable"`
}

// Poll serves POST {iss}/ssf/poll/{destination}: polled delivery of security event
// tokens (RFC 8936).
func (s *Server) Poll(w http.ResponseWriter, r *http.Request, call *Call) {
	s.serve(w, r, call, func(ctx context.Context) error {
		answer, err := s.poll(ctx, w, r, call)
		if err != nil {
			return err
		}
		writeJSON(w, http.StatusOK, answer)
		return nil
	})
}

func (s *Server) poll(ctx context.Context, w http.ResponseWriter, r *http.Request, call *Call) (*pollAnswer, error) {
	if _, err := parseQuery(r); err != nil {
		return nil, err
	}
	c, err := s.authenticateReceiver(ctx, call, r, ScopeSSFRead, ScopeSSFManage)
	if err != nil {
		return nil, err
	}
	row, err := s.polledStream(ctx, c, r.PathValue("destination"))
	if err != nil {
		return nil, err
	}
	var q pollRequest
	if err := readStrictly(r, maxPollBody, &q); err != nil {
		return nil, err
	}
	most := int64(defaultPolled)
	if q.MaxEvents != nil {
		if most = min(*q.MaxEvents, delivery.MostPolled); most < 0 {
			return nil, invalidRequest(ReasonParameterInvalid, "maxEvents must not be negative")
		}
	}
	if err := s.acknowledge(ctx, row, q); err != nil {
		return nil, err
	}
	return s.pollEvents(ctx, w, c, row, int(most), q.ReturnImmediately || most == 0)
}

// polledStream returns the client's event destination of the type set_poll.
func (s *Server) polledStream(ctx context.Context, c *Client, id string) (*models.Destination, error) {
	row, err := s.streamOf(ctx, c, id)
	if err == nil && row.Settings.Type != settings.DestinationPoll {
		return nil, errNoStream().withCause(errors.New("the destination is not of the type set_poll"))
	}
	return row, err
}

// acknowledge records what the receiver has accepted and refused. An event with both
// an acknowledgement and an error was refused.
func (s *Server) acknowledge(ctx context.Context, row *models.Destination, q pollRequest) error {
	accepted, refused := []models.EventID{}, map[models.EventID]delivery.SETErr{}
	for _, jti := range q.Ack {
		if id, err := models.ParseEventID(jti); err == nil {
			accepted = append(accepted, id)
		}
	}
	for jti, why := range q.SetErrs {
		if why.Err == "" {
			return invalidRequest(ReasonParameterInvalid, "Each member of setErrs must have err")
		}
		if id, err := models.ParseEventID(jti); err == nil {
			refused[id] = why
		}
	}
	if len(accepted)+len(refused) == 0 {
		return nil
	}
	return s.delivery.Acknowledge(ctx, row, accepted, refused)
}

// pollEvents answers a poll. Unless it is to return immediately, it waits until there
// is an event. A stream that is paused or disabled has none.
func (s *Server) pollEvents(ctx context.Context, w http.ResponseWriter, c *Client, row *models.Destination, most int, immediately bool) (*pollAnswer, error) {
	if immediately {
		return s.pollOnce(ctx, row, most)
	}
	// The server's own limit on a response begins with the request.
	if err := setWriteDeadline(http.NewResponseController(w), time.Now().Add(pollWait+streamWriteTimeout)); err != nil {
		return nil, err
	}
	waiting := &stream{owner: streamOwner{c.TenantID, c.ID}, done: make(chan struct{})}
	s.polls.add(waiting)
	defer s.polls.remove(waiting)
	s.polls.endOldest(waiting.owner, maxPolls, errPollReplaced)
	over, cancel := context.WithTimeout(ctx, pollWait)
	defer cancel()

	watch, err := s.delivery.Watch(ctx, row)
	if err != nil {
		return nil, err
	}
	for {
		answer, err := s.pollOnce(ctx, row, most)
		if err != nil || len(answer.Sets) > 0 {
			return answer, err
		}
		if ended, err := waiting.awaitEvent(ctx, over, watch, answer.More); err != nil || ended {
			return answer, err
		}
		if row, err = s.polledStream(ctx, c, row.ID); err != nil {
			return nil, err
		}
	}
}

func (s *Server) pollOnce(ctx context.Context, row *models.Destination, most int) (*pollAnswer, error) {
	sets, more, err := s.delivery.Poll(ctx, row, most)
	return &pollAnswer{Sets: sets, More: more}, err
}

// awaitEvent waits until there may be an event, which is at once if more of the log is
// to be read. It reports whether the poll has ended.
func (p *stream) awaitEvent(ctx, over context.Context, watch *delivery.Watch, more bool) (ended bool, err error) {
	look, again := time.NewTicker(pollLook), time.NewTimer(pollAgain)
	defer look.Stop()
	defer again.Stop()
	if more {
		again.Reset(0)
	}
	for {
		select {
		case <-p.done:
			return true, nil
		case <-over.Done():
			return true, nil
		case <-again.C:
			return false, nil
		case <-look.C:
			if found, err := watch.Look(ctx); err != nil || found {
				return false, err
			}
		}
	}
}
