/*
 * awaited: which children wait for which outcomes.
 *
 * A child waits from when it asks for an outcome, not from when Redis has
 * answered: the outcome comes on another connection, perhaps sooner, and the
 * child that asked may die meanwhile. It waits until the outcome comes, until
 * it is told that none will, or until it dies. Asking twice is waiting once.
 * After a gap, in which outcomes may have been missed, all ask anew.
 */
#ifndef TE_AWAITED_H
#define TE_AWAITED_H

#include "crew.h"
#include "id.h"

typedef struct te_awaited te_awaited;

te_awaited *te_awaited_new(void);  // caller frees with te_awaited_free
void te_awaited_free(te_awaited *a);

// `id` has TE_ID_BYTES, here and below, and is copied. False when it waits
// already.
bool te_awaited_add(te_awaited *a, te_slice id, te_child_ref child);
// False when nobody is left who waits for it.
bool te_awaited_remove(te_awaited *a, te_slice id, te_child_ref child);
void te_awaited_remove_child(te_awaited *a, te_child_ref child);
void te_awaited_clear(te_awaited *a);
// It has come: calls `each` for those who wait for it. They wait no more.
void te_awaited_end(te_awaited *a, te_slice id,
                    void (*each)(void *arg, te_child_ref child), void *arg);

#endif
