package resource

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// read takes in events until the stream ends, and says why it did.
func (s *feedStream) read(from *eventReader) error {
	for {
		e, err := from.next()
		if err != nil {
			return err
		}
		if err := s.handle(e); err != nil {
			return err
		}
	}
}

func (s *feedStream) handle(e *streamEvent) error {
	var err error
	switch e.name {
	case "":
		s.handleComment(e.comment)
		return nil
	case "snapshot":
		err = s.snapshot(e)
	case "revoked":
		var entry revokedEntry
		if err = json.Unmarshal(e.data, &entry); err == nil {
			err = s.add(entry)
		}
	}
	if err != nil {
		return fmt.Errorf("an event %s: %w", e.name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastEventID = e.id
	return nil
}

// snapshot takes in what is known, or what became known since the last id.
func (s *feedStream) snapshot(e *streamEvent) error {
	var said struct {
		AsOf    int64          `json:"as_of"`
		Revoked []revokedEntry `json:"revoked"`
	}
	if err := json.Unmarshal(e.data, &said); err != nil {
		return err
	}
	if said.AsOf <= 0 || said.Revoked == nil {
		return errors.New("it lacks as_of or revoked")
	}
	if err := s.add(said.Revoked...); err != nil {
		return err
	}
	if err := s.measureOffset(time.Unix(said.AsOf, 0)); err != nil {
		return err
	}
	s.snapshotSeen = true
	s.advance(time.Unix(said.AsOf, 0))
	s.markStarted()
	return nil
}

// measureOffset notes how far the server's clock is behind ours, at the most. What an
// earlier stream told counts on, or the same answer, kept and repeated by
// something in between, would be a new sign of life each time; clocks that part
// may do so by a hundredth.
func (s *feedStream) measureOffset(asOf time.Time) error {
	offset := s.answeredAt.Sub(asOf)
	if offset < -maxTolerance {
		return errors.New("the server's clock is ahead by more than a minute")
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

// handleComment takes in a comment "as_of …": until then the server knows everything. A
// moment that stands still, or comes late, is no sign of life.
func (s *feedStream) handleComment(comment string) {
	text, isMoment := strings.CutPrefix(comment, "as_of ")
	asOf, err := strconv.ParseInt(text, 10, 64)
	if !isMoment || err != nil || !s.snapshotSeen {
		return
	}
	s.advance(time.Unix(asOf, 0))
}

// advance notes until when, by the server's clock, everything is known.
func (s *feedStream) advance(asOf time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Now()
	if behind := now.Sub(asOf.Add(s.offset)); behind > 0 {
		now = now.Add(-behind) // keeps the monotonic clock's part
	}
	s.asOf, s.lastErr = now, nil
}
