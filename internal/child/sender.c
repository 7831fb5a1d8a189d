//go:build cgo && linux

/* Four facts that Go hides: which signals were ignored before the Go runtime
 * installed its handlers, which were blocked, which standard streams were closed
 * (the runtime opens /dev/null in their place), and who sent a signal. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "sender.h"

#define LAST 64

static unsigned char ignored[LAST + 1];
static unsigned char closed[3];
static sigset_t blocked;
static sigset_t present;
static struct sigaction previous[LAST + 1];
static int from_kernel[LAST + 1];
static int from_process[LAST + 1];

/* Runs before main, and so before the Go runtime touches any signal. */
__attribute__((constructor)) static void record(void) {
	for (int fd = 0; fd < 3; fd++)
		closed[fd] = fcntl(fd, F_GETFD) == -1 && errno == EBADF;
	sigemptyset(&blocked);
	pthread_sigmask(SIG_BLOCK, NULL, &blocked);
	for (int sig = 1; sig <= LAST; sig++) {
		struct sigaction sa;
		if (sigaction(sig, NULL, &sa) == 0 && !(sa.sa_flags & SA_SIGINFO) && sa.sa_handler == SIG_IGN)
			ignored[sig] = 1;
	}
}

/* 1 if sig was ignored when the process started. */
int vobs_child_ignored(int sig) {
	return sig >= 1 && sig <= LAST && ignored[sig];
}

/* 1 if the standard stream fd was closed when the process started. */
int vobs_child_closed(int fd) {
	return fd >= 0 && fd < 3 && closed[fd];
}

/* Blocks in this thread the signals that were blocked when the process started, for
 * a fork to inherit; unmask undoes it. Only one thread at a time may use them. */
void vobs_child_mask(void) {
	pthread_sigmask(SIG_BLOCK, &blocked, &present);
}

void vobs_child_unmask(void) {
	pthread_sigmask(SIG_SETMASK, &present, NULL);
}

/* Counts the sender, then runs Go's handler on the same stack. The kernel's own
 * signals have a positive si_code (sigaction(2)): a terminal's Ctrl-C is SI_KERNEL;
 * kill, tgkill and sigqueue give SI_USER (0) or less. What a thread of this process
 * sends to it, as abort does, does not count. */
static void count(int sig, siginfo_t *info, void *context) {
	if (info != NULL && info->si_code > 0)
		__atomic_add_fetch(&from_kernel[sig], 1, __ATOMIC_SEQ_CST);
	else if (info == NULL || info->si_code != SI_TKILL || info->si_pid != getpid())
		__atomic_add_fetch(&from_process[sig], 1, __ATOMIC_SEQ_CST);
	previous[sig].sa_sigaction(sig, info, context);
}

static int is_ours(const struct sigaction *sa) {
	return (sa->sa_flags & SA_SIGINFO) && sa->sa_sigaction == count;
}

/* Puts count in front of the present handler. Returns 0 or an errno: EINVAL if there
 * is no handler to chain to. Installing it twice is harmless. */
int vobs_child_watch(int sig) {
	struct sigaction sa;
	if (sig < 1 || sig > LAST)
		return EINVAL;
	if (sigaction(sig, NULL, &sa) != 0)
		return errno;
	if (is_ours(&sa))
		return 0;
	if (!(sa.sa_flags & SA_SIGINFO) || sa.sa_handler == SIG_DFL || sa.sa_handler == SIG_IGN)
		return EINVAL;
	previous[sig] = sa;
	__atomic_store_n(&from_kernel[sig], 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&from_process[sig], 0, __ATOMIC_SEQ_CST);
	sa.sa_sigaction = count;
	sa.sa_flags |= SA_SIGINFO | SA_ONSTACK | SA_RESTART; /* the mask stays Go's */
	return sigaction(sig, &sa, NULL) == 0 ? 0 : errno;
}

/* Restores the handler that vobs_child_watch replaced. */
void vobs_child_unwatch(int sig) {
	struct sigaction sa;
	if (sig >= 1 && sig <= LAST && sigaction(sig, NULL, &sa) == 0 && is_ours(&sa))
		sigaction(sig, &previous[sig], NULL);
}

/* Returns both counts and resets them. -1 if count is not the handler. */
int vobs_child_sent(int sig, int *kernel, int *process) {
	struct sigaction sa;
	if (sig < 1 || sig > LAST || sigaction(sig, NULL, &sa) != 0 || !is_ours(&sa))
		return -1;
	*kernel = __atomic_exchange_n(&from_kernel[sig], 0, __ATOMIC_SEQ_CST);
	*process = __atomic_exchange_n(&from_process[sig], 0, __ATOMIC_SEQ_CST);
	return 0;
}
