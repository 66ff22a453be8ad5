package decode

import (
	"errors"

	"go.yaml.in/yaml/v3"
)

// Limits on decoding. A file within maxFile exceeds them only if its aliases multiply
// its size or refer to their own parents.
const (
	maxWork  = 64 << 20 // as charge counts it
	maxDepth = 100
)

var errTooDeep = errors.New("is nested too deep")

// enter charges for a visit and reports whether decoding may continue.
func (d *decoder) enter(n *yaml.Node) bool {
	d.charge(n)
	if d.depth >= maxDepth {
		d.overrun = errTooDeep
	}
	if d.overrun != nil {
		return false
	}
	d.depth++
	return true
}

func (d *decoder) leave() { d.depth-- }

// charge counts a node, which may be visited again through aliases.
func (d *decoder) charge(n *yaml.Node) {
	if d.work += 16 + len(n.Value); d.work > d.most {
		d.overrun = errors.New("its aliases make it too large")
	}
}

// mostWork returns the work after which decoding stops. A text without aliases, of
// which each node has a byte at least, needs less.
func (d *Document) mostWork() int { return min(maxWork, 1<<20+64*d.size) }

// target returns n, or the node to which the alias n refers.
func target(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// plain reports whether n is a scalar whose text is its value: not binary, and
// without an unknown tag.
func plain(n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode {
		return false
	}
	switch n.ShortTag() {
	case "!!str", "!!int", "!!float", "!!bool", "!!timestamp", "!!merge":
		return true
	}
	return false
}
