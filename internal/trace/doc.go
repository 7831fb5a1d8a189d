// Package trace analyses traces of GPUs: how busy each device was, with what, what it waited
// for, and how the engine's steps differ.
//
// A reader (packages chrome and nsys) passes what it finds to a [Collector], which keeps 24
// bytes of each kernel and copy. [Collector.Analyze] then walks through them once in the order
// of their start: times are unions of intervals over all streams of a device, so that what
// runs at the same time is not counted twice. A second pass over the file passes what the CPUs
// did to a [GapFinder], which explains the longest gaps.
//
// The package is pure: it reads no files and no clock.
package trace
