package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// ListedSuspension is one suspension in a list.
type ListedSuspension struct {
	Tenant      string     `json:"tenant" doc:"The tenant"`
	Kind        string     `json:"kind" enum:"tenant,client,issuer,user" doc:"The kind of resource; issuer means a trusted issuer"`
	ID          string     `json:"id,omitempty" doc:"The id of the tenant or client, the user's sub, or the id or URL of the trusted issuer; absent for a user who does not exist, of whom only a digest is stored"`
	Digest      string     `json:"digest,omitempty" doc:"If id is absent: the beginning of the digest, to tell such suspensions apart"`
	Exists      bool       `json:"exists" doc:"The resource exists. If it does not, it is suspended when it is created"`
	SuspendedAs string     `json:"suspended_as,omitempty" doc:"The URL that a trusted issuer had when it was suspended. The suspension of its entry follows it"`
	SuspendedAt *time.Time `json:"suspended_at,omitempty" doc:"When it was suspended"`
	SuspendedBy string     `json:"suspended_by,omitempty" doc:"Who suspended it; absent: unknown"`
	Reason      string     `json:"reason,omitempty" doc:"Why"`
}

// Suspensions returns a page of the suspensions in a tenant or, if tenant is empty, in
// all tenants of the caller's key, oldest first. The tenant need not exist.
func (s *Service) Suspensions(ctx context.Context, c *Caller, tenant, cursor string, limit int) (*List[ListedSuspension], error) {
	if err := c.may(everyone, tenant); err != nil {
		return nil, err
	}
	f := models.SuspensionFilter{Tenants: c.Key.Tenants, Limit: limit}
	if tenant != "" {
		if !settings.ValidTenantID(tenant) {
			return nil, invalidParameter("tenant", "must be the id of a tenant")
		}
		f.Tenants = []string{tenant}
	}
	if cursor != "" {
		var err error
		if f.After, err = models.ParseSuspensionCursor(cursor); err != nil {
			return nil, invalidParameter("cursor", "is not a cursor of this list: send next_cursor of the previous page, or leave it out")
		}
	}
	page, next, err := s.Store.ListSuspensions(ctx, s.Keys, f)
	if err != nil {
		return nil, err
	}
	list := &List[ListedSuspension]{Items: make([]ListedSuspension, len(page))}
	for i, one := range page {
		list.Items[i] = newListedSuspension(one)
	}
	if next.Digest != nil {
		list.NextCursor = next.String()
	}
	return list, nil
}

func newListedSuspension(s models.Suspension) ListedSuspension {
	out := ListedSuspension{
		Tenant: s.TenantID, Kind: s.Kind, ID: s.ID, Exists: s.Exists, SuspendedAs: s.FollowsURL,
		SuspendedAt: moment(s.SuspendedAt), SuspendedBy: s.SuspendedBy, Reason: s.Reason,
	}
	if s.ID == "" {
		out.Digest = fmt.Sprintf("%.4x", s.IDDigest)
	}
	return out
}
