package resource

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/sdk/go/internal/wire"
)

// read processes events until the stream ends, and returns the reason.
func (s *feedStream) read(from *wire.EventReader) error {
	for {
		e, err := from.Next()
		if err != nil {
			return err
		}
		if err := s.handle(e); err != nil {
			return err
		}
	}
}

// handle processes one event or comment. Events of unknown kinds are skipped.
func (s *feedStream) handle(e *wire.StreamEvent) error {
	var err error
	switch e.Name {
	case "":
		s.handleComment(e.Comment)
		return nil
	case "snapshot":
		err = s.snapshot(e)
	case "revoked":
		var entry revokedEntry
		if err = json.Unmarshal(e.Data, &entry); err == nil {
			err = s.add(entry)
		}
	}
	if err != nil {
		return fmt.Errorf("event %s: %w", e.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastEventID = e.ID
	return nil
}

// snapshot processes the revocations that are known, or those since the last
// event id.
func (s *feedStream) snapshot(e *wire.StreamEvent) error {
	var content struct {
		AsOf    int64          `json:"as_of"`
		Revoked []revokedEntry `json:"revoked"`
	}
	if err := json.Unmarshal(e.Data, &content); err != nil {
		return err
	}
	if content.AsOf <= 0 || content.Revoked == nil {
		return errors.New("as_of or revoked is missing")
	}
	if err := s.add(content.Revoked...); err != nil {
		return err
	}
	if err := s.measureOffset(time.Unix(content.AsOf, 0)); err != nil {
		return err
	}
	s.snapshotSeen = true
	s.advance(time.Unix(content.AsOf, 0))
	s.markStarted()
	return nil
}

// measureOffset computes an upper bound of the offset between the verifier's
// and the server's clock. The bound of earlier streams stays in force:
// otherwise a recorded response, replayed by something on the way, would look
// like a new sign of life each time. It may grow by a hundredth of the elapsed
// time, for clocks that drift.
func (s *feedStream) measureOffset(asOf time.Time) error {
	offset := s.answeredAt.Sub(asOf)
	if offset < -maxTolerance {
		return errors.New("as_of is more than a minute ahead of this machine's clock: synchronize the clocks")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.offsetMeasured.IsZero() {
		offset = min(offset, s.offset+max(0, s.answeredAt.Sub(s.offsetMeasured))/100)
	}
	s.offset, s.offsetMeasured = offset, s.answeredAt
	return nil
}

func (s *feedStream) add(entries ...revokedEntry) error {
	for _, e := range entries {
		if err := e.check(); err != nil {
			return err
		}
	}
	s.revoked.add(entries, s.Now())
	return nil
}

// handleComment processes a comment "as_of …": the server has sent every
// revocation until then.
func (s *feedStream) handleComment(comment string) {
	text, isMoment := strings.CutPrefix(comment, "as_of ")
	asOf, err := strconv.ParseInt(text, 10, 64)
	if !isMoment || err != nil || !s.snapshotSeen {
		return
	}
	s.advance(time.Unix(asOf, 0))
}

// advance records that every revocation until asOf, by the server's clock, is
// known. An asOf that does not move is no sign of life.
func (s *feedStream) advance(asOf time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Now()
	if behind := now.Sub(asOf.Add(s.offset)); behind > 0 {
		now = now.Add(-behind) // keeps the monotonic clock reading
	}
	s.asOf, s.lastErr = now, nil
}
