package models

import (
	"context"
	"database/sql"
	"time"

	"gorm.io/gorm"
)

// How long a node that no longer reports is listed, and how many nodes a list has at most.
const (
	NodeKept = 5 * time.Minute
	maxNodes = 500
)

// Node is what a running node last reported about itself.
type Node struct {
	ID        string // random, new at each start
	Name      string // of the host, unless the node is configured with another one
	Version   string
	StartedAt Time
	SeenAt    Time   // when it last reported
	LogReadAt Time   // when it had last read the event log; null: not yet
	Reason    string // why it is not ready; empty: it is ready
}

// ReportNode stores the row of a node. It sets SeenAt to the present.
func (s *Store) ReportNode(ctx context.Context, n Node) error {
	return s.exec(ctx, func(db *gorm.DB) error {
		return db.Exec(`INSERT INTO nodes (id, name, version, started_at, seen_at, log_read_at, reason) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, log_read_at = excluded.log_read_at, reason = excluded.reason`,
			n.ID, n.Name, n.Version, n.StartedAt, At(s.Now()), n.LogReadAt, n.Reason).Error
	})
}

// RemoveNode deletes the row of a node, which need not exist.
func (s *Store) RemoveNode(ctx context.Context, id string) error {
	return s.exec(ctx, func(db *gorm.DB) error {
		return db.Exec("DELETE FROM nodes WHERE id = ?", id).Error
	})
}

// Nodes returns the nodes that have reported within NodeKept, at most 500, the last to
// report first.
func (s *Store) Nodes(ctx context.Context) ([]Node, error) {
	var list []Node
	err := s.query(ctx, func(db *gorm.DB) (err error) {
		list, err = collect(db.Raw(`SELECT id, name, version, started_at, seen_at, log_read_at, reason FROM nodes WHERE seen_at > ?
			ORDER BY seen_at DESC, id LIMIT ?`, At(s.Now().Add(-NodeKept)), maxNodes), func(rows *sql.Rows) (n Node, err error) {
			err = rows.Scan(&n.ID, &n.Name, &n.Version, &n.StartedAt, &n.SeenAt, &n.LogReadAt, &n.Reason)
			return n, err
		})
		return err
	})
	return list, err
}

// PruneNodes deletes the rows of nodes that have not reported within NodeKept.
func (s *Store) PruneNodes(ctx context.Context) error {
	return s.exec(ctx, func(db *gorm.DB) error {
		return db.Exec("DELETE FROM nodes WHERE seen_at <= ?", At(s.Now().Add(-NodeKept))).Error
	})
}
