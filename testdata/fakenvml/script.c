// Parses the fake library's script; fakenvml.c describes the format.
#include "fakenvml.h"

#include <ctype.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct script script;

static const char *script_path = "";
static int line_number;

static void fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "fakenvml: %s:%d: ", script_path, line_number);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    _exit(99); // a code that the program itself does not use
}

double now_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

// number parses a number with an optional unit of size or time; it returns false if s is
// not one.
static bool number(const char *s, double *out) {
    static const struct { const char *unit; double factor; } units[] = {
        {"", 1}, {"B", 1}, {"KiB", 1024.0}, {"MiB", 1048576.0}, {"GiB", 1073741824.0},
        {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3},
        {"s", 1}, {"m", 60}, {"h", 3600}, {"W", 1}, {"J", 1}, {"C", 1},
    };
    char *end;
    double v = strtod(s, &end);
    if (end == s) return false;
    while (isspace((unsigned char)*end)) end++;
    size_t n = strcspn(end, " \t\r\n");
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strlen(units[i].unit) == n && strncmp(end, units[i].unit, n) == 0) {
            *out = v * units[i].factor;
            return true;
        }
    return false;
}

static double need_number(const char *s) {
    double v;
    if (s == NULL || !number(s, &v)) fail("not a number: %s", s ? s : "(nothing)");
    return v;
}

static struct follow *follow_new(const char *path) {
    struct follow *f = calloc(1, sizeof *f);
    if (f == NULL || strlen(path) >= sizeof f->path) fail("path too long");
    strcpy(f->path, path);
    atomic_store(&f->fd, -1);
    return f;
}

// follow_read returns the file's number: the previous one while the file contains none, 0
// if it never existed.
double follow_read(struct follow *f) {
    int fd = atomic_load(&f->fd);
    if (fd < 0) {
        int fresh = open(f->path, O_RDONLY | O_CLOEXEC), none = -1;
        if (fresh < 0) return atomic_load(&f->last);
        if (!atomic_compare_exchange_strong(&f->fd, &none, fresh)) close(fresh);
        fd = atomic_load(&f->fd);
    }
    char text[64];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    double v;
    if (n > 0) {
        text[n] = 0;
        if (number(text, &v)) atomic_store(&f->last, v);
    }
    return atomic_load(&f->last);
}

double value_at(const struct value *v, double t) {
    double sum = v->base;
    for (int i = 0; i < v->terms; i++) {
        const struct term *x = &v->term[i];
        double since = t - x->at;
        if (x->kind == FOLLOW) {
            sum += follow_read(x->file);
            continue;
        }
        if (since < 0) continue;
        if (x->every > 0) since = fmod(since, x->every);
        switch (x->kind) {
        case STEP: sum += x->amount; break;
        case PULSE: if (since < x->length) sum += x->amount; break;
        case RAMP: sum += x->amount * (since < x->length ? since / x->length : 1); break;
        case RATE: sum += x->amount * since; break;
        case FOLLOW: break;
        }
    }
    return sum;
}

// The words of a line; "a b" is one word.
struct words { char *w[40]; int n, i; };

static void split(char *line, struct words *ws) {
    ws->n = ws->i = 0;
    for (char *p = line; *p;) {
        while (isspace((unsigned char)*p)) p++;
        if (*p == 0 || *p == '#') break;
        if (ws->n == 40) fail("too many words");
        char *to = p;
        ws->w[ws->n++] = p;
        bool quoted = false;
        while (*p && (quoted || !isspace((unsigned char)*p))) {
            if (*p == '"') quoted = !quoted;
            else *to++ = *p;
            p++;
        }
        if (*p) p++;
        *to = 0;
    }
}

static char *next(struct words *ws) {
    if (ws->i >= ws->n) fail("the line ends too soon");
    return ws->w[ws->i++];
}

static bool more(const struct words *ws) { return ws->i < ws->n; }

// key consumes the next word if it is name=…, and returns what follows the =; otherwise it
// returns NULL.
static char *key(struct words *ws, const char *name) {
    size_t n = strlen(name);
    if (!more(ws) || strncmp(ws->w[ws->i], name, n) != 0 || ws->w[ws->i][n] != '=') return NULL;
    return ws->w[ws->i++] + n + 1;
}

