/*
 * childlog: the lines of a worker's log that are about its children.
 *
 * A child that cannot load its files is tried again and again: one line for a
 * reason will do, and another one when the next can load them.
 */
#ifndef TE_CHILDLOG_H
#define TE_CHILDLOG_H

#include "buf.h"
#include "crew.h"

// Zeroed at first.
typedef struct te_childlog {
  te_buf why;  // no new one can load its files; empty: it can
} te_childlog;

void te_childlog_free(te_childlog *l);

void te_childlog_loaded(te_childlog *l);
void te_childlog_failed(te_childlog *l, te_slice why);  // to load
// One has died that had loaded its files, or was told to end.
void te_childlog_died(te_child_ref child, const te_death *death);

#endif
