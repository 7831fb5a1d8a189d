// Package ab runs two commands in turn, each several times, so that whatever drifts on the
// machine affects both alike.
//
// A [Plan] lists the runs in their order. [Run] starts a vobs run of its own for each,
// because one process brackets one command, and reads its event. The labels ab.side,
// ab.pair and ab.position tell package compare which runs belong together.
package ab
