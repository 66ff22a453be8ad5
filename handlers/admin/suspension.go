package admin

import (
	"context"
	"errors"
	"slices"
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
	SuspendedAt *time.Time `json:"suspended_at,omitempty" doc:"When it was suspended"`
	SuspendedBy string     `json:"suspended_by,omitempty" doc:"Who suspended it"`
	Reason      string     `json:"reason,omitempty" doc:"Why"`
	Already     bool       `json:"already,omitempty" doc:"It was suspended before, and stays so"`
	Exists      bool       `json:"exists" doc:"There is such a thing. If not, it is suspended as soon as it is made"`
	Sessions    *int       `json:"sessions,omitempty" doc:"Of suspending: its live sessions, which end. 10,001 for more than 10,000; absent if counting took too long"`
	Lifted      *Lifted    `json:"lifted,omitempty" doc:"Of resuming: the suspension that was lifted"`
	OtherID     string     `json:"other_id,omitempty" doc:"Of resuming: the id or URL of another suspension, by which it stays suspended"`
	Followed    string     `json:"followed,omitempty" doc:"Of resuming a trusted issuer: the URL that it had when it was suspended, which stays suspended"`
}

// Lifted is a suspension that was lifted.
type Lifted struct {
	SuspendedAt time.Time `json:"suspended_at"`
	SuspendedBy string    `json:"suspended_by,omitempty"`
	Reason      string    `json:"reason,omitempty"`
}

// maySuspend are those who may suspend and resume what.
var maySuspend = map[string]roles{models.NounTenant: owners, models.NounClient: admins, models.NounIssuer: admins, models.NounUser: support}

type suspendBody struct {
	Reason string `yaml:"reason"`
	DryRun bool   `yaml:"dry_run"`

	settings.Place
}

// Suspend switches a tenant, client, trusted issuer or user off at once, whatever its
// settings say, also if there is no such thing yet.
func (s *Service) Suspend(ctx context.Context, c *Caller, ref models.Ref, body []byte) (*Suspension, error) {
	b, err := s.beforeSuspension(ctx, c, ref, body)
	if err != nil {
		return nil, err
	}
	var sessions *int
	if n, err := s.Store.LiveSessions(ctx, ref); err == nil { // counting must not delay an emergency
		sessions = &n
	}
	if b.DryRun {
		exists, err := s.exists(ctx, ref)
		return &Suspension{Exists: exists, Sessions: sessions}, err
	}
	done, err := s.Store.Suspend(ctx, s.Keys, ref, c.actor(), b.Reason)
	if err != nil {
		return nil, suspensionError(err)
	}
	return &Suspension{
		Suspended: true, SuspendedAt: moment(done.SuspendedAt), SuspendedBy: done.SuspendedBy, Reason: done.Suspension.Reason,
		Already: done.Already, Exists: done.Exists, Sessions: sessions,
	}, nil
}

// exists reports whether there is what a suspension names.
func (s *Service) exists(ctx context.Context, ref models.Ref) (found bool, err error) {
	switch ref.Noun {
	case models.NounTenant:
		err = s.tenantExists(ctx, ref.ID)
	case models.NounClient:
		_, err = s.Store.StoredClient(ctx, ref.Tenant, ref.ID)
	case models.NounUser:
		_, err = s.Store.User(ctx, ref.Tenant, ref.ID)
	default:
		entries, _, err := s.Store.StoredIssuers(ctx, ref.Tenant, models.Page{Limit: 1 << 20})
		return slices.ContainsFunc(entries, func(e models.StoredIssuer) bool {
			return e.Row.EntryID == ref.ID || e.Row.Settings.Issuer == ref.ID
		}), err
	}
	if errors.Is(err, models.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Resume lifts a suspension. What an owner or the machine suspended, only those
// resume.
func (s *Service) Resume(ctx context.Context, c *Caller, ref models.Ref, body []byte) (*Suspension, error) {
	b, err := s.beforeSuspension(ctx, c, ref, body)
	if err != nil {
		return nil, err
	}
	if b.DryRun {
		return nil, invalid(Fault{Pointer: "/dry_run", Detail: "is for suspending only"})
	}
	lifted, err := s.Store.Resume(ctx, s.Keys, ref, c.actor())
	if err != nil {
		return nil, suspensionError(err)
	}
	out := &Suspension{Exists: lifted.Exists, Lifted: &Lifted{lifted.SuspendedAt.Time, lifted.SuspendedBy, lifted.Suspension.Reason}}
	if stays := lifted.StaysOff; stays != nil {
		out.Suspended, out.SuspendedAt, out.SuspendedBy, out.Reason = true, moment(stays.SuspendedAt), stays.SuspendedBy, stays.Reason
		out.OtherID = stays.ID
	}
	if lifted.Followed != nil {
		out.Followed = lifted.Followed.Name
	}
	return out, nil
}

func (s *Service) beforeSuspension(ctx context.Context, c *Caller, ref models.Ref, body []byte) (b suspendBody, err error) {
	if err := c.may(maySuspend[ref.Noun], ref.Tenant); err != nil {
		return b, err
	}
	if ref.Noun != models.NounTenant {
		if err := s.tenantExists(ctx, ref.Tenant); err != nil {
			return b, err
		}
	}
	if len(body) > 0 {
		if err := decodeBody(body, "", &b); err != nil {
			return b, err
		}
	}
	if strings.ContainsFunc(b.Reason, unicode.IsControl) || utf8.RuneCountInString(b.Reason) > 255 || !utf8.ValidString(b.Reason) {
		return b, invalid(Fault{Pointer: "/reason", Detail: "must be one line of at most 255 characters"})
	}
	if ref.ID == "" || strings.ContainsRune(ref.ID, 0) || !utf8.ValidString(ref.ID) || len(ref.ID) > 2048 {
		return b, invalidParameter("id", "must be 1 to 2048 bytes of text without NUL")
	}
	if !settings.ValidTenantID(ref.Tenant) {
		return b, invalidParameter("tenant", "must be the id of a tenant")
	}
	return b, nil
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
