/* The name of a function of this program, for the log: out of the program's own table of symbols, if it has one. */
#ifndef BARNABAS_SYMBOL_H
#define BARNABAS_SYMBOL_H

#include "base/base.h"

enum { SYMBOL_ROOM = 128 };

/* A stripped program says where the function is instead, for addr2line. Reads the program's file: not often. */
const char *symbol_name(void (*function)(void), char buf[SYMBOL_ROOM]);

#endif
