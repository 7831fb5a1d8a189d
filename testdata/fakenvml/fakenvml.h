// The model behind the fake libnvidia-ml.so.1: the contents of a script, and how to
// compute a figure at a given time. script.c fills it, fakenvml.c serves it.
#ifndef FAKENVML_H
#define FAKENVML_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { MAX_DEVICES = 16, MAX_MIGS = 8, MAX_TERMS = 24, MAX_PROCS = 32, MAX_RULES = 64 };

// A file that another process rewrites in place. Its number is read at every use, through
// a descriptor that stays open.
struct follow {
    char path[4096];
    _Atomic int fd;
    _Atomic double last; // used while the writer is between truncating and writing
};

enum term_kind { STEP, PULSE, RAMP, RATE, FOLLOW };

struct term {
    enum term_kind kind;
    double amount;
    double at, length, every; // seconds; every is 0 for a term that does not repeat
    struct follow *file;
};

// A figure over time: the sum of a base and terms.
struct value {
    double base;
    bool unsupported; // the call returns NVML_ERROR_NOT_SUPPORTED
    bool unknown;     // the call succeeds with NVML_VALUE_NOT_AVAILABLE
    int terms;
    struct term term[MAX_TERMS];
};

enum quantity { USED, TOTAL, RESERVED, POWER, UTIL, TEMP, ENERGY, SM_ACTIVE, SM_OCCUPANCY, TENSOR_ACTIVE, DRAM_ACTIVE, QUANTITIES };

struct throttle {
    unsigned long long mask;
    double from, until;
};

enum pid_kind { PID_NUMBER, PID_FILE, PID_COMM, PID_SELF, PID_PARENT, PID_CHILD };

struct proc {
    enum pid_kind kind;
    int pid;
    char name[64]; // of PID_COMM
    struct follow *file;
    struct value memory;
    double from, until;
    bool graphics;
};

// A GPU, or a MIG instance of one, which has a parent.
struct device {
    int index;
    char name[96], uuid[96];
    struct value q[QUANTITIES];
    bool overfull; // used may exceed the total
    bool grace;    // part of a Grace module
    struct throttle throttle[MAX_TERMS];
    int throttles;
    struct proc proc[MAX_PROCS];
    int procs;
    struct device *parent;
    int gi, ci; // ids of a MIG instance
    bool mig_mode;
    struct device *mig[MAX_MIGS];
    int migs;
};

// What happens in a call before it returns.
struct rule {
    char call[80]; // name of a function, or its prefix and a *
    int device;    // -1: any
    int code;      // return code; 0: the regular result
    int nth, every;
    double from, until; // seconds since time zero
    char *when;         // only while this file exists; NULL: always
    double busy, sleep; // seconds of CPU time and of sleeping
    bool hang;
    _Atomic long calls;
};

struct script {
    char driver[64];
    double zero; // CLOCK_MONOTONIC seconds of time zero
    struct device device[MAX_DEVICES];
    int devices;
    struct rule rule[MAX_RULES];
    int rules;
};

extern struct script script;

// Reads the script named by FAKE_NVML_SCRIPT. On an invalid script it prints a message and
// ends the process, because a test must not continue without its script.
void script_load(void);

double now_seconds(void); // CLOCK_MONOTONIC
double value_at(const struct value *v, double t);
double follow_read(struct follow *f);
#endif
