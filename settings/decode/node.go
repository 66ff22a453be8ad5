package decode

import (
	"errors"

	"go.yaml.in/yaml/v3"
)

// Bounds of a walk. A file within maxFile stays below them unless its aliases
// multiply it, or refer to what they are part of.
const (
	maxWork  = 64 << 20 // of visits, as charge counts them
	maxDepth = 100
)

var errTooDeep = errors.New("is nested too deep")

// enter charges for a visit and says whether there may be more.
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
	if d.work += 16 + len(n.Value); d.work > maxWork {
		d.overrun = errors.New("its aliases make it too large")
	}
}

// target is the node that n stands for.
func target(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// plain says that n is a scalar whose text is its value: not binary, and not
// of a tag that only some other program knows.
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
