// Package multiproc reads the files by which Python's prometheus_client shares its
// values between processes (multiprocess mode: *.db in PROMETHEUS_MULTIPROC_DIR). A
// [Reader] gives the page that prometheus_client's own MultiProcessCollector would have
// served from them, so that what stands behind it is the same for files and for HTTP. The
// engine takes no part in it: a reading costs it nothing, and the files outlive a SIGKILL.
//
// The source of all facts here is prometheus_client 0.26.0: mmap_dict.py (the layout of a
// file), values.py (which file a value goes to), multiprocess.py (how files are put
// together), exposition.py (what a page has of it). The layout has been so since 0.18,
// the oldest that vLLM takes (its requirements/common.txt); older files have no
// timestamps, and are refused.
//
// What differs from the collector, on purpose:
//
//   - Where one file cannot be understood, the collector fails as a whole. Here all of its
//     kind is left out, since a sum that lacks one process is a wrong number, and the rest
//     of the page is given: see [PartialError].
//   - A family that stands in files of two kinds is left out: the collector takes the kind
//     of whatever file the directory has first.
//   - The id of a process whose name has underscores is kept whole (gauge_all_host_1.db:
//     "host_1"); the collector cuts it.
//   - Names are given as they are; generate_latest writes _ for every character that an old
//     Prometheus would not take.
//   - Files that vanish: see below.
//
// Dead processes: the collector takes every file that is there, and so does this reader.
// A process that has died goes on counting in the sums, as it must, and in gauges; those of
// a live* mode last until somebody calls mark_process_dead, which removes their files. A
// reader that dropped them earlier would tell another value than the engine's own page.
//
// Files that vanish: prometheus_client never removes a file of another kind than live*.
// Where one goes nevertheless while others stay, a directory is being cleared: vLLM removes
// its own one at its exit, file by file. A sum over what is left would look like a counter
// that went back. So such a reading is an error ([ErrCleared]) until all files of before
// are gone; those that come then are read as usual, like the page of a restarted server.
//
// Half-written files: a process writes a new entry first and then how much of the file is
// used, and 16 bytes of value and timestamp at once, on an 8-byte boundary. So what is read
// in one go is whole; what is not for once (on a network's file system, say) is read again
// at once, and the next reading may find it well.
//
// Files are opened for each reading and closed behind it, never mapped: a file that is cut
// under a mapping kills its reader (SIGBUS), and on NFS a file that somebody keeps open
// makes the removal of its directory fail, which the command would notice.
package multiproc
