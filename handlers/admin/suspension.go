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

// Suspension is the result of Suspend or Resume.
type Suspension struct {
	Suspended   bool       `json:"suspended" doc:"It is suspended now"`
	SuspendedAt *time.Time `json:"suspended_at,omitempty" doc:"When it was suspended"`
	SuspendedBy string     `json:"suspended_by,omitempty" doc:"Who suspended it"`
	Reason      string     `json:"reason,omitempty" doc:"Why"`
	Already     bool       `json:"already,omitempty" doc:"It was already suspended, and remains suspended"`
	Exists      bool       `json:"exists" doc:"The resource exists. If it does not, it is suspended when it is created"`
	Sessions    *int       `json:"sessions,omitempty" doc:"After suspend: the number of live sessions, which end. 10,001 means more than 10,000; absent if counting took too long, or if more than 10,000 are stored and not all of the newest are live"`
	Lifted      *Lifted    `json:"lifted,omitempty" doc:"After resume: the suspension that was lifted"`
	OtherID     string     `json:"other_id,omitempty" doc:"After resume: the id or URL of another suspension, which keeps the resource suspended"`
	Followed    string     `json:"followed,omitempty" doc:"After resume of a trusted issuer: the URL that it had when it was suspended. That URL remains suspended"`
}

// Lifted is a suspension that was lifted.
type Lifted struct {
	SuspendedAt time.Time `json:"suspended_at" doc:"When it was suspended"`
	SuspendedBy string    `json:"suspended_by,omitempty" doc:"Who suspended it"`
	Reason      string    `json:"reason,omitempty" doc:"Why it was suspended"`
}

// maySuspend lists the roles that may suspend and resume each kind of object.
var maySuspend = map[string]roles{models.KindTenant: owners, models.KindClient: admins, models.KindIssuer: admins, models.KindUser: support}

type suspendBody struct {
	Reason string `yaml:"reason"`
	DryRun bool   `yaml:"dry_run"`

	settings.Place
}

// Suspend disables a tenant, client, trusted issuer or user at once, regardless of its
// settings. An object that does not exist yet is suspended when it is created.
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
	done, err := s.Store.Suspend(ctx, s.Keys, ref, c.Actor(), b.Reason)
	if err != nil {
		return nil, suspensionError(err)
	}
	return &Suspension{
		Suspended: true, SuspendedAt: moment(done.SuspendedAt), SuspendedBy: done.SuspendedBy, Reason: done.Suspension.Reason,
		Already: done.Already, Exists: done.Exists, Sessions: sessions,
	}, nil
}

// exists reports whether the object of ref exists.
func (s *Service) exists(ctx context.Context, ref models.Ref) (found bool, err error) {
	switch ref.Kind {
	case models.KindTenant:
		err = s.tenantExists(ctx, ref.ID)
	case models.KindClient:
		_, err = s.Store.StoredClient(ctx, ref.Tenant, ref.ID)
	case models.KindUser:
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

// Resume lifts a suspension. Nobody can lift the suspension of a higher role.
func (s *Service) Resume(ctx context.Context, c *Caller, ref models.Ref, body []byte) (*Suspension, error) {
	b, err := s.beforeSuspension(ctx, c, ref, body)
	if err != nil {
		return nil, err
	}
	if b.DryRun {
		return nil, invalid(Fault{Pointer: "/dry_run", Detail: "is not available for resume"})
	}
	lifted, err := s.Store.Resume(ctx, s.Keys, ref, c.Actor())
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
	if err := c.may(maySuspend[ref.Kind], ref.Tenant); err != nil {
		return b, err
	}
	if ref.Kind != models.KindTenant {
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
		return forbidden("a higher role suspended it")
	case errors.Is(err, models.ErrTenantRemoved):
		return ErrNotFound
	case errors.Is(err, models.ErrOtherName):
		return conflict("suspended_by_another_name", "It is suspended under another name: send the URL or the id that was suspended")
	}
	return err
}
