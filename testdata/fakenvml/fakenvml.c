// A libnvidia-ml.so.1 that needs no GPU: NVML's functions return what a script defines.
//
// It tests vobs end to end: the real go-nvml binding loads it through the dynamic loader
// (LD_LIBRARY_PATH). `make demo` shows GPU figures with it. Device names show that they are
// simulated, unless the script sets them. Build it with ./build.sh OUTDIR [SYMBOL to leave
// out...]; leaving out symbols simulates a driver that lacks these functions.
//
// FAKE_NVML_SCRIPT names the script; without it there is one idle device.
// FAKE_NVML_LOG names a log file. It gets a line for each call (seconds, function, device)
// and one for each rule that applies to a call (seconds, rule:function, device).
//
// # The script
//
// A line consists of words; # begins a comment; "two words" in quotes are one word. Time
// zero is the first nvmlInit. Units of size are B KiB MiB GiB KB MB GB, units of time are
// ns us ms s m h.
//
//   driver 580.82.07          version of the driver
//   devices 8                 number of devices; the following lines apply to all of them
//   device 3                  the following lines apply to this device (added if it is the next)
//   instance                  adds a MIG instance to that device; the following lines apply to it
//   mig                       the device is in MIG mode (implied by instances)
//   name "NVIDIA H100"        uuid GPU-…        ids GI CI (of an instance)
//   used|total|reserved|power|util|temp|energy …   a figure (bytes, W, 0..1, °C, J):
//       5GiB                      from the start; replaces earlier lines of the figure
//       step 1GiB at=2s           adds from that time on
//       pulse 10GiB at=1s for=20ms every=1s   adds for a while (every: repeatedly)
//       ramp 4GiB at=1s for=2s    adds linearly, then stays
//       rate 350 at=0             adds this much per second (energy)
//       file PATH                 follows the number in a file that is rewritten in place
//       unsupported | unknown     NOT_SUPPORTED | NVML_VALUE_NOT_AVAILABLE
//   sm_active|sm_occupancy|tensor_active|dram_active …   a figure of GPM (0..1), as above; a
//                             device without a number for any of them has no GPM
//   grace                     the device is part of a Grace module
//   overfull                  used may exceed the total, which a real driver never reports
//   throttle sw_power_cap … at=1s for=2s
//   process pid=P mem=4GiB at=1s for=2s type=graphics
//       P: a number, env:NAME, file:PATH (no process while it is missing), comm:NAME
//       (every process with that name), self, parent, child (every child of this process)
//       mem: a size, unknown, file:PATH
//   rule nvmlDeviceGetMemoryInfo_v2 code=TIMEOUT nth=3 | every=3 | at=1s for=2s
//   rule nvmlDeviceGet* device=2 busy=500us | sleep=20ms | hang
//   rule nvmlDevice* code=GPU_IS_LOST when=PATH
//       what happens in a call: it fails, uses CPU time, sleeps, never returns;
//       always, at the n-th call to which the rule applies, at every n-th, between two
//       times, while the file PATH exists
#include "fakenvml.h"

#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// The parts of nvml.h (NVIDIA, go-nvml v0.13.0-1) that are implemented here.
typedef int nvmlReturn_t;
typedef struct device *nvmlDevice_t;
enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, ARGUMENT_VERSION_MISMATCH = 25 };
typedef struct { unsigned long long total, free, used; } nvmlMemory_t;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } nvmlMemory_v2_t;
typedef struct { unsigned gpu, memory; } nvmlUtilization_t;
typedef struct { unsigned version; int sensor, temperature; } nvmlTemperature_t;
typedef struct { unsigned pid; unsigned long long used; } nvmlProcessInfo_v1_t;
typedef struct { unsigned pid; unsigned long long used; unsigned gi, ci; } nvmlProcessInfo_t;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Atomic int initialized;
static FILE *call_log;

static void load(void) {
    script_load();
    const char *path = getenv("FAKE_NVML_LOG");
    if (path && *path) call_log = fopen(path, "ae");
}

static void wait_seconds(double s) {
    struct timespec t = {(time_t)s, (long)((s - floor(s)) * 1e9)};
    while (nanosleep(&t, &t) != 0) {}
}

static void burn_seconds(double s) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    double end = (double)t.tv_sec + (double)t.tv_nsec / 1e9 + s;
    do clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    while ((double)t.tv_sec + (double)t.tv_nsec / 1e9 < end);
}

