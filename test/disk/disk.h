/*
 * Files in memory, linked in the place of the file system's, that tell what is on the disk from what is only in the
 * page cache. A process that is killed loses nothing; one whose power fails may lose whatever it had not synced:
 * - of a file's bytes any of the writes since its last sync, in any order, torn between and within sectors, and its
 * size may have been written without its bytes, which are zeros then;
 * - of the names that were made, changed and removed the newest, in their order, as a journaling file system does it;
 *   dir_sync() makes all of them last.
 */
#ifndef BARNABAS_TEST_DISK_H
#define BARNABAS_TEST_DISK_H

#include "log/file.h"

/* Below n, at random: what a power failure chooses by. */
typedef uint32_t (*disk_dice)(uint32_t n);

/* From now on so many changes succeed; those behind fail, and change nothing. */
void disk_stop_after(int changes);
bool disk_has_stopped(void);
void disk_go_on(void);

/* All that is below the folder ("/name"). */
void disk_lose_power(const char *folder, disk_dice dice);
void disk_remove_all(void);

#endif
