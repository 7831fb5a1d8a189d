// Package multiproc reads the files through which Python's prometheus_client shares its
// values between processes (multiprocess mode: *.db in PROMETHEUS_MULTIPROC_DIR). A
// [Reader] returns the page that prometheus_client's own MultiProcessCollector would have
// served from them, so that everything downstream is the same for files and for HTTP. The
// engine takes no part in it: a reading costs it nothing, and the files outlive a SIGKILL.
//
// The source of all facts here is prometheus_client 0.26.0: mmap_dict.py (the layout of a
// file), values.py (which file a value goes to), multiprocess.py (how files are merged),
// exposition.py (what a page has of them). The layout has been the same since 0.18, the
// oldest version that vLLM accepts (its requirements/common.txt); older files have no
// timestamps and are rejected.
//
// Deliberate differences from the collector:
//
//   - If one file is invalid, the collector fails as a whole. Here all files of its kind
//     are skipped, because a sum that lacks one process is a wrong number, and the rest of
//     the page is returned: see [PartialError].
//   - A family that is in files of two kinds is skipped. The collector uses the kind of
//     whatever file comes first in the directory.
//   - The id of a process whose name has underscores is kept whole (gauge_all_host_1.db:
//     "host_1"). The collector cuts it.
//   - Gauges of mode mostrecent that different engines write under the same labels are
//     returned side by side if [Reader.SetEngines] was called.
//   - Gauges can be restricted to those of living processes: [Reader.OnlyGaugesOf].
//   - Names are returned as they are. generate_latest writes _ for every character that
//     an old Prometheus would reject.
//   - Files that vanish: see below.
//
// Dead processes: the collector reads every file in the directory, and so does this
// reader. The values of a process that has died stay in the sums, as they must, and in
// gauges; those of a live* mode stay until mark_process_dead is called, which removes
// their files. A reader that dropped them earlier would return another value than the
// engine's own page.
//
// Files that vanish: prometheus_client never removes files other than live*. If one
// vanishes nevertheless while others stay, a directory is being cleared: vLLM removes its
// own one at its exit, file by file. A sum over what is left would look like a counter
// that decreased. So such a reading is an error ([ErrCleared]) until all earlier files are
// gone. New files are then read as usual, like the page of a restarted server.
//
// Half-written files: a process writes a new entry first and then how much of the file is
// used, and writes the 16 bytes of value and timestamp together, on an 8-byte boundary. So
// what one read returns is consistent. If it is not (on a network file system, for
// example), the file is read again, and the next reading may find it valid.
//
// Programs that are not prometheus_client may rewrite a file: cp truncates it first. A file
// that had entries and is empty, or shorter than its header says, is being rewritten. It is
// invalid then, and nothing that it had counted is lost.
//
// Files are opened for each reading and closed after it, and never mapped. Truncating a
// file under a mapping kills the reader (SIGBUS), and on NFS an open file makes the removal
// of its directory fail, which the command would notice.
package multiproc