// read_value parses what follows a figure's name.
static void read_value(struct words *ws, struct value *v) {
    char *w = next(ws);
    double base;
    if (strcmp(w, "unsupported") == 0) { v->unsupported = true; return; }
    if (strcmp(w, "unknown") == 0) { v->unknown = true; v->unsupported = false; return; }
    if (number(w, &base)) {
        v->base = base;
        v->terms = 0; // a base replaces what was set before, for example for all devices
        v->unsupported = v->unknown = false;
        if (!more(ws)) return;
        w = next(ws);
    }
    if (v->terms == MAX_TERMS) fail("too many terms");
    struct term *t = &v->term[v->terms++];
    memset(t, 0, sizeof *t);
    if (strcmp(w, "file") == 0) {
        t->kind = FOLLOW;
        t->file = follow_new(next(ws));
        v->base = 0;
        return;
    }
    if (strcmp(w, "step") == 0) t->kind = STEP;
    else if (strcmp(w, "pulse") == 0) t->kind = PULSE;
    else if (strcmp(w, "ramp") == 0) t->kind = RAMP;
    else if (strcmp(w, "rate") == 0) t->kind = RATE;
    else fail("unknown kind of change: %s", w);
    t->amount = need_number(next(ws));
    while (more(ws)) {
        char *x;
        if ((x = key(ws, "at"))) t->at = need_number(x);
        else if ((x = key(ws, "for"))) t->length = need_number(x);
        else if ((x = key(ws, "every"))) t->every = need_number(x);
        else fail("unknown word: %s", next(ws));
    }
    if ((t->kind == PULSE || t->kind == RAMP) && t->length <= 0) fail("a pulse and a ramp need for=");
}

static void read_proc(struct words *ws, struct proc *p) {
    memset(p, 0, sizeof *p);
    p->until = INFINITY;
    p->kind = PID_NUMBER;
    while (more(ws)) {
        char *x;
        if ((x = key(ws, "pid"))) {
            if (strncmp(x, "env:", 4) == 0) {
                const char *e = getenv(x + 4);
                p->pid = e ? atoi(e) : 0;
            } else if (strncmp(x, "file:", 5) == 0) {
                p->kind = PID_FILE;
                p->file = follow_new(x + 5);
            } else if (strncmp(x, "comm:", 5) == 0) {
                p->kind = PID_COMM;
                snprintf(p->name, sizeof p->name, "%s", x + 5);
            } else if (strcmp(x, "self") == 0) p->kind = PID_SELF;
            else if (strcmp(x, "parent") == 0) p->kind = PID_PARENT;
            else if (strcmp(x, "child") == 0) p->kind = PID_CHILD;
            else p->pid = (int)need_number(x);
        } else if ((x = key(ws, "mem"))) {
            if (strcmp(x, "unknown") == 0) p->memory.unknown = true;
            else if (strncmp(x, "file:", 5) == 0) {
                p->memory.term[0] = (struct term){.kind = FOLLOW, .file = follow_new(x + 5)};
                p->memory.terms = 1;
            } else p->memory.base = need_number(x);
        } else if ((x = key(ws, "at"))) p->from = need_number(x);
        else if ((x = key(ws, "for"))) p->until = p->from + need_number(x);
        else if ((x = key(ws, "type"))) p->graphics = strcmp(x, "graphics") == 0;
        else fail("unknown word: %s", next(ws));
    }
}

static void read_throttle(struct words *ws, struct throttle *t) {
    static const struct { const char *name; unsigned long long bit; } bits[] = {
        {"gpu_idle", 0x1}, {"applications_clocks_setting", 0x2}, {"sw_power_cap", 0x4},
        {"hw_slowdown", 0x8}, {"sync_boost", 0x10}, {"sw_thermal_slowdown", 0x20},
        {"hw_thermal_slowdown", 0x40}, {"hw_power_brake_slowdown", 0x80}, {"display_clock_setting", 0x100},
    };
    *t = (struct throttle){.until = INFINITY};
    while (more(ws)) {
        char *x;
        if ((x = key(ws, "at"))) { t->from = need_number(x); continue; }
        if ((x = key(ws, "for"))) { t->until = t->from + need_number(x); continue; }
        x = next(ws);
        size_t i = 0, n = sizeof bits / sizeof *bits;
        while (i < n && strcmp(bits[i].name, x) != 0) i++;
        if (i == n) fail("unknown reason: %s", x);
        t->mask |= bits[i].bit;
    }
}

