// A clock that a test can set, for one Go program and without privileges: preloaded
// (LD_PRELOAD), it gives the Go runtime a vDSO with our clock_gettime.
//
// The kernel passes a program the address of its vDSO as AT_SYSINFO_EHDR, on the stack
// after the environment (getauxval(3), vdso(7)); Go's runtime reads it there and takes the
// address of clock_gettime from the image's symbols. A constructor runs before the runtime:
// it copies the image, points the copy's clock_gettime to ours and all other symbols to the
// original image, and puts the copy's address on the stack. By then the C library has read
// the original address: only Go is affected.
//
// $VOBS_TEST_CLOCK names a file with three native 64-bit integers, which is mapped, so that
// writes take effect at once: nanoseconds added to CLOCK_REALTIME; nanoseconds added to
// CLOCK_MONOTONIC; the time at which CLOCK_MONOTONIC is stopped, 0 if it runs. Timers expire
// by this clock, but sleeps in the kernel take as long as usual: a timer is found to be due
// at the next wake-up.

#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static struct setting {
    _Atomic int64_t wall, monotonic, frozen;
} *setting;

static void set(struct timespec *t, int64_t ns) {
    t->tv_sec = ns / 1000000000;
    t->tv_nsec = ns % 1000000000;
}

static int our_gettime(clockid_t clock, struct timespec *t) {
    long failed = syscall(SYS_clock_gettime, clock, t);
    if (failed) return (int)failed;
    int64_t now = t->tv_sec * INT64_C(1000000000) + t->tv_nsec;
    if (clock == CLOCK_REALTIME)
        set(t, now + atomic_load(&setting->wall));
    if (clock == CLOCK_MONOTONIC) {
        int64_t frozen = atomic_load(&setting->frozen);
        set(t, frozen ? frozen : now + atomic_load(&setting->monotonic));
    }
    return 0;
}

static void give_up(const char *why) {
    fprintf(stderr, "clock: %s\n", why);
    _exit(98); // so that the test notices
}

// copy_image returns a copy of the vDSO with our clock_gettime.
static void *copy_image(const char *image) {
    const ElfW(Ehdr) *header = (const void *)image;
    const ElfW(Phdr) *segments = (const void *)(image + header->e_phoff);
    const ElfW(Phdr) *load = NULL, *dynamic = NULL;
    for (int i = 0; i < header->e_phnum; i++) {
        if (segments[i].p_type == PT_LOAD && load == NULL) load = &segments[i];
        if (segments[i].p_type == PT_DYNAMIC) dynamic = &segments[i];
    }
    if (load == NULL || dynamic == NULL) give_up("the vDSO is not as expected");
    char *copy = malloc(load->p_memsz);
    if (copy == NULL) give_up("no memory");
    memcpy(copy, image, load->p_memsz);

    ElfW(Sym) *symbols = NULL;
    const char *names = NULL;
    for (const ElfW(Dyn) *d = (const void *)(image + dynamic->p_offset); d->d_tag != DT_NULL; d++) {
        if (d->d_tag == DT_SYMTAB) symbols = (void *)(copy + d->d_un.d_ptr - load->p_vaddr);
        if (d->d_tag == DT_STRTAB) names = copy + d->d_un.d_ptr - load->p_vaddr;
    }
    if (symbols == NULL || names <= (const char *)symbols) give_up("the vDSO's symbols are not as expected");
    int found = 0;
    for (ElfW(Sym) *s = symbols; (const char *)(s + 1) <= names; s++) { // the names follow the symbols
        if (s->st_shndx == SHN_UNDEF) continue;
        const char *name = names + s->st_name;
        if (strcmp(name, "__vdso_clock_gettime") == 0 || strcmp(name, "__kernel_clock_gettime") == 0) {
            s->st_value = (uintptr_t)our_gettime - (uintptr_t)copy + load->p_vaddr;
            found = 1;
        } else {
            s->st_value += (uintptr_t)image - (uintptr_t)copy;
        }
    }
    if (!found) give_up("the vDSO has no clock_gettime");
    return copy;
}

__attribute__((constructor)) static void install(int argc, char **argv, char **env) {
    (void)argc, (void)argv;
    const char *path = getenv("VOBS_TEST_CLOCK");
    if (path == NULL) return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    setting = mmap(NULL, sizeof *setting, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd < 0 || setting == MAP_FAILED) give_up("the file cannot be mapped");
    close(fd);
    while (*env != NULL) env++;
    for (ElfW(auxv_t) *a = (void *)(env + 1); a->a_type != AT_NULL; a++)
        if (a->a_type == AT_SYSINFO_EHDR) {
            a->a_un.a_val = (uintptr_t)copy_image((const char *)a->a_un.a_val);
            return;
        }
    give_up("the kernel gives no vDSO");
}
