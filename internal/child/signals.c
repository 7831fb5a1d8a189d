//go:build cgo && linux

/* Four facts that Go hides: which signals were ignored before the Go runtime
 * installed its handlers, which were blocked, which standard streams were closed
 * (the runtime opens /dev/null in their place), and who sent a signal. And a handler
 * that is installed by one system call: os/signal.Notify switches threads twice for
 * each signal, which takes 2 ms for all of them. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "signals.h"

#define LAST 64

static unsigned char ignored[LAST + 1];
static unsigned char closed[3];
static sigset_t blocked;
static sigset_t present;
static struct sigaction previous[LAST + 1];
static int inbox = -1; /* the end of a pipe */

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

/* 1 if sig was blocked when the process started. */
int vobs_child_blocked(int sig) {
	return sigismember(&blocked, sig) == 1;
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

static int is_fault(int sig) {
	return sig == SIGABRT || sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE || sig == SIGILL || sig == SIGTRAP || sig == SIGSYS;
}

/* Writes the signal and its sender to the pipe. The kernel's own signals have a positive
 * si_code (sigaction(2)): a terminal's Ctrl-C is SI_KERNEL; kill, tgkill and sigqueue
 * give SI_USER (0) or less. Faults of this process, and what a thread of it sends to it,
 * as abort does, go to the handler that was there before. */
static void receive(int sig, siginfo_t *info, void *context) {
	int saved = errno;
	int by_kernel = info->si_code > 0;
	int own = info->si_code == SI_TKILL && info->si_pid == getpid();
	unsigned char message[2] = {sig, by_kernel};

	if (is_fault(sig) && (by_kernel || own)) {
		previous[sig].sa_sigaction(sig, info, context);
		return;
	}
	while (write(inbox, message, sizeof message) == -1 && errno == EINTR)
		; /* a full pipe loses the signal: 30,000 are waiting */
	errno = saved;
}

static int is_ours(const struct sigaction *sa) {
	return (sa->sa_flags & SA_SIGINFO) && sa->sa_sigaction == receive;
}

/* Makes receive the handler of sig; fd is the pipe, which does not block. Returns 0 or
 * an errno: EINVAL if a fault would have no handler to go to. Installing it twice is
 * harmless. */
int vobs_child_catch(int sig, int fd) {
	struct sigaction sa, old;
	if (sig < 1 || sig > LAST)
		return EINVAL;
	if (sigaction(sig, NULL, &old) != 0)
		return errno;
	if (is_ours(&old))
		return 0;
	if (is_fault(sig) && !(old.sa_flags & SA_SIGINFO))
		return EINVAL;
	previous[sig] = old;
	inbox = fd;
	memset(&sa, 0, sizeof sa);
	sa.sa_sigaction = receive;
	sa.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART; /* Go's threads have small stacks */
	sigfillset(&sa.sa_mask);
	return sigaction(sig, &sa, NULL) == 0 ? 0 : errno;
}

static void discard(int sig) { (void)sig; }

/* Makes a handler that does nothing that of sig. */
void vobs_child_discard(int sig) {
	struct sigaction sa;
	memset(&sa, 0, sizeof sa);
	sa.sa_handler = discard;
	sa.sa_flags = SA_ONSTACK | SA_RESTART;
	sigaction(sig, &sa, NULL);
}

/* Receives the signals that were sent to the process and that the thread which the kernel
 * chose has not received yet: a change of this thread's mask makes it look for them. */
void vobs_child_receive_pending(void) {
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* The first signal for real time that the C library leaves to programs. */
int vobs_child_first_realtime(void) { return SIGRTMIN; }

/* Restores the handler that vobs_child_catch replaced. */
void vobs_child_uncatch(int sig) {
	struct sigaction sa;
	if (sig >= 1 && sig <= LAST && sigaction(sig, NULL, &sa) == 0 && is_ours(&sa))
		sigaction(sig, &previous[sig], NULL);
}
