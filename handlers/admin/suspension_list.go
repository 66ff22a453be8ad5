package admin

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"sort"
	"strings"
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
func (s *Service) Suspensions(ctx context.Context, c *Caller, tenant string, p models.Page) (*List[ListedSuspension], error) {
	if err := c.may(everyone, tenant); err != nil {
		return nil, err
	}
	if tenant != "" && !settings.ValidTenantID(tenant) {
		return nil, invalidParameter("tenant", "must be the id of a tenant")
	}
	all, err := s.Store.Suspensions(ctx, s.Keys, tenant)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(one models.Suspension) bool { return !c.Key.MayUse(one.TenantID) })
	slices.SortFunc(all, func(a, b models.Suspension) int { return strings.Compare(placeOf(a), placeOf(b)) })
	first := sort.Search(len(all), func(i int) bool { return placeOf(all[i]) > p.After })
	rest := all[first:]
	page := rest[:min(len(rest), p.Limit)]
	list, last := make([]ListedSuspension, len(page)), ""
	for i, one := range page {
		list[i], last = newListedSuspension(one), placeOf(one)
	}
	return listOf(list, len(rest) > len(page), last), nil
}

// placeOf returns the place of a suspension in the list: text that sorts by time first.
// No two suspensions have the same place. It contains no sub, because cursors are logged.
func placeOf(s models.Suspension) string {
	digest := s.IDDigest
	if digest == nil { // suspended by an earlier release, without a record
		sum := sha256.Sum256([]byte(s.ID))
		digest = sum[:]
	}
	return fmt.Sprintf("%020d %s %s %x", max(0, s.SuspendedAt.UnixMicro()), s.TenantID, s.Kind, digest)
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