static bool named(const char *pattern, const char *call) {
    size_t n = strlen(pattern);
    if (n > 0 && pattern[n - 1] == '*') return strncmp(pattern, call, n - 1) == 0;
    return strcmp(pattern, call) == 0;
}

static double seconds(void) { return now_seconds() - script.zero; }

static void log_call(const char *what, const char *call, int index) {
    if (!call_log) return;
    fprintf(call_log, "%.6f %s%s %d\n", seconds(), what, call, index);
    fflush(call_log);
}

// enter logs a call and applies the script's rules to it: it may delay or hang, and
// returns the code with which the call fails.
static nvmlReturn_t enter(const char *call, const struct device *d) {
    double t = seconds();
    int index = d == NULL ? -1 : d->index;
    log_call("", call, index);
    for (int i = 0; i < script.rules; i++) {
        struct rule *r = &script.rule[i];
        if (!named(r->call, call) || (r->device >= 0 && r->device != index) || t < r->from || t >= r->until) continue;
        if (r->when && access(r->when, F_OK) != 0) continue;
        long n = atomic_fetch_add(&r->calls, 1) + 1;
        if ((r->nth > 0 && n != r->nth) || (r->every > 0 && n % r->every != 0)) continue;
        log_call("rule:", call, index);
        if (r->busy > 0) burn_seconds(r->busy);
        if (r->sleep > 0) wait_seconds(r->sleep);
        while (r->hang) wait_seconds(3600);
        if (r->code != 0) return r->code;
    }
    return SUCCESS;
}

#define ENTER(d) do { \
    if (!atomic_load(&initialized)) return UNINITIALIZED; \
    if ((d) == NULL) return INVALID_ARGUMENT; \
    nvmlReturn_t rc_ = enter(__func__, (d)); \
    if (rc_ != SUCCESS) return rc_; \
} while (0)

#define ENTER_SYSTEM() do { \
    if (!atomic_load(&initialized)) return UNINITIALIZED; \
    nvmlReturn_t rc_ = enter(__func__, NULL); \
    if (rc_ != SUCCESS) return rc_; \
} while (0)

nvmlReturn_t nvmlInit_v2(void) {
    pthread_once(&once, load);
    nvmlReturn_t rc = enter("nvmlInit_v2", NULL);
    if (rc == SUCCESS) atomic_store(&initialized, 1);
    return rc;
}
nvmlReturn_t nvmlInit(void) { return nvmlInit_v2(); }
nvmlReturn_t nvmlInitWithFlags(unsigned flags) { (void)flags; return nvmlInit_v2(); }
nvmlReturn_t nvmlShutdown(void) {
    ENTER_SYSTEM();
    atomic_store(&initialized, 0);
    return SUCCESS;
}
const char *nvmlErrorString(nvmlReturn_t rc) { return rc == SUCCESS ? "Success" : "Error set by the script"; }

static nvmlReturn_t text(char *to, unsigned length, const char *from) {
    if (to == NULL) return INVALID_ARGUMENT;
    if (strlen(from) >= length) return INSUFFICIENT_SIZE;
    strcpy(to, from);
    return SUCCESS;
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned length) {
    ENTER_SYSTEM();
    return text(version, length, script.driver);
}
nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count) {
    ENTER_SYSTEM();
    *count = (unsigned)script.devices;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetCount(unsigned *count) { return nvmlDeviceGetCount_v2(count); }
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *device) {
    ENTER_SYSTEM();
    if (index >= (unsigned)script.devices) return INVALID_ARGUMENT;
    *device = &script.device[index];
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetHandleByIndex(unsigned index, nvmlDevice_t *device) { return nvmlDeviceGetHandleByIndex_v2(index, device); }
nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device) {
    ENTER_SYSTEM();
    for (int i = 0; i < script.devices; i++) {
        struct device *d = &script.device[i];
        if (strcmp(d->uuid, uuid) == 0) return *device = d, SUCCESS;
        for (int j = 0; j < d->migs; j++)
            if (strcmp(d->mig[j]->uuid, uuid) == 0) return *device = d->mig[j], SUCCESS;
    }
    return NOT_FOUND;
}
nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t d, char *name, unsigned length) { ENTER(d); return text(name, length, d->name); }
nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t d, char *uuid, unsigned length) { ENTER(d); return text(uuid, length, d->uuid); }
nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t d, unsigned *index) { ENTER(d); *index = (unsigned)d->index; return SUCCESS; }

