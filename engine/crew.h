/*
 * crew: the child processes of a master: N of them, always.
 *
 * Starts them, knows which are ready, replaces at once the ones that die, and
 * ends them. How many that are, and which, says the roster; what they run is
 * the pool's business.
 *
 *   starting --hello--> ready --leave--> leaving --dismiss--> gone
 *
 * One that leaves gets no more tasks, and another is in its place by then or
 * soon. So there are more than N for a while, up to te_crew_seats.
 *
 * A reload starts one child with the files as they are now. When it has
 * loaded them, the others are started, and for each that is ready an old one
 * leaves; when it has not, the old ones stay.
 */
#ifndef TE_CREW_H
#define TE_CREW_H

#include <uv.h>

#include "roster.h"
#include "wire.h"

typedef struct te_crew te_crew;

// How a child died.
typedef struct te_death {
  const char *why;  // "killed by signal 9 (Killed)"; borrowed
  int pid;          // it had
  bool was_ready;
  bool is_killed;     // by the master
  bool is_dismissed;  // was told to end
} te_death;

typedef enum te_reload {
  TE_RELOAD_LOADED,  // the first child has: MessagePack, what
  TE_RELOAD_FAILED,  // it has not: a sentence
  TE_RELOAD_DONE,    // no child of before gets tasks any more
} te_reload;

typedef struct te_crew_events {
  // A child has loaded its files and is ready, or could not (then it is
  // killed; the first of a reload is not told of here). MessagePack,
  // borrowed: what, or why not.
  void (*on_hello)(void *arg, te_child_ref child, bool is_ready,
                   te_slice hello);
  // Anything else that one says. Negative: it may not say this.
  int (*on_wire)(void *arg, te_child_ref child, const te_wire *w);
  // One has died, and all that it had said was heard.
  void (*on_end)(void *arg, te_child_ref child, const te_death *death);
  // The same, once it is no longer counted: the crew may be freed.
  void (*on_death)(void *arg, te_child_ref child, const te_death *death);
  // It gets no more tasks: te_crew_dismiss once it has none.
  void (*on_leave)(void *arg, te_child_ref child);
  void (*on_reload)(void *arg, te_reload what, te_slice text);  // borrowed
  void *arg;
} te_crew_events;

typedef struct te_crew_options {
  unsigned processes;
  const char *program;  // run as: program child INDEX
  int claims_fd;
} te_crew_options;

// Copies the options; te_crew_free frees it.
te_crew *te_crew_new(uv_loop_t *loop, const te_crew_options *options,
                     const te_crew_events *events);
// What children are told to load: MessagePack, copied. Before start.
void te_crew_set_config(te_crew *c, te_slice config);
// Starts the children that are not there. 0, or why one could not be.
int te_crew_start(te_crew *c);

unsigned te_crew_seats(const te_crew *c);  // all indexes are below it
// Whether it may get tasks.
bool te_crew_is_ready(const te_crew *c, unsigned index);
bool te_crew_is_leaving(const te_crew *c, unsigned index);
int te_crew_pid(const te_crew *c, unsigned index);  // 0: there is none
// How long a child takes until it is ready, by the last one.
uint64_t te_crew_start_ms(const te_crew *c);
// Whether it is still the same child.
bool te_crew_has(const te_crew *c, te_child_ref which);
// 0, also when there is none; TE_ELIMIT: nothing was sent, it is too much for
// a frame.
int te_crew_tell(te_crew *c, unsigned index, const te_wire *w);
void te_crew_kill_one(te_crew *c, unsigned index);
// Rings its alarm: a ready one hears it also while it computes.
void te_crew_ring(te_crew *c, unsigned index);

// A ready one is to leave soon: another one is started.
void te_crew_prepare(te_crew *c, unsigned index);
// Whether another can come: there is a seat, and new children load their files.
bool te_crew_can_replace(const te_crew *c);
// Whether more are ready than there are to be.
bool te_crew_has_spare(const te_crew *c);
void te_crew_leave(te_crew *c, unsigned index);  // a ready one
// Lets one that leaves end by itself; kills it when it does not in 2 s.
void te_crew_dismiss(te_crew *c, unsigned index);
// Again before it is done: from the beginning.
void te_crew_reload(te_crew *c);

// Both: no child is started any more until te_crew_start.
void te_crew_quit(te_crew *c);  // lets them end by themselves
void te_crew_kill(te_crew *c);
size_t te_crew_alive(const te_crew *c);  // children not gone yet

void te_crew_free(te_crew *c);  // once te_crew_alive is 0

#endif
