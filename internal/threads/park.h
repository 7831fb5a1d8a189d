// Threads of C code that exist before the command starts.
#pragma once

enum { vobs_thread_gpu, vobs_thread_files, vobs_threads };

// vobs_threads_park creates the threads, which wait for work. From now on, a thread that cannot
// be created ends the process with an error, code 125.
void vobs_threads_park(void);

// vobs_threads_reserved ends that: from now on, pthread_create waits for as long as a limit is
// reached.
void vobs_threads_reserved(void);

// vobs_thread_start lets a thread call run(argument), with all signals blocked. Returns 0, or
// an error number. If vobs_threads_park was never called, it creates a thread.
typedef int vobs_thread_starter(int which, void *(*run)(void *), void *argument);
vobs_thread_starter vobs_thread_start;
