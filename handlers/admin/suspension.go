package admin

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// Suspension is the outcome of suspending or resuming.
type Suspension struct {
	Suspended   bool       `json:"suspended" doc:"It is suspended now"`
	SuspendedAt *time.Time `json:"suspended_at,omitempty" doc:"Since when"`
	SuspendedBy string     `json:"suspended_by,omitempty" doc:"By whom"`
	Reason      string     `json:"reason,omitempty" doc:"Why"`
	Already     bool       `json:"already,omitempty" doc:"It was suspended before, and stays so"`
	Exists      bool       `json:"exists" doc:"There is such a thing. If not, it is suspended as soon as it is made"`
}

// maySuspend are those who may suspend and resume what.
var maySuspend = map[string]roles{models.NounTenant: owners, models.NounClient: admins, models.NounIssuer: admins, models.NounUser: support}

type suspendBody struct {
	Reason string `yaml:"reason"`

	settings.Place
}

// Suspend switches a tenant, client, trusted issuer or user off at once, whatever its
// settings say, also if there is no such thing yet.
func (s *Service) Suspend(ctx context.Context, c *Caller, ref models.Ref, body []byte) (*Suspension, error) {
	reason, err := s.beforeSuspension(ctx, c, ref, body)
	if err != nil {
		return nil, err
	}
	done, err := s.Store.Suspend(ctx, s.Keys, ref, c.actor(), reason)
	if err != nil {
		return nil, suspensionError(err)
	}
	return &Suspension{
		Suspended: true, SuspendedAt: moment(done.SuspendedAt), SuspendedBy: done.SuspendedBy, Reason: done.Suspension.Reason,
		Already: done.Already, Exists: done.Exists,
	}, nil
}

// Resume lifts a suspension. What an owner or the machine suspended, only those
// resume.
func (s *Service) Resume(ctx context.Context, c *Caller, ref models.Ref, body []byte) (*Suspension, error) {
	if _, err := s.beforeSuspension(ctx, c, ref, body); err != nil {
		return nil, err
	}
	lifted, err := s.Store.Resume(ctx, s.Keys, ref, c.actor())
	if err != nil {
		return nil, suspensionError(err)
	}
	out := &Suspension{Exists: lifted.Exists}
	if stays := lifted.StaysOff; stays != nil {
		out.Suspended, out.SuspendedAt, out.SuspendedBy, out.Reason = true, moment(stays.SuspendedAt), stays.SuspendedBy, stays.Reason
	}
	return out, nil
}

func (s *Service) beforeSuspension(ctx context.Context, c *Caller, ref models.Ref, body []byte) (reason string, err error) {
	if err := c.may(maySuspend[ref.Noun], ref.Tenant); err != nil {
		return "", err
	}
	if ref.Noun != models.NounTenant {
		if err := s.tenantExists(ctx, ref.Tenant); err != nil {
			return "", err
		}
	}
	var b suspendBody
	if len(body) > 0 {
		if err := decodeBody(body, "", &b); err != nil {
			return "", err
		}
	}
	if strings.ContainsFunc(b.Reason, unicode.IsControl) || utf8.RuneCountInString(b.Reason) > 255 || !utf8.ValidString(b.Reason) {
		return "", invalid(Fault{Pointer: "/reason", Detail: "must be one line of at most 255 characters"})
	}
	if ref.ID == "" || strings.ContainsRune(ref.ID, 0) || !utf8.ValidString(ref.ID) || len(ref.ID) > 2048 {
		return "", invalidParameter("id", "must be 1 to 2048 bytes of text without NUL")
	}
	if !settings.ValidTenantID(ref.Tenant) {
		return "", invalidParameter("tenant", "must be the id of a tenant")
	}
	return b.Reason, nil
}

func suspensionError(err error) error {
	switch {
	case errors.Is(err, models.ErrNotSuspended):
		return conflict("not_suspended", "It is not suspended")
	case errors.Is(err, models.ErrMayNotResume):
		return forbidden("somebody with a higher role suspended it")
	case errors.Is(err, models.ErrTenantRemoved):
		return errNotFound
	case errors.Is(err, models.ErrOtherName):
		return conflict("suspended_by_another_name", "It is suspended by another name: resume it by the URL or the id that was suspended")
	}
	return err
}