static unsigned long long figure(const struct device *d, enum quantity q) {
    if (d->q[q].unknown) return ~0ull;
    double v = value_at(&d->q[q], seconds());
    return v <= 0 ? 0 : (unsigned long long)v;
}

// Under v1 `used` includes the reserved memory (nvml.h, nvmlMemory_st).
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t d, nvmlMemory_t *m) {
    ENTER(d);
    if (d->q[USED].unsupported) return NOT_SUPPORTED;
    m->total = figure(d, TOTAL);
    m->used = figure(d, USED);
    if (!d->q[USED].unknown) m->used += figure(d, RESERVED);
    if (!d->q[USED].unknown && !d->overfull && m->used > m->total) m->used = m->total;
    m->free = m->total - m->used;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t d, nvmlMemory_v2_t *m) {
    ENTER(d);
    if (m->version != (sizeof *m | 2u << 24)) return ARGUMENT_VERSION_MISMATCH;
    if (d->q[USED].unsupported) return NOT_SUPPORTED;
    m->total = figure(d, TOTAL);
    m->reserved = figure(d, RESERVED);
    m->used = figure(d, USED);
    if (!d->q[USED].unknown && !d->overfull && m->used + m->reserved > m->total) m->used = m->total - m->reserved;
    m->free = m->total - m->reserved - m->used;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t d, unsigned *milliwatts) {
    ENTER(d);
    const struct value *v = &d->q[POWER];
    if (v->unsupported) return NOT_SUPPORTED;
    *milliwatts = v->unknown ? ~0u : (unsigned)(value_at(v, seconds()) * 1000);
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t d, unsigned long long *millijoules) {
    ENTER(d);
    const struct value *v = &d->q[ENERGY];
    if (v->unsupported) return NOT_SUPPORTED;
    *millijoules = v->unknown ? ~0ull : (unsigned long long)(value_at(v, seconds()) * 1000);
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetArchitecture(nvmlDevice_t d, unsigned *architecture) { ENTER(d); *architecture = 9; return SUCCESS; } // Hopper
nvmlReturn_t nvmlDeviceGetC2cModeInfoV(nvmlDevice_t d, unsigned *enabled) {
    ENTER(d);
    if (!d->grace) return NOT_SUPPORTED;
    *enabled = 1;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t d, nvmlUtilization_t *u) {
    ENTER(d);
    const struct value *v = &d->q[UTIL];
    if (v->unsupported) return NOT_SUPPORTED;
    u->gpu = v->unknown ? ~0u : (unsigned)lround(value_at(v, seconds()) * 100);
    u->memory = u->gpu / 2;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t d, int sensor, unsigned *celsius) {
    ENTER(d);
    (void)sensor;
    if (d->q[TEMP].unsupported) return NOT_SUPPORTED;
    *celsius = (unsigned)figure(d, TEMP);
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t d, nvmlTemperature_t *t) {
    ENTER(d);
    if (d->q[TEMP].unsupported) return NOT_SUPPORTED;
    t->temperature = (int)figure(d, TEMP);
    return SUCCESS;
}

// GPM. A sample is the time at which it was taken, and a metric the mean between two samples.
typedef struct nvmlGpmSample_st { const struct device *device; double at; } *nvmlGpmSample_t;
typedef struct { unsigned metricId; nvmlReturn_t nvmlReturn; double value; struct { char *shortName, *longName, *unit; } info; } nvmlGpmMetric_t;
typedef struct { unsigned version, numMetrics; nvmlGpmSample_t sample1, sample2; nvmlGpmMetric_t metrics[333]; } nvmlGpmMetricsGet_t;
typedef struct { unsigned version, isSupportedDevice; } nvmlGpmSupport_t;

static bool has_gpm(const struct device *d) {
    for (int i = SM_ACTIVE; i <= DRAM_ACTIVE; i++)
        if (!d->q[i].unsupported) return !d->mig_mode;
    return false;
}
nvmlReturn_t nvmlGpmQueryDeviceSupport(nvmlDevice_t d, nvmlGpmSupport_t *s) {
    ENTER(d);
    if (s->version != 1) return ARGUMENT_VERSION_MISMATCH;
    s->isSupportedDevice = has_gpm(d);
    return SUCCESS;
}
nvmlReturn_t nvmlGpmSampleAlloc(nvmlGpmSample_t *sample) {
    ENTER_SYSTEM();
    *sample = calloc(1, sizeof **sample);
    return SUCCESS;
}
nvmlReturn_t nvmlGpmSampleFree(nvmlGpmSample_t sample) {
    ENTER_SYSTEM();
    free(sample);
    return SUCCESS;
}
nvmlReturn_t nvmlGpmSampleGet(nvmlDevice_t d, nvmlGpmSample_t sample) {
    ENTER(d);
    if (!has_gpm(d)) return NOT_SUPPORTED;
    sample->device = d;
    sample->at = seconds();
    return SUCCESS;
}
nvmlReturn_t nvmlGpmMetricsGet(nvmlGpmMetricsGet_t *get) {
    if (!atomic_load(&initialized)) return UNINITIALIZED;
    if (get->version != 1) return ARGUMENT_VERSION_MISMATCH;
    const struct device *d = get->sample1->device;
    if (d == NULL || d != get->sample2->device || get->sample2->at < get->sample1->at + 0.1) return INVALID_ARGUMENT;
    nvmlReturn_t rc = enter(__func__, d);
    if (rc != SUCCESS) return rc;
    for (unsigned i = 0; i < get->numMetrics; i++) {
        nvmlGpmMetric_t *m = &get->metrics[i];
        unsigned id = m->metricId;
        int q = id == 2 ? SM_ACTIVE : id == 3 ? SM_OCCUPANCY : id == 5 ? TENSOR_ACTIVE : id == 10 ? DRAM_ACTIVE : -1;
        m->nvmlReturn = q < 0 || d->q[q].unsupported ? NOT_SUPPORTED : SUCCESS;
        if (m->nvmlReturn != SUCCESS) continue;
        double sum = 0, from = get->sample1->at, span = get->sample2->at - from;
        enum { STEPS = 100 };
        for (int k = 0; k < STEPS; k++) sum += value_at(&d->q[q], from + span * (k + 0.5) / STEPS);
        m->value = d->q[q].unknown ? NAN : 100 * sum / STEPS;
    }
    return SUCCESS;
}

static unsigned long long reasons(const struct device *d) {
    unsigned long long mask = 0;
    double t = seconds();
    for (int i = 0; i < d->throttles; i++)
        if (t >= d->throttle[i].from && t < d->throttle[i].until) mask |= d->throttle[i].mask;
    return mask;
}
nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t d, unsigned long long *mask) { ENTER(d); *mask = reasons(d); return SUCCESS; }
nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t d, unsigned long long *mask) { ENTER(d); *mask = reasons(d); return SUCCESS; }

