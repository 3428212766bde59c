package history

// Loss is an object that a failover names: it was lost, or lacks its last writes.
type Loss struct {
	// Cell is the one that died.
	Cell, Key string
	// Stale says that a copy was brought back, which lacks writes; otherwise there was none.
	Stale bool
	// From is when the cell died, To when its copies were objects again, by the clock of the record.
	From, To int64
	// Copies are the states in which the copies of the object were, the last of each.
	Copies []State
}

// Ops are what the loss may have done to the object: one of these, exactly once.
func (l Loss) Ops() []Op {
	if !l.Stale {
		return []Op{l.op(State{})}
	}
	var out []Op
	for _, state := range l.Copies {
		out = append(out, l.op(state))
	}
	return out
}

func (l Loss) op(seen State) Op {
	return Op{Via: "failover", Key: l.Key, Verb: Lose, Call: l.From, Return: l.To, Outcome: OK, Seen: seen}
}
