package multiproc

import (
	"encoding/binary"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// direntBytes is how many bytes of directory entries are read at a time.
const direntBytes = 16 << 10

// list brings the list of files up to date with the directory.
func (r *Reader) list(dir int) error {
	if r.names == nil {
		r.names = make([]byte, direntBytes)
	}
	found, names := 0, 0
	for {
		n, err := retryEINTR(func() (int, error) { return unix.ReadDirent(dir, r.names) })
		if err != nil {
			return err
		}
		if n <= 0 {
			break
		}
		for rest := r.names[:n]; len(rest) > 0; {
			var name []byte
			var typ uint8
			if name, typ, rest = dirent(rest); name == nil {
				continue
			}
			if names++; names > maxNames {
				return ErrTooMany
			}
			if f := r.files[string(name)]; f != nil {
				f.listed = r.reading
				found++
				continue
			}
			if len(name) < 3 || string(name[len(name)-3:]) != ".db" || name[0] == '.' {
				continue // like glob's *.db
			}
			f := newFile(dir, string(name), typ, r.writes == nil)
			if f == nil {
				continue // not one of prometheus_client's
			}
			if len(r.files) >= r.limits.files {
				return ErrTooMany
			}
			if f.kind == gaugeMostRecent && r.engines != nil {
				f.engine = r.engines.Of(f.id, f.name)
			}
			f.listed = r.reading
			r.files[f.name] = f
			r.listed = append(r.listed, f)
			found++
			r.unsorted = true
		}
	}
	if found < len(r.listed) {
		r.removeUnlisted()
	}
	if r.unsorted {
		r.unsorted = false
		slices.SortFunc(r.listed, func(a, b *file) int { return strings.Compare(a.name, b.name) })
	}
	return nil
}

// removeUnlisted removes the files that the current reading has not found.
func (r *Reader) removeUnlisted() {
	r.listed = slices.DeleteFunc(r.listed, func(f *file) bool {
		if f.listed == r.reading {
			return false
		}
		r.noteLost(f)
		delete(r.files, f.name)
		return true
	})
}

// newFile returns a file with a name and type from the directory; nil if it is not one of
// prometheus_client's, or neither a regular file nor, if links are followed, a link to one.
func newFile(dir int, name string, typ uint8, followLinks bool) *file {
	k, id, live, ok := fileKind(name)
	if !ok {
		return nil
	}
	if typ != unix.DT_REG {
		flags := 0
		if !followLinks {
			flags = unix.AT_SYMLINK_NOFOLLOW
		}
		var st unix.Stat_t
		if unix.Fstatat(dir, name, &st, flags) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			return nil
		}
	}
	return &file{name: name, id: id, kind: k, live: live, noFollow: !followLinks}
}

// The offsets of a directory entry's fields.
const (
	lengthAt = int(unsafe.Offsetof(unix.Dirent{}.Reclen))
	typeAt   = int(unsafe.Offsetof(unix.Dirent{}.Type))
	nameAt   = int(unsafe.Offsetof(unix.Dirent{}.Name))
)

// dirent splits off the first of the directory entries that the kernel returned.
func dirent(entries []byte) (name []byte, typ uint8, rest []byte) {
	if len(entries) <= nameAt {
		return nil, 0, nil
	}
	length := int(binary.NativeEndian.Uint16(entries[lengthAt:]))
	if length <= nameAt || length > len(entries) {
		return nil, 0, nil
	}
	name = entries[nameAt:length]
	for i, c := range name {
		if c == 0 {
			name = name[:i]
			break
		}
	}
	return name, entries[typeAt], entries[length:]
}
