/* The two clocks. Simulated runs link their own. */
#ifndef BARNABAS_CLOCK_H
#define BARNABAS_CLOCK_H

#include <stdint.h>

int64_t clock_wall_ms(void); /* ms since 1970, may jump: for timestamps that others read */
int64_t clock_mono_ms(void); /* ms since some start, never back: for time-outs */
int64_t clock_mono_us(void);

#endif