// proc_parent reads the parent and the name of a process; it returns false if the process
// has ended.
static bool proc_parent(int pid, int *parent, char comm[64]) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "re");
    if (f == NULL) return false;
    size_t n = fread(line, 1, sizeof line - 1, f);
    fclose(f);
    line[n] = 0;
    char *from = strchr(line, '('), *to = strrchr(line, ')'), state;
    if (from == NULL || to == NULL || sscanf(to + 1, " %c %d", &state, parent) != 2 || state == 'Z') return false;
    snprintf(comm, 64, "%.*s", (int)(to - from - 1), from + 1);
    return true;
}

// scan searches /proc for the processes that p selects.
static int scan(const struct proc *p, unsigned *out, int max) {
    DIR *dir = opendir("/proc");
    if (dir == NULL) return 0;
    int n = 0, parent, self = getpid();
    char comm[64];
    for (struct dirent *e; n < max && (e = readdir(dir));) {
        int pid = atoi(e->d_name);
        if (pid <= 0 || !proc_parent(pid, &parent, comm)) continue;
        if (p->kind == PID_CHILD ? parent == self : strcmp(comm, p->name) == 0) out[n++] = (unsigned)pid;
    }
    closedir(dir);
    return n;
}

// pids lists the processes that a script's process line selects.
static int pids(const struct proc *p, unsigned *out, int max) {
    switch (p->kind) {
    case PID_NUMBER: if (p->pid > 0) { out[0] = (unsigned)p->pid; return 1; } return 0;
    case PID_FILE: { int pid = (int)follow_read(p->file); if (pid > 0) { out[0] = (unsigned)pid; return 1; } return 0; }
    case PID_SELF: out[0] = (unsigned)getpid(); return 1;
    case PID_PARENT: out[0] = (unsigned)getppid(); return 1;
    case PID_COMM: case PID_CHILD: break;
    }
    // Scanning /proc is expensive: all devices of a round share one scan.
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static struct { double at; const struct proc *of; int n; unsigned list[64]; } seen;
    pthread_mutex_lock(&mutex);
    if (seen.of == NULL || seen.of->kind != p->kind || strcmp(seen.of->name, p->name) != 0 || now_seconds() - seen.at > 0.02) {
        seen.n = scan(p, seen.list, 64);
        seen.of = p, seen.at = now_seconds();
    }
    int n = seen.n < max ? seen.n : max;
    memcpy(out, seen.list, (size_t)n * sizeof *out);
    pthread_mutex_unlock(&mutex);
    return n;
}

