package window

import "time"

// sumPeak is the highest sum of a gauge over several endpoints. They are read at different
// moments, so that the sum of their last readings may be more than there ever was. At the
// moment of one endpoint's reading, each other one counts with its reading of the same moment,
// or without one, with the lowest of its readings before it, during it and after it, and at
// most with the highest of them.
type sumPeak struct {
	inRun     bool
	low, high float64       // of the moments that are complete
	endpoints map[int]int   // the places of the endpoints in latest and in a moment's parts
	latest    [][2]pollSpan // of each endpoint, the last reading and the one before it
	moments   []moment      // that are not complete yet
	spare     []part        // of a moment that is no longer kept, for the next one
	curve     *groupCurve   // of the complete ones; nil if it is not followed
}

// pollSpan is a reading of a page, which was written between two times.
type pollSpan struct {
	from, to time.Time
	value    float64
}

// moment is the time of one endpoint's reading.
type moment struct {
	from, to time.Time
	parts    []part // of each endpoint known at that time
	missing  int    // those of them without a reading that began after this one
}

// part is the interval of one endpoint's values at a moment.
type part struct {
	low, high float64
	complete  bool
}

// maxMoments bounds the number of moments that are kept. Without the oldest ones, the peak
// may be too low, as if there had been no reading.
const maxMoments = 256

// add adds a reading of an endpoint, of a page that was written between two times.
func (s *sumPeak) add(endpoint int, from, to time.Time, value float64, during bool) {
	if s.endpoints == nil {
		s.endpoints = map[int]int{}
	}
	place, known := s.endpoints[endpoint]
	if !known {
		place = len(s.latest)
		s.endpoints[endpoint] = place
		s.latest = append(s.latest, [2]pollSpan{})
		s.high += value // as much as that it may have had before
	}
	for i := range s.moments {
		m := &s.moments[i]
		if place >= len(m.parts) || m.parts[place].complete {
			continue
		}
		p := &m.parts[place]
		p.low, p.high = min(p.low, value), max(p.high, value)
		now := together(m.from, m.to, from, to)
		if now {
			p.low, p.high = value, value
		}
		if now || !from.Before(m.to) {
			p.complete = true
			m.missing--
		}
	}
	s.latest[place] = [2]pollSpan{{from, to, value}, s.latest[place][0]}
	if during {
		s.inRun = true
		s.moments = append(s.moments, s.momentOf(place))
	}
	n := 0
	for n < len(s.moments) && (s.moments[n].missing == 0 || len(s.moments)-n > maxMoments) {
		low, high := s.moments[n].sum()
		if s.moments[n].missing == 0 {
			s.curve.add(s.moments[n].from, low, low, true)
		}
		s.low, s.high = max(s.low, low), max(s.high, high)
		s.spare = s.moments[n].parts
		n++
	}
	s.moments = append(s.moments[:0], s.moments[n:]...)
}

// momentOf returns the moment of the last reading of the endpoint at a place.
func (s *sumPeak) momentOf(place int) moment {
	own := s.latest[place][0]
	m := moment{from: own.from, to: own.to, parts: s.spare[:0]}
	s.spare = nil
	for i, l := range s.latest {
		p := part{l[0].value, l[0].value, i == place || together(own.from, own.to, l[0].from, l[0].to)}
		if !p.complete {
			m.missing++
			if l[0].to.After(own.from) { // it may be of a later time
				p.low, p.high = min(p.low, l[1].value), max(p.high, l[1].value)
			}
		}
		m.parts = append(m.parts, p)
	}
	return m
}

// atOnce is how long two readings may have taken together to be of one moment.
const atOnce = 10 * time.Millisecond

// together reports whether two readings are of one moment.
func together(from, to, from2, to2 time.Time) bool {
	if from2.Before(from) {
		from = from2
	}
	if to2.After(to) {
		to = to2
	}
	return to.Sub(from) <= atOnce
}

func (m moment) sum() (low, high float64) {
	for _, p := range m.parts {
		low, high = low+p.low, high+p.high
	}
	return low, high
}

// highest returns the peak, and the most that it may be by the readings. Endpoints that were
// not read any more count as before.
func (s *sumPeak) highest() (low, high float64) {
	low, high = s.low, s.high
	for _, m := range s.moments {
		l, h := m.sum()
		if m.missing == 0 {
			low = max(low, l)
		}
		high = max(high, h)
	}
	return low, high
}
