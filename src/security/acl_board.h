/*
 * Where the newest set of ACLs is to be seen. Its owner puts the next one there; readers on loops look at it without a
 * lock or a count, as the set that is taken away stays until each loop has come back from what it was doing then.
 */
#ifndef BARNABAS_ACL_BOARD_H
#define BARNABAS_ACL_BOARD_H

#include "base/loop.h"
#include "security/acl.h"

struct acl_board;

struct acl_board *acl_board_new(void);
/* The loops that may look. Once, before they run. */
void acl_board_set_loops(struct acl_board *b, struct loop *const *loops, int count);
/* Takes the reference. One thread, its owner's. */
void acl_board_publish(struct acl_board *b, struct acl_set *set);
/* Good until the loop's callback returns. NULL: nothing was published yet. */
const struct acl_set *acl_board_current(const struct acl_board *b);
void acl_board_free(struct acl_board *b); /* after the loops were drained */

#endif
