/*
 * roster: which children a crew has, how many it lacks, and which may leave.
 *
 * Logic only: no process, no channel, no clock. There are to be N children
 * that get tasks. One that is about to leave has another beside it, and those
 * that have left and end what they began sit there, too: there are three
 * seats for each of the N. A child's index is its seat, which is used again;
 * its serial is not.
 *
 * A reload counts up the generation of the files. Its first child is the
 * probe: until that has loaded them, others are started only for those that
 * die. Then the rest of the new ones comes, and the old ones leave.
 */
#ifndef TE_ROSTER_H
#define TE_ROSTER_H

#include "claims.h"
#include "te.h"

#define TE_ROSTER_NO_SEAT UINT32_MAX

// A child process: an index that is used again, a serial that is not.
typedef struct te_child_ref {
  unsigned index;
  uint32_t serial;
} te_child_ref;

typedef struct te_member {
  uint32_t serial;
  uint32_t generation;  // of the files that it loads
  bool is_there;        // else the seat is free, and nothing else counts
  bool is_ready;        // has loaded them
  bool is_due;          // to leave soon
  bool is_leaving;      // gets no tasks
} te_member;

typedef struct te_roster {
  unsigned processes;  // N
  unsigned seats;
  te_member *members;  // by index
  uint32_t serial;     // the last one given
  uint32_t generation;
  bool is_probing;    // a reload's first child has not loaded the files
  bool is_replacing;  // it has, and not all old ones have left
} te_roster;

void te_roster_init(te_roster *r, unsigned processes);
void te_roster_free(te_roster *r);

// How many more are to be started.
unsigned te_roster_missing(const te_roster *r);
unsigned te_roster_free_seat(const te_roster *r);  // or TE_ROSTER_NO_SEAT
te_child_ref te_roster_seat(te_roster *r, unsigned index);  // one is started
void te_roster_leave_seat(te_roster *r, unsigned index);    // it is gone

te_child_ref te_roster_ref(const te_roster *r, unsigned index);
// Whether it is still the same child.
bool te_roster_has(const te_roster *r, te_child_ref ref);
// Whether it may get tasks.
bool te_roster_is_ready(const te_roster *r, unsigned index);
bool te_roster_is_leaving(const te_roster *r, unsigned index);
// Whether it is the one on whom a reload waits.
bool te_roster_is_probe(const te_roster *r, unsigned index);

unsigned te_roster_leaving(const te_roster *r);  // how many do
unsigned te_roster_spare(const te_roster *r);    // ready ones beyond N
// Whether another could come for one that leaves.
bool te_roster_can_replace(const te_roster *r);

void te_roster_reload(te_roster *r);
void te_roster_note_loaded(te_roster *r);  // the probe has
void te_roster_note_failed(te_roster *r);  // it has not: the old ones stay
// Whether it is of before the reload, and not needed any more.
bool te_roster_may_leave(const te_roster *r, unsigned index);
// Whether all that are of before the reload have left; true once.
bool te_roster_check_replaced(te_roster *r);

#endif
