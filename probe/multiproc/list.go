package multiproc

import (
	"encoding/binary"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// namesRoom is how many bytes of a directory are read at a time.
const namesRoom = 16 << 10

// list brings the files up to date with the directory.
func (r *Reader) list(dir int) error {
	if r.names == nil {
		r.names = make([]byte, namesRoom)
	}
	found, names := 0, 0
	for {
		n, err := again(func() (int, error) { return unix.ReadDirent(dir, r.names) })
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
				continue // as glob's *.db
			}
			f := newFile(dir, string(name), typ)
			if f == nil {
				if _, known := r.foreign[string(name)]; known || len(r.foreign) < maxForeign {
					r.foreign[string(name)] = r.reading
				}
				continue
			}
			if len(r.files) >= r.limits.files {
				return ErrTooMany
			}
			f.listed = r.reading
			r.files[f.name] = f
			r.listed = append(r.listed, f)
			found++
			r.unsorted = true
		}
	}
	for name, found := range r.foreign {
		if found != r.reading {
			delete(r.foreign, name)
		}
	}
	if found < len(r.listed) {
		r.drop()
	}
	if r.unsorted {
		r.unsorted = false
		slices.SortFunc(r.listed, func(a, b *file) int { return strings.Compare(a.name, b.name) })
	}
	return nil
}

// gone says that the directory is.
func (r *Reader) gone() {
	clear(r.foreign)
	r.drop()
}

// drop forgets the files that the present reading has not found.
func (r *Reader) drop() {
	r.listed = slices.DeleteFunc(r.listed, func(f *file) bool {
		if f.listed == r.reading {
			return false
		}
		r.broken(f)
		delete(r.files, f.name)
		return true
	})
}

// newFile gives a file by its name and its type in the directory, nil where it is none of
// prometheus_client's. What is neither a regular file nor leads to one is none.
func newFile(dir int, name string, typ uint8) *file {
	k, id, live, ok := fileKind(name)
	if !ok {
		return nil
	}
	if typ != unix.DT_REG {
		var st unix.Stat_t
		if unix.Fstatat(dir, name, &st, 0) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			return nil
		}
	}
	return &file{name: name, id: id, kind: k, live: live}
}

// The places of a directory entry's fields.
const (
	lengthAt = int(unsafe.Offsetof(unix.Dirent{}.Reclen))
	typeAt   = int(unsafe.Offsetof(unix.Dirent{}.Type))
	nameAt   = int(unsafe.Offsetof(unix.Dirent{}.Name))
)

// dirent takes the first of the entries that the system has given.
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
