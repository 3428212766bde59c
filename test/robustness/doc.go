// Package robustness proves, on real cells and routers, that a rebalance loses no write, that one cell at a time owns
// a key, and that watches tell the truth, while clients keep writing and things break.
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
// Not proven here: failovers, replicated and dependent objects, and the loss of a cell's data.
//
// Start reading at TestRebalance, then package validate.
package robustness
