// Package validate judges what was written down of a run. Each judge is a function of data alone, returns what is wrong
// in words, and has a test that feeds it a history that must not pass.
//
//	Linearizable  every object's requests have an order in which each answer is right
//	Conserved     what is there at the end is what the acknowledged writes left
//	Watched       watchers saw everything, in order, and nothing that was not
//	OwnedOnce     no two cells accept writes for one key at one instant
//	Placed        at the end each object is in its cell alone
//	Protected     at the end each object's envelope is in its backup cell, and is of that object as it is
//	Recovered     Linearizable, but for what a failover names, which has come to exactly that harm
//	Zombie        a cell that was failed over takes no writes when it is back
//	Quarantined   what it took all the same, or alone has, was saved
//	Shown         and is what its failback says has diverged
//	FrozenWithin  a cell that was stopped refuses its own controllers soon after it goes on
//	Undisturbed   over many drills, deaths cost little those who have nothing to do with them
//
// Linearizable is judged by porcupine and a model that shares no code with the product; the others are there because
// they say what went wrong in fewer words, and look where clients do not.
package validate
