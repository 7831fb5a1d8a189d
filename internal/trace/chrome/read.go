package chrome

import (
	"bytes"
	"errors"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/vobs/vobs/internal/trace"
)

// maxDamaged is the number of events that are not JSON after which a file is given up.
const maxDamaged = 1000

// ErrNoTrace is returned for a file that is not a trace.
var ErrNoTrace = errors.New("not a trace: no JSON with traceEvents")

// Read passes the kernels, copies and steps of a trace to c. A file that is damaged or cut is
// read as far as possible, with a note.
func Read(r io.Reader, c *trace.Collector) error {
	p := &parser{in: &input{r: r}, collector: c}
	return p.read()
}

// ReadCPU passes what the CPUs did to f.
func ReadCPU(r io.Reader, f *trace.GapFinder) error {
	p := &parser{in: &input{r: r}, gaps: f}
	return p.read()
}

// A parser reads one trace. One of collector and gaps is set.
type parser struct {
	in        *input
	dec       *jsontext.Decoder
	collector *trace.Collector
	gaps      *trace.GapFinder

	found   bool // traceEvents, or an array of events
	damaged int
	e       event
	cpu     trace.CPUEvent
	op      trace.Op
}

// decode makes the decoder read what the input has left.
func (p *parser) decode(r io.Reader) {
	p.dec = jsontext.NewDecoder(r, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

func (p *parser) note(format string, args ...any) {
	if p.collector != nil {
		p.collector.Note(format, args...)
	}
}

func (p *parser) read() error {
	p.decode(p.in)
	err := p.readTop()
	for err != nil {
		if p.in.err != nil || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			break
		}
		if !p.found {
			return ErrNoTrace
		}
		p.damaged++
		if p.damaged > maxDamaged {
			p.note("more than %d events are not JSON: what follows is left out", maxDamaged)
			return nil
		}
		p.in.unread(p.dec.UnreadBuffer())
		if !p.in.nextEvent() {
			err = p.in.err
			break
		}
		p.decode(io.MultiReader(bytes.NewReader([]byte{'['}), p.in))
		err = p.readEvents()
	}
	if p.damaged > 0 {
		p.note("%d parts of the trace are not JSON: the events there are left out", p.damaged)
	}
	switch {
	case !p.found && p.in.size == 0:
		return errors.New("the file is empty")
	case !p.found:
		return ErrNoTrace
	case p.in.err != nil:
		p.note("the file cannot be read beyond %d bytes of JSON: %v", p.in.size, p.in.err)
	case err != nil:
		p.note("the file is cut: it ends after %d bytes, amid the events", p.in.size)
	}
	return nil
}

// readTop reads the object or the array that the file consists of.
func (p *parser) readTop() error {
	switch p.dec.PeekKind() {
	case '[':
		p.found = true
		return p.readEvents()
	case '{':
	default:
		_, err := p.dec.ReadToken()
		if err == nil {
			err = ErrNoTrace
		}
		return err
	}
	return p.object(func(key []byte) error {
		switch string(key) {
		case `"traceEvents"`:
			if p.dec.PeekKind() == '[' {
				p.found = true
				return p.readEvents()
			}
		case `"deviceProperties"`:
			return p.readDevices()
		case `"distributedInfo"`:
			return p.readRank()
		}
		return p.dec.SkipValue()
	})
}

// object reads an object: member reads the value of each key, which is quoted. Another value
// is skipped.
func (p *parser) object(member func(key []byte) error) error {
	if p.dec.PeekKind() != '{' {
		return p.dec.SkipValue()
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return err
	}
	for {
		switch p.dec.PeekKind() {
		case '"':
		default:
			_, err := p.dec.ReadToken() // the end, or an error
			return err
		}
		key, err := p.dec.ReadValue()
		if err != nil {
			return err
		}
		if err := member(key); err != nil {
			return err
		}
	}
}

// array reads an array: element reads each value.
func (p *parser) array(element func() error) error {
	if p.dec.PeekKind() != '[' {
		return p.dec.SkipValue()
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return err
	}
	for {
		switch p.dec.PeekKind() {
		case ']', jsontext.KindInvalid:
			_, err := p.dec.ReadToken()
			return err
		}
		if err := element(); err != nil {
			return err
		}
	}
}

// readEvents reads the array of events.
func (p *parser) readEvents() error { return p.array(p.readEvent) }

// scalar reads a number, or a string without its quotes. It returns nil for anything else, and
// what it returns is valid until the next read.
func (p *parser) scalar() ([]byte, error) {
	b, err := p.dec.ReadValue()
	switch b.Kind() {
	case '0':
		return b, err
	case '"':
		return b[1 : len(b)-1], err
	}
	return nil, err
}

// text reads a string into buffer, without its quotes and escapes.
func (p *parser) text(buffer []byte) ([]byte, error) {
	b, err := p.dec.ReadValue()
	if err != nil || b.Kind() != '"' {
		return buffer[:0], err
	}
	if bytes.IndexByte(b, '\\') < 0 {
		return append(buffer[:0], b[1:len(b)-1]...), nil
	}
	buffer, err = jsontext.AppendUnquote(buffer[:0], b)
	if err != nil { // a lone surrogate: the text is usable
		err = nil
	}
	return buffer, err
}

// readDevices reads the names of the devices.
func (p *parser) readDevices() error {
	return p.array(func() error {
		id, name := int64(-1), []byte(nil)
		err := p.object(func(key []byte) (err error) {
			switch string(key) {
			case `"id"`:
				id, err = p.integer(-1)
			case `"name"`:
				name, err = p.text(name)
			default:
				err = p.dec.SkipValue()
			}
			return err
		})
		if err == nil && id >= 0 && p.collector != nil {
			p.collector.NameDevice(int(id), string(name))
		}
		return err
	})
}

func (p *parser) readRank() error {
	return p.object(func(key []byte) error {
		if string(key) != `"rank"` {
			return p.dec.SkipValue()
		}
		rank, err := p.integer(-1)
		if err == nil && rank >= 0 && p.collector != nil {
			p.collector.SetRank(rank)
		}
		return err
	})
}

// integer reads an integer; a value that is none is otherwise.
func (p *parser) integer(otherwise int64) (int64, error) {
	b, err := p.scalar()
	if n, ok := parseInt(b); err == nil && ok {
		return n, nil
	}
	return otherwise, err
}

// parseInt reads an integer of at most 18 digits, without making a string.
func parseInt(b []byte) (n int64, ok bool) {
	digits, negative := bytes.CutPrefix(b, []byte("-"))
	if len(digits) == 0 || len(digits) > 18 {
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if negative {
		n = -n
	}
	return n, true
}

// category is what an event is, by its cat.
type category uint8

const (
	unknownCategory category = iota
	kernel
	memory
	runtime          // a call of CUDA or HIP
	operator         // and whatever else the CPU does
	annotation       // of the CPU
	deviceAnnotation // on a device's timeline
	ignored
)

// categoryOf knows the spelling of Kineto and the older one of its first releases.
func categoryOf(cat []byte) category {
	switch string(cat) {
	case "kernel", "Kernel":
		return kernel
	case "gpu_memcpy", "gpu_memset", "Memcpy", "Memset":
		return memory
	case "cuda_runtime", "cuda_driver", "Runtime", "hip_runtime", "hip_driver", "xpu_runtime", "xpu_driver", "privateuse1_runtime", "privateuse1_driver":
		return runtime
	case "cpu_op", "Operator", "python_function", "cpu_instant_event", "overhead":
		return operator
	case "user_annotation":
		return annotation
	case "gpu_user_annotation":
		return deviceAnnotation
	}
	return ignored
}

// An event is what was read of one event so far.
type event struct {
	category    category
	complete    bool // ph is X: an event with a duration
	name        []byte
	pid, tid    int64
	device      int64 // -1 if args do not have it
	stream      int64
	correlation uint32
	external    int64 // id, of an annotation
	start, end  int64 // ns; end is the duration until the event is read
	hasStart    bool
}

// readEvent reads one event and passes it on.
func (p *parser) readEvent() error {
	e := &p.e
	*e = event{name: e.name[:0], device: -1, stream: -1}
	if err := p.object(p.member); err != nil {
		return err
	}
	if !e.complete || !e.hasStart || e.category == ignored || e.category == unknownCategory {
		return nil
	}
	e.end += e.start
	if p.gaps != nil {
		p.passCPU(e)
	} else {
		p.pass(e)
	}
	return nil
}

// member reads the value of one key of an event.
func (p *parser) member(key []byte) (err error) {
	e := &p.e
	switch string(key) {
	case `"ph"`:
		var b []byte
		b, err = p.scalar()
		e.complete = string(b) == "X"
	case `"cat"`:
		var b []byte
		b, err = p.scalar()
		e.category = categoryOf(b)
	case `"name"`:
		if e.category == ignored {
			return p.dec.SkipValue()
		}
		e.name, err = p.text(e.name)
	case `"pid"`:
		e.pid, err = p.id()
	case `"tid"`:
		e.tid, err = p.id()
	case `"ts"`:
		var b []byte
		b, err = p.scalar()
		e.start, e.hasStart = nanoseconds(b)
	case `"dur"`:
		var b []byte
		b, err = p.scalar()
		e.end, _ = nanoseconds(b)
	case `"args"`:
		switch e.category {
		case kernel, memory, deviceAnnotation, runtime, unknownCategory:
			return p.object(p.argument)
		}
		_, err = p.dec.ReadValue() // faster than SkipValue, which reads token by token
	default:
		return p.dec.SkipValue()
	}
	return err
}

// argument reads the value of one key of an event's args.
func (p *parser) argument(key []byte) (err error) {
	e := &p.e
	switch string(key) {
	case `"device"`:
		e.device, err = p.integer(-1)
	case `"stream"`:
		e.stream, err = p.integer(-1)
	case `"correlation"`:
		var n int64
		n, err = p.integer(0)
		e.correlation = uint32(n)
	case `"External id"`, `"external id"`:
		e.external, err = p.integer(0)
	default:
		_, err = p.dec.ReadValue()
	}
	return err
}

// id reads a process or thread, which is a number, or a text such as "stream 7" for which a
// number stands.
func (p *parser) id() (int64, error) {
	b, err := p.scalar()
	n, ok := parseInt(b)
	if !ok {
		n = hash(b)
	}
	return n, err
}

// hash returns a negative number for a text (FNV-1a, 64 bits).
func hash(b []byte) int64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return -int64(h >> 1)
}

// pass passes an event to the collector.
func (p *parser) pass(e *event) {
	device := e.device
	if device < 0 {
		device = e.pid
	}
	if device != int64(int32(device)) {
		device = -1 // of a made-up process
	}
	switch e.category {
	case kernel, memory:
		stream := e.stream
		if stream < 0 {
			stream = e.tid
		}
		p.op = trace.Op{Device: int(device), Stream: stream, Start: e.start, End: e.end, Name: e.name, Memory: e.category == memory, Correlation: e.correlation}
		p.collector.Add(&p.op)
	case deviceAnnotation:
		if trace.IsStep(e.name) {
			p.collector.AddDeviceStep(int(device), e.start, e.end, e.external, e.name)
		}
	case annotation:
		p.collector.CountCPU()
		if trace.IsStep(e.name) {
			p.collector.AddStep(e.start, e.end, e.name)
		}
	default:
		p.collector.CountCPU()
	}
}

// passCPU passes an event of the CPU to the finder of gaps.
func (p *parser) passCPU(e *event) {
	switch e.category {
	case runtime, operator, annotation:
		p.cpu = trace.CPUEvent{Thread: trace.Thread{Process: e.pid, Thread: e.tid}, Start: e.start, End: e.end, Name: e.name}
		if e.category == runtime {
			p.cpu.Correlation = e.correlation
		}
		p.gaps.Add(&p.cpu)
	}
}

// maxTime bounds times, in µs, so that sums and differences in ns do not overflow: 126 years.
const maxTime = 4e15

// nanoseconds reads a time in µs, exactly: float64 would lose nanoseconds of a time since 1970.
func nanoseconds(b []byte) (ns int64, ok bool) {
	text, negative := bytes.CutPrefix(b, []byte("-"))
	whole, i := int64(0), 0
	for ; i < len(text) && text[i] >= '0' && text[i] <= '9'; i++ {
		if whole = whole*10 + int64(text[i]-'0'); whole > maxTime {
			return 0, false
		}
	}
	if i == 0 {
		return 0, false
	}
	ns = whole * 1000
	if i < len(text) && text[i] == '.' {
		i++
		for unit := int64(100); i < len(text) && text[i] >= '0' && text[i] <= '9'; i++ {
			switch digit := int64(text[i] - '0'); {
			case unit > 0:
				ns += digit * unit
				unit /= 10
				if unit == 0 {
					unit = -1 // the next digit rounds
				}
			case unit == -1:
				if digit >= 5 {
					ns++
				}
				unit = -2
			}
		}
	}
	if i < len(text) { // an exponent
		x, err := strconv.ParseFloat(string(text), 64)
		if err != nil || x > maxTime {
			return 0, false
		}
		ns = int64(x*1000 + 0.5)
	}
	if negative {
		ns = -ns
	}
	return ns, true
}
