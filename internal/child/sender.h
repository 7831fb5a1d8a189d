//go:build cgo && linux

#ifndef VOBS_CHILD_SENDER_H
#define VOBS_CHILD_SENDER_H

int vobs_child_ignored(int sig);
int vobs_child_closed(int fd);
void vobs_child_mask(void);
void vobs_child_unmask(void);
int vobs_child_watch(int sig);
void vobs_child_unwatch(int sig);
int vobs_child_sent(int sig, int *kernel, int *process);

#endif
