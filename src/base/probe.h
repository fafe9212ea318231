/*
 * Probes for bpftrace, perf and SystemTap (USDT): PROBE(name, arguments) is one instruction that does nothing until
 * somebody attaches to usdt:barnabas:name. They are there where <sys/sdt.h> was at configure time (Debian:
 * systemtap-sdt-dev). Arguments are integers and pointers that are at hand anyway: they are worked out for nobody, too.
 *
 *     request__done   key, then in microseconds: total, queue, local, remote, send
 *     append          folder of the log, its end, bytes
 *     roll            folder of the log, first offset of the new segment
 *     fsync__start    path          fsync__done   path
 *     isr__change     topic, partition, how many are in sync now
 *     zk__event       type and state as ZooKeeper numbers them, path
 *     election        this broker became the controller: epoch
 *
 * contrib/bpftrace has scripts; test/check-probes finds a probe that is not here.
 */
#ifndef BARNABAS_PROBE_H
#define BARNABAS_PROBE_H

#ifdef BARNABAS_PROBES
#define SDT_USE_VARIADIC
#include <sys/sdt.h>
#define PROBE(name, ...) STAP_PROBEV(barnabas, name, __VA_ARGS__)
#else
static inline void probe_nothing(int first, ...)
{
    (void)first;
}
#define PROBE(name, ...) probe_nothing(0, __VA_ARGS__)
#endif

#endif