static int read_code(const char *s) {
    static const struct { const char *name; int code; } codes[] = {
        {"UNINITIALIZED", 1}, {"INVALID_ARGUMENT", 2}, {"NOT_SUPPORTED", 3}, {"NO_PERMISSION", 4},
        {"NOT_FOUND", 6}, {"INSUFFICIENT_SIZE", 7}, {"DRIVER_NOT_LOADED", 9}, {"TIMEOUT", 10},
        {"IRQ_ISSUE", 11}, {"LIBRARY_NOT_FOUND", 12}, {"FUNCTION_NOT_FOUND", 13}, {"GPU_IS_LOST", 15},
        {"RESET_REQUIRED", 16}, {"LIB_RM_VERSION_MISMATCH", 18}, {"MEMORY", 20},
        {"ARGUMENT_VERSION_MISMATCH", 25}, {"UNKNOWN", 999},
    };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (strcmp(codes[i].name, s) == 0) return codes[i].code;
    return (int)need_number(s);
}

static void read_rule(struct words *ws, struct rule *r) {
    r->device = -1;
    r->until = INFINITY;
    snprintf(r->call, sizeof r->call, "%s", next(ws));
    while (more(ws)) {
        char *x;
        if ((x = key(ws, "code"))) r->code = read_code(x);
        else if ((x = key(ws, "busy"))) r->busy = need_number(x);
        else if ((x = key(ws, "sleep"))) r->sleep = need_number(x);
        else if ((x = key(ws, "device"))) r->device = (int)need_number(x);
        else if ((x = key(ws, "nth"))) r->nth = (int)need_number(x);
        else if ((x = key(ws, "every"))) r->every = (int)need_number(x);
        else if ((x = key(ws, "at"))) r->from = need_number(x);
        else if ((x = key(ws, "for"))) r->until = r->from + need_number(x);
        else if ((x = key(ws, "when"))) r->when = strdup(x);
        else if (strcmp(x = next(ws), "hang") == 0) r->hang = true;
        else fail("unknown word: %s", x);
    }
}

static void device_init(struct device *d, int index) {
    memset(d, 0, sizeof *d);
    d->index = index;
    snprintf(d->name, sizeof d->name, "Simulated GPU");
    snprintf(d->uuid, sizeof d->uuid, "GPU-%08x-5a5a-4b4b-8c8c-00000000%04x", 0xfa4e0000u + (unsigned)index * 0x1111u, (unsigned)index);
    d->q[TOTAL].base = 80 * 1073741824.0;
    d->q[RESERVED].base = 569 * 1048576.0;
    d->q[POWER].base = 100;
    d->q[TEMP].base = 40;
    d->q[ENERGY].base = 1e6;
    d->q[ENERGY].term[0] = (struct term){.kind = RATE, .amount = 100};
    d->q[ENERGY].terms = 1;
    for (int i = SM_ACTIVE; i <= DRAM_ACTIVE; i++) d->q[i].unsupported = true;
}

static void read_device_line(struct words *ws, const char *w, struct device *d) {
    static const char *const names[QUANTITIES] = {"used", "total", "reserved", "power", "util", "temp", "energy", "sm_active", "sm_occupancy", "tensor_active", "dram_active"};
    for (int i = 0; i < QUANTITIES; i++)
        if (strcmp(w, names[i]) == 0) {
            read_value(ws, &d->q[i]);
            return;
        }
    if (strcmp(w, "name") == 0) snprintf(d->name, sizeof d->name, "%s", next(ws));
    else if (strcmp(w, "uuid") == 0) snprintf(d->uuid, sizeof d->uuid, "%s", next(ws));
    else if (strcmp(w, "ids") == 0) {
        d->gi = (int)need_number(next(ws));
        d->ci = (int)need_number(next(ws));
    } else if (strcmp(w, "throttle") == 0) {
        if (d->throttles == MAX_TERMS) fail("too many throttle lines");
        read_throttle(ws, &d->throttle[d->throttles++]);
    } else if (strcmp(w, "process") == 0) {
        if (d->procs == MAX_PROCS) fail("too many processes");
        read_proc(ws, &d->proc[d->procs++]);
    } else if (strcmp(w, "mig") == 0) d->mig_mode = true;
    else if (strcmp(w, "overfull") == 0) d->overfull = true;
    else if (strcmp(w, "grace") == 0) d->grace = true;
    else fail("unknown word: %s", w);
}

