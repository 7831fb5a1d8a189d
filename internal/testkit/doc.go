// Package testkit is what tests of several packages share. Only tests import it.
//
//   - [Await] waits for a condition for at most [Patience].
//   - [Golden] compares output with a golden file, which -update rewrites.
//   - [Testdata] and [Recorded] read files under the repository's testdata.
//   - [ReplaceLines], [SetValues], [DropSamples] and [ReplaceAll] edit metrics pages.
//   - [Codes], [Reason] and [AssertNullsExplained] look at an event's notes.
//   - [HangingFile] makes a file that never responds.
//   - [Heap] measures memory.
//   - [Long] and [Scale] shorten simulations that are slow at full length.
//   - [Shared] finds recordings outside the repository.
//   - [Main] runs the tests of a package that waits for helper processes.
package testkit
