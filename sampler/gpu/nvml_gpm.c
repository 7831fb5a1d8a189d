//go:build linux && cgo

#include "nvml_gpm.h"

#include <dlfcn.h>
#include <stdlib.h>

// Types and constants of nvml.h (NVIDIA, go-nvml v0.13.0-1): nvmlGpmSample_t, nvmlGpmMetric_t,
// nvmlGpmMetricsGet_t and nvmlGpmSupport_t, whose versions are plain numbers. The length of
// metrics grows with the releases (NVML_GPM_METRIC_MAX, 210 in this header): a driver may touch
// all of its own.
typedef void *sample_t;
typedef struct {
    unsigned id;
    int code;
    double value;
    const char *names[3];
} metric_t;
typedef struct {
    unsigned version, count;
    sample_t sample1, sample2;
    metric_t metrics[1024];
} metrics_t;
typedef struct { unsigned version, supported; } support_t;
enum { sm_util = 2, sm_occupancy = 3, any_tensor_util = 5, dram_bw_util = 10 };
enum { not_supported = 3, memory = 20, function_not_found = 13 };

struct vobs_gpm {
    void *device;
    int (*get_sample)(void *device, sample_t);
    int (*get_metrics)(metrics_t *);
    sample_t last, next;
    int sampled; // last holds a sample
    metrics_t get;
};

static int failed(vobs_gpm_error *error, int code, const char *call) {
    error->code = code, error->call = call;
    return code != 0;
}

static void *find(void *library, const char *name, vobs_gpm_error *error) {
    void *f = dlsym(library, name);
    if (f == NULL) failed(error, function_not_found, name);
    return f;
}

vobs_gpm *vobs_gpm_new(const char *name, uintptr_t device, vobs_gpm_error *error) {
    error->code = 0;
    void *library = dlopen(name, RTLD_LAZY | RTLD_NOLOAD); // go-nvml has loaded it
    if (library == NULL) return failed(error, function_not_found, "nvmlGpmQueryDeviceSupport"), NULL;
    int (*query)(void *, support_t *) = find(library, "nvmlGpmQueryDeviceSupport", error);
    int (*alloc)(sample_t *) = find(library, "nvmlGpmSampleAlloc", error);
    int (*get_sample)(void *, sample_t) = find(library, "nvmlGpmSampleGet", error);
    int (*get_metrics)(metrics_t *) = find(library, "nvmlGpmMetricsGet", error);
    if (error->code != 0) return NULL;

    support_t support = {.version = 1};
    if (failed(error, query((void *)device, &support), "nvmlGpmQueryDeviceSupport")) return NULL;
    if (!support.supported) return failed(error, not_supported, "nvmlGpmQueryDeviceSupport"), NULL;
    vobs_gpm *g = calloc(1, sizeof *g);
    if (g == NULL) return failed(error, memory, "nvmlGpmSampleAlloc"), NULL;
    g->device = (void *)device, g->get_sample = get_sample, g->get_metrics = get_metrics;
    if (failed(error, alloc(&g->last), "nvmlGpmSampleAlloc") || failed(error, alloc(&g->next), "nvmlGpmSampleAlloc")) {
        free(g);
        return NULL;
    }
    return g;
}

int vobs_gpm_sample(vobs_gpm *g, double *values, int32_t *codes, vobs_gpm_error *error) {
    static const unsigned ids[VOBS_GPM_METRICS] = {sm_util, sm_occupancy, any_tensor_util, dram_bw_util};
    if (failed(error, g->get_sample(g->device, g->next), "nvmlGpmSampleGet")) return 0;
    sample_t before = g->last;
    g->last = g->next, g->next = before;
    if (!g->sampled) {
        g->sampled = 1;
        return 0;
    }
    g->get.version = 1, g->get.count = VOBS_GPM_METRICS;
    g->get.sample1 = before, g->get.sample2 = g->last;
    for (int i = 0; i < VOBS_GPM_METRICS; i++) g->get.metrics[i] = (metric_t){.id = ids[i]};
    if (failed(error, g->get_metrics(&g->get), "nvmlGpmMetricsGet")) {
        g->next = g->last, g->last = before; // the next comparison is with the same sample
        return 0;
    }
    for (int i = 0; i < VOBS_GPM_METRICS; i++) values[i] = g->get.metrics[i].value, codes[i] = g->get.metrics[i].code;
    return 1;
}
