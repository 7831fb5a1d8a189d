// Package source makes events to diagnose where no command was run: from a live engine, by a
// vobs run of its own around a wait ([Live]), and from what a Prometheus server has recorded
// ([Prometheus.Event]).
//
// Both end in the same code as vobs run: what counts as a figure does not depend on who read the
// metrics pages.
package source
