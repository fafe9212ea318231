/*
 * What the service manager that has started this process is told, in the protocol of sd_notify(3): a datagram for each
 * notice, of lines KEY=value, to the socket that NOTIFY_SOCKET names. Started by anybody else, there is nobody to tell.
 */
#ifndef BARNABAS_NOTIFY_H
#define BARNABAS_NOTIFY_H

#include "base/base.h"

/*
 * Takes out of the environment, so that no child has it, whom to tell and for how long its watchdog waits. While there
 * is one thread. May be called again, with another environment.
 */
void notify_start(void);
void notify_stop(void);
bool notify_is_heard(void);       /* somebody is told */
int64_t notify_watchdog_us(void); /* WATCHDOG=1 has to come at least this often; 0: nobody waits for it */
/* Any thread. A manager that does not listen holds it up for a moment, and misses the notice. */
void notify_say(const char *fmt, ...) PRINTF_LIKE(1, 2);

#endif
