package console

import (
	"fmt"
	"slices"

	"github.com/latchkey/latchkey/handlers/admin"
)

// nodeList is what the overview shows of the nodes of the deployment.
type nodeList struct {
	Rows    []nodeRow
	Missing int  // how many do not report
	Mixed   bool // the nodes that report run different versions
}

// nodeRow is a node in the list.
type nodeRow struct {
	admin.Node
	Lag   string // how old its knowledge of revocations was; empty: unknown
	Other bool   // it runs another version than the node that started last
}

// nodes returns the nodes of the deployment, and nil if the operator may not see them.
func (v *visit) nodes() (*nodeList, error) {
	if !v.Caller.SeesNodes() {
		return nil, nil
	}
	found, err := v.Admin.Nodes(v.ctx(), v.Caller)
	if err != nil {
		return nil, err
	}
	return newNodeList(found.Items), nil
}

func newNodeList(nodes []admin.Node) *nodeList {
	list := &nodeList{}
	reporting := slices.DeleteFunc(slices.Clone(nodes), func(n admin.Node) bool { return n.State == admin.NodeMissing })
	list.Missing = len(nodes) - len(reporting)
	newest := ""
	if len(reporting) > 0 {
		newest = slices.MaxFunc(reporting, func(a, b admin.Node) int { return a.StartedAt.Compare(b.StartedAt) }).Version
	}
	for _, n := range nodes {
		row := nodeRow{Node: n}
		if n.State != admin.NodeMissing {
			row.Other = n.Version != newest
			list.Mixed = list.Mixed || row.Other
			if n.LogAgeSeconds != nil {
				row.Lag = fmt.Sprintf("%.1f s", *n.LogAgeSeconds)
			}
		}
		list.Rows = append(list.Rows, row)
	}
	return list
}
