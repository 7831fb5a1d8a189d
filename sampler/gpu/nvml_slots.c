//go:build linux && cgo

#include "nvml_slots.h"

#include <string.h>

static vobs_part *part(vobs_slots *s, int64_t slot) {
    for (int i = s->n - 1; i >= 0; i--) {
        if (s->parts[i].slot == slot) return &s->parts[i];
    }
    if (s->n == VOBS_SLOTS) memmove(s->parts, s->parts + 1, (size_t)--s->n * sizeof *s->parts);
    vobs_part *p = &s->parts[s->n++];
    memset(p, 0, sizeof *p);
    p->slot = slot;
    return p;
}

static void weigh(vobs_part *p, uint64_t value, int64_t ns) {
    double seconds = (double)ns / 1e9;
    p->seconds += seconds;
    p->area += seconds * (double)value;
}

// A reading counts for the time from halfway to the one before it to halfway to the next one,
// as in package curve.
void vobs_slots_add(vobs_slots *s, int64_t at, uint64_t value, int64_t start) {
    int64_t before = s->at, middle = at;
    uint64_t old = s->value;
    s->at = at, s->value = value;
    if (at < start) return;
    if (before != 0) {
        middle = before + (at - before) / 2;
        if (before >= start) weigh(part(s, (before - start) / VOBS_SLOT_WIDTH), old, middle - before);
        if (middle < start) middle = start;
    }
    vobs_part *p = part(s, (at - start) / VOBS_SLOT_WIDTH);
    weigh(p, value, at - middle);
    if (p->readings == 0 || value > p->max) p->max = value;
    p->readings++;
    p->total += (double)value;
}

int vobs_slots_take(vobs_slots *s, vobs_part *to) {
    int n = s->n;
    memcpy(to, s->parts, (size_t)n * sizeof *to);
    s->n = 0;
    return n;
}
