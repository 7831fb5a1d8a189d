// Package scrape fetches metrics pages over HTTP and decides when to fetch the
// next one.
//
// A [Target] is the address of a page. A [Client] fetches it, whole or filtered by
// name[] to the few metrics that polls need, within bounds on time, bytes and
// redirects. A [Schedule] decides how long to wait and whether the next request is
// for the whole page, so that all requests together take at most 1 % of the
// server's time. Package exposition parses the pages.
package scrape
