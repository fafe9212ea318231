/*
 * Where the log goes. With log4j.properties, to the files and consoles that it says, by a thread of its own, so that a
 * slow disk holds up nobody who logs; without, to standard error, with a line for each call.
 *
 * -Dlog4j.configuration=FILE in KAFKA_LOG4J_OPTS or KAFKA_OPTS says which file that is, as Apache's scripts do. In it,
 * ${kafka.logs.dir} is what -D says, else LOG_DIR, else ../logs beside the file's folder.
 */
#ifndef BARNABAS_LOGGING_H
#define BARNABAS_LOGGING_H

void logging_start(void); /* before other threads */
/* Files are opened again, and log4j.properties is read again if it has changed. Soon, on the thread that writes. */
void logging_reopen(void);
void logging_stop(void); /* what was logged is written; from now on to standard error */

#endif
