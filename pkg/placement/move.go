package placement

import "iter"

// Move is what a rebalance does with one key: it changes its cell, or its backup cell, or both.
type Move struct {
	Key  string `json:"key"`
	From string `json:"from"`
	To   string `json:"to"`
	Case Case   `json:"case"`
	// OldBackup and NewBackup are "" in a ring of one cell.
	OldBackup string `json:"oldBackup,omitempty"`
	NewBackup string `json:"newBackup,omitempty"`
}

// Moves streams the keys that change their cell or their backup cell, in the order in which they
// are given. A key whose cell stays but whose backup changes has From = To and Case Stays.
func (t *Table) Moves(keys iter.Seq[string]) iter.Seq[Move] {
	return func(yield func(Move) bool) {
		for key := range keys {
			p, ok := t.LookupKey(key)
			if !ok {
				return
			}
			if (p.Moves() || p.Rehomed()) && !yield(p.move(key)) {
				return
			}
		}
	}
}

func (p Placement) move(key string) Move {
	return Move{
		Key: key, From: p.Old(), To: p.New(), Case: p.Case(),
		OldBackup: p.OldBackup(), NewBackup: p.NewBackup(),
	}
}
