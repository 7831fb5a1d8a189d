//go:build cgo && linux

#ifndef VOBS_CHILD_SIGNALS_H
#define VOBS_CHILD_SIGNALS_H

int vobs_child_ignored(int sig);
int vobs_child_blocked(int sig);
int vobs_child_closed(int fd);
void vobs_child_mask(void);
void vobs_child_unmask(void);
int vobs_child_catch(int sig, int fd);
void vobs_child_uncatch(int sig);
void vobs_child_discard(int sig);
void vobs_child_receive_pending(void);
int vobs_child_first_realtime(void);

#endif
