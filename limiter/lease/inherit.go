package lease

// Inheritance is what a node leaves to the process that takes its place on the same
// machine: the decree that it follows, nil when it is not sure of any. A restarted
// node has to ask around for three seconds before its vote counts, since it may have
// followed a decree that it does not remember; a successor remembers.
//
// The node must take in nothing afterwards, or it may follow what its successor does
// not know of.
func (n *Node) Inheritance() []byte {
	if !n.sure || n.epoch == 0 || n.decree.Epoch != n.epoch {
		return nil
	}
	d := n.decree
	m := Message{Kind: MsgDecree, Decree: &d}
	return m.Append(nil)
}

// Inherit makes what a predecessor left the beginning of a node that has not been
// used yet.
func (n *Node) Inherit(text []byte) error {
	m, err := Parse(text)
	if err != nil {
		return err
	}
	if m.Kind != MsgDecree || m.Decree == nil {
		return ErrMessage
	}
	n.decree, n.epoch, n.sure = *m.Decree, m.Decree.Epoch, true
	return nil
}