// processes fills infos like NVML: if they are too few, it returns INSUFFICIENT_SIZE and
// the number needed. A GPU in MIG mode includes the processes of its instances.
static nvmlReturn_t processes(struct device *d, bool graphics, unsigned *count, nvmlProcessInfo_t *infos) {
    unsigned n = 0, list[64];
    double t = seconds();
    for (int k = -1; k < d->migs; k++) {
        const struct device *x = k < 0 ? d : d->mig[k];
        for (int i = 0; i < x->procs; i++) {
            const struct proc *p = &x->proc[i];
            if (p->graphics != graphics || t < p->from || t >= p->until) continue;
            int found = pids(p, list, 64);
            for (int j = 0; j < found; j++, n++) {
                if (n >= *count) continue;
                double v = value_at(&p->memory, t);
                infos[n] = (nvmlProcessInfo_t){list[j], p->memory.unknown ? ~0ull : v <= 0 ? 0 : (unsigned long long)v,
                    x->parent ? (unsigned)x->gi : ~0u, x->parent ? (unsigned)x->ci : ~0u};
            }
        }
    }
    bool enough = n <= *count;
    *count = n;
    return enough ? SUCCESS : INSUFFICIENT_SIZE;
}

static nvmlReturn_t processes_v1(struct device *d, bool graphics, unsigned *count, nvmlProcessInfo_v1_t *infos) {
    nvmlProcessInfo_t full[256];
    unsigned n = *count < 256 ? *count : 256;
    nvmlReturn_t rc = processes(d, graphics, &n, full);
    for (unsigned i = 0; rc == SUCCESS && i < n; i++) infos[i] = (nvmlProcessInfo_v1_t){full[i].pid, full[i].used};
    *count = n;
    return rc;
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t d, unsigned *n, nvmlProcessInfo_t *p) { ENTER(d); return processes(d, false, n, p); }
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v2(nvmlDevice_t d, unsigned *n, nvmlProcessInfo_t *p) { ENTER(d); return processes(d, false, n, p); }
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses(nvmlDevice_t d, unsigned *n, nvmlProcessInfo_v1_t *p) { ENTER(d); return processes_v1(d, false, n, p); }
nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t d, unsigned *n, nvmlProcessInfo_t *p) { ENTER(d); return processes(d, true, n, p); }
nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v2(nvmlDevice_t d, unsigned *n, nvmlProcessInfo_t *p) { ENTER(d); return processes(d, true, n, p); }
nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses(nvmlDevice_t d, unsigned *n, nvmlProcessInfo_v1_t *p) { ENTER(d); return processes_v1(d, true, n, p); }

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t d, unsigned *current, unsigned *pending) {
    ENTER(d);
    if (d->parent) return INVALID_ARGUMENT;
    *current = *pending = d->mig_mode;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t d, unsigned *count) { ENTER(d); *count = d->mig_mode ? MAX_MIGS : 0; return SUCCESS; }
nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t d, unsigned index, nvmlDevice_t *mig) {
    ENTER(d);
    if (index >= (unsigned)d->migs) return NOT_FOUND;
    *mig = d->mig[index];
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t d, unsigned *id) { ENTER(d); if (!d->parent) return INVALID_ARGUMENT; *id = (unsigned)d->gi; return SUCCESS; }
nvmlReturn_t nvmlDeviceGetComputeInstanceId(nvmlDevice_t d, unsigned *id) { ENTER(d); if (!d->parent) return INVALID_ARGUMENT; *id = (unsigned)d->ci; return SUCCESS; }
nvmlReturn_t nvmlDeviceIsMigDeviceHandle(nvmlDevice_t d, unsigned *is) { ENTER(d); *is = d->parent != NULL; return SUCCESS; }
nvmlReturn_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvmlDevice_t d, nvmlDevice_t *parent) {
    ENTER(d);
    if (!d->parent) return INVALID_ARGUMENT;
    *parent = d->parent;
    return SUCCESS;
}
