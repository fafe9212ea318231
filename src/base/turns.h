/* How the kernel's scheduler is to treat a thread. */
#ifndef BARNABAS_TURNS_H
#define BARNABAS_TURNS_H

/*
 * Asks for short turns on the CPU for the calling thread, which then comes to it sooner when it wakes, and gets no more
 * of it in all. It does so before threads that work for long at a time, as compaction does; otherwise it would have to
 * wait for the end of their turns, of milliseconds, where all CPUs are busy. Linux knows this from version 6.12 on;
 * elsewhere nothing changes. The thread's policy and nice value stay.
 */
void turns_make_short(void);
/* What a thread has by default, unless whoever started it asked for short ones. */
void turns_make_usual(void);

#endif
