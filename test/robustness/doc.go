// Package robustness proves, on real cells and routers, that a rebalance loses no write, that one cell at a time owns
// a key, and that watches tell the truth, while clients keep writing and things break; and that a cell which dies is failed
// over without any other loss than those that were named, and comes back without harm.
//
//	clients ─▶ two routers ─▶ cells ◀─ direct writer
//	   │            │           │
//	   ▼            ▼           ▼
//	history.Op  history.Stream  history.Round    what was asked and answered, told, and read in the cells
//	   └────────────┴───────────┘
//	                ▼
//	            validate.*                       pure judges, each tested with a bad history
//
// Everything that is drawn is drawn from one seed, which a failing run prints; -seed, -stages, -faults and -clients
// repeat it. What the machine does in between differs from run to run, so a failing run also leaves its history.
//
// Not proven here: replicated and dependent objects, and routers that die together with a cell, with their ledgers.
//
// Start reading at TestRebalance and TestDrill, then package validate.
package robustness
