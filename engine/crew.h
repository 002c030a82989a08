/*
 * crew: the child processes of a master: N of them, always.
 *
 * Starts them, knows which are ready, replaces at once the ones that die, and
 * ends them. What they run is the pool's business.
 */
#ifndef TE_CREW_H
#define TE_CREW_H

#include <uv.h>

#include "wire.h"

typedef struct te_crew te_crew;

// A child process: an index that is used again, a serial that is not.
typedef struct te_child_ref {
  unsigned index;
  uint32_t serial;
} te_child_ref;

// How a child died.
typedef struct te_death {
  const char *why;  // "killed by signal 9 (Killed)"; borrowed
  bool was_ready;
  bool is_killed;  // by the master
} te_death;

typedef struct te_crew_events {
  // A child has loaded its files and is ready, or could not (then it is
  // killed). MessagePack, borrowed: what, or why not.
  void (*on_hello)(void *arg, te_child_ref child, bool is_ready,
                   te_slice hello);
  // Anything else that one says. Negative: it may not say this.
  int (*on_wire)(void *arg, te_child_ref child, const te_wire *w);
  // One has died, and all that it had said was heard.
  void (*on_end)(void *arg, te_child_ref child, const te_death *death);
  // The same, once it is no longer counted: the crew may be freed.
  void (*on_death)(void *arg, te_child_ref child, const te_death *death);
  void *arg;
} te_crew_events;

typedef struct te_crew_options {
  unsigned processes;
  const char *program;  // run as: program child INDEX
  int claims_fd;
} te_crew_options;

te_crew *te_crew_new(uv_loop_t *loop, const te_crew_options *options,
                     const te_crew_events *events);
// What children are told to load: MessagePack, copied. Before start.
void te_crew_set_config(te_crew *c, te_slice config);
// Starts the children that are not there. 0, or why one could not be.
int te_crew_start(te_crew *c);

bool te_crew_is_ready(const te_crew *c, unsigned index);
// Whether it is still the same child.
bool te_crew_has(const te_crew *c, te_child_ref ref);
// 0, also when there is none; TE_ELIMIT: nothing was sent, it is too much for
// a frame.
int te_crew_tell(te_crew *c, unsigned index, const te_wire *w);
void te_crew_kill_one(te_crew *c, unsigned index);

// Both: no child is started any more until te_crew_start.
void te_crew_quit(te_crew *c);  // lets them end by themselves
void te_crew_kill(te_crew *c);
size_t te_crew_alive(const te_crew *c);  // children not gone yet

void te_crew_free(te_crew *c);  // once te_crew_alive is 0

#endif