// mig_new adds a MIG instance. By default it has 10 GiB and does not support figures of the
// whole GPU.
static struct device *mig_new(struct device *parent) {
    struct device *m = calloc(1, sizeof *m);
    if (m == NULL || parent->migs == MAX_MIGS) fail("too many MIG instances");
    device_init(m, parent->index);
    snprintf(m->name, sizeof m->name, "%.60s MIG 1g.10gb", parent->name);
    snprintf(m->uuid, sizeof m->uuid, "MIG-%08x-5a5a-4b4b-8c8c-0000000%02x%02x%02x", 0x316a0000u + (unsigned)(parent->index * 256 + parent->migs), 0u, (unsigned)parent->index, (unsigned)parent->migs);
    m->q[TOTAL].base = 10 * 1073741824.0;
    m->q[POWER].unsupported = m->q[UTIL].unsupported = m->q[ENERGY].unsupported = m->q[TEMP].unsupported = true;
    m->parent = parent;
    m->gi = parent->migs + 7;
    m->ci = 0;
    parent->mig_mode = true;
    parent->mig[parent->migs++] = m;
    return m;
}

void script_load(void) {
    script.zero = now_seconds();
    snprintf(script.driver, sizeof script.driver, "580.82.07");
    const char *path = getenv("FAKE_NVML_SCRIPT");
    if (path == NULL || *path == 0) {
        script.devices = 1;
        device_init(&script.device[0], 0);
        return;
    }
    script_path = path;
    FILE *f = fopen(path, "re");
    if (f == NULL) fail("cannot open FAKE_NVML_SCRIPT");
    char line[8192];
    struct words ws;
    struct device *from = NULL; // the following lines apply to count devices from here
    int count = 0;
    while (fgets(line, sizeof line, f)) {
        line_number++;
        split(line, &ws);
        if (ws.n == 0) continue;
        char *w = next(&ws);
        if (strcmp(w, "driver") == 0) snprintf(script.driver, sizeof script.driver, "%s", next(&ws));
        else if (strcmp(w, "devices") == 0) {
            script.devices = (int)need_number(next(&ws));
            if (script.devices < 0 || script.devices > MAX_DEVICES) fail("0 to %d devices", MAX_DEVICES);
            for (int i = 0; i < script.devices; i++) device_init(&script.device[i], i);
            from = script.device, count = script.devices;
        } else if (strcmp(w, "device") == 0) {
            int i = (int)need_number(next(&ws));
            if (i < 0 || i > script.devices || i >= MAX_DEVICES) fail("device %d does not follow the ones before", i);
            if (i == script.devices) device_init(&script.device[script.devices++], i);
            from = &script.device[i], count = 1;
        } else if (strcmp(w, "instance") == 0) {
            if (count != 1) fail("an instance belongs to one device");
            from = mig_new(from->parent ? from->parent : from);
        } else if (strcmp(w, "rule") == 0) {
            if (script.rules == MAX_RULES) fail("too many rules");
            read_rule(&ws, &script.rule[script.rules++]);
        } else {
            if (from == NULL) fail("%s: name a device first", w);
            int at = ws.i;
            if (count == 0) ws.i = ws.n; // "devices 0": skip the line
            for (int i = 0; i < count; i++) {
                ws.i = at;
                read_device_line(&ws, w, &from[i]);
            }
        }
        if (more(&ws)) fail("unknown word: %s", next(&ws));
    }
    fclose(f);
}
