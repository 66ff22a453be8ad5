package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/sdk/go/admin"
)

// allDestinations is more than a tenant can have.
const allDestinations = 10_000

// deliveryQuery selects deliveries of an event destination.
type deliveryQuery struct {
	state, cursor string
	limit         int
}

func (r remoteManagement) destinations(ctx context.Context, tenant string) ([]admin.EventDestination, error) {
	list := []admin.EventDestination{}
	for d, err := range r.client.EventDestinations.List(ctx, tenant, admin.ListQuery{}) {
		if err != nil {
			return nil, err
		}
		d.ETag = ""
		list = append(list, d)
	}
	return list, nil
}

func (r remoteManagement) testDestination(ctx context.Context, tenant, id string) (*admin.EventDelivery, error) {
	return r.client.EventDestinations.Test(ctx, tenant, id)
}

func (r remoteManagement) deliveries(ctx context.Context, tenant, id string, q deliveryQuery) (*admin.Page[admin.EventDelivery], error) {
	return r.client.EventDestinations.DeliveriesPage(ctx, tenant, id, q.state, admin.ListQuery{Limit: q.limit, Cursor: q.cursor})
}

func (r remoteManagement) redeliverDead(ctx context.Context, tenant, id string) (int64, error) {
	return r.client.EventDestinations.RedeliverDead(ctx, tenant, id)
}

func (r remoteManagement) redeliverSince(ctx context.Context, tenant, id string, since time.Time) error {
	return r.client.EventDestinations.RedeliverSince(ctx, tenant, id, since)
}

func (r remoteManagement) enableDestination(ctx context.Context, tenant, id string) (*admin.EventDestination, error) {
	return r.client.EventDestinations.Enable(ctx, tenant, id)
}

func (r remoteManagement) newDestinationSecret(ctx context.Context, tenant, id, previousUntil string) (*admin.NewSecret, error) {
	return r.client.EventDestinations.NewSecret(ctx, tenant, id, previousUntil)
}

func (l localManagement) destinations(ctx context.Context, tenant string) ([]admin.EventDestination, error) {
	found, err := l.service.Destinations(ctx, l.caller, tenant, models.Page{Limit: allDestinations})
	list, err := converted[admin.Page[admin.EventDestination]](found, err)
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

func (l localManagement) testDestination(ctx context.Context, tenant, id string) (*admin.EventDelivery, error) {
	done, err := l.service.TestDestination(ctx, l.caller, tenant, id)
	return converted[admin.EventDelivery](done, err)
}

func (l localManagement) deliveries(ctx context.Context, tenant, id string, q deliveryQuery) (*admin.Page[admin.EventDelivery], error) {
	list, err := l.service.Deliveries(ctx, l.caller, tenant, id, q.state, q.cursor, q.limit)
	return converted[admin.Page[admin.EventDelivery]](list, err)
}

func (l localManagement) redeliverDead(ctx context.Context, tenant, id string) (int64, error) {
	done, err := l.service.Redeliver(ctx, l.caller, tenant, id, time.Time{})
	if err != nil {
		return 0, refusalOf(err)
	}
	return *done.Dead, nil
}

func (l localManagement) redeliverSince(ctx context.Context, tenant, id string, since time.Time) error {
	_, err := l.service.Redeliver(ctx, l.caller, tenant, id, since)
	return refusalOf(err)
}

func (l localManagement) enableDestination(ctx context.Context, tenant, id string) (*admin.EventDestination, error) {
	d, err := l.service.EnableDestination(ctx, l.caller, tenant, id)
	return converted[admin.EventDestination](d, err)
}

func (l localManagement) newDestinationSecret(ctx context.Context, tenant, id, previousUntil string) (*admin.NewSecret, error) {
	var body []byte
	if previousUntil != "" {
		var err error
		if body, err = json.Marshal(map[string]string{"previous_until": previousUntil}); err != nil {
			return nil, err
		}
	}
	made, err := l.service.NewDestinationSecret(ctx, l.caller, tenant, id, body)
	return converted[admin.NewSecret](made, err)
}
