package multiproc

// OnlyGaugesOf restricts the reader to gauges, and to the files for which writes returns
// true: it reports whether the process with an identifier is alive and writes the named
// file. Links are not followed. It must be called before the first reading.
//
// It is for the directory of a server that the command did not start. Other servers, or
// earlier ones, may have left files there, whose gauges the collector would merge with those
// of the server. The counters of ended processes must stay in the sums, so they cannot be
// restricted in this way: they are read from the server's page.
func (r *Reader) OnlyGaugesOf(writes func(process, file string) bool) { r.writes = writes }

// reads reports whether the reader reads a file.
func (r *Reader) reads(f *file) bool {
	return r.writes == nil || f.kind >= gaugeAll && r.writes(f.id, f.name)
}
