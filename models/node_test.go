package models_test

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
)

func TestNodesReportAndAreForgotten(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		other := w.another(models.Options{}) // the store of another node
		a := models.Node{ID: "a", Name: "host-a", Version: "v1", StartedAt: models.At(w.Now()), LogReadAt: models.At(w.Now())}
		b := models.Node{ID: "b", Name: "host-b", Version: "v2", StartedAt: models.At(w.Now()), Reason: "starting"}
		must(t, w.ReportNode(t.Context(), a))
		must(t, other.ReportNode(t.Context(), b))
		w.clock.Advance(10 * time.Second)
		b.Reason, b.LogReadAt = "", models.At(w.Now().Add(-time.Second))
		must(t, other.ReportNode(t.Context(), b))
		list := w.nodes()
		if len(list) != 2 || list[0].ID != "b" || list[1].ID != "a" {
			t.Fatalf("the nodes are %+v", list)
		}
		b.SeenAt, a.SeenAt = models.At(w.Now()), models.At(w.Now().Add(-10*time.Second))
		if list[0] != b || list[1] != a {
			t.Errorf("the nodes are %+v, want %+v and %+v", list, b, a)
		}

		// A node that stops is removed at once, a node that was killed after NodeKept.
		must(t, other.RemoveNode(t.Context(), "b"))
		w.clock.Advance(models.NodeKept - 10*time.Second - time.Microsecond)
		must(t, w.PruneNodes(t.Context()))
		if list := w.nodes(); len(list) != 1 || list[0].ID != "a" {
			t.Errorf("the nodes are %+v", list)
		}
		w.clock.Advance(time.Microsecond)
		if list := w.nodes(); len(list) != 0 {
			t.Errorf("the nodes are %+v", list)
		}
		if n := w.number("SELECT count(*) FROM nodes"); n != 1 {
			t.Errorf("%d rows before pruning", n)
		}
		must(t, w.PruneNodes(t.Context()))
		if n := w.number("SELECT count(*) FROM nodes"); n != 0 {
			t.Errorf("%d rows after pruning", n)
		}
	})
}

func (w *fixture) nodes() []models.Node {
	w.Helper()
	list, err := w.Nodes(w.Context())
	must(w, err)
	return list
}
