/*
 * relay: what tasks ask of Redis, on the master's connection.
 *
 * Children have no connection of their own. They name a function of the
 * library and its arguments; the relay calls it if a task may, and hands the
 * reply back. Outcomes that tasks wait for come to the worker's bell; the
 * relay knows which children wait for which.
 */
#ifndef TE_RELAY_H
#define TE_RELAY_H

#include "pool.h"
#include "queue.h"

typedef struct te_relay te_relay;

// Keeps both until te_relay_close.
te_relay *te_relay_new(te_pool *pool, te_queue *queue);
// A child's call: `payload` is borrowed. te_pool_reply answers it, once.
void te_relay_request(te_relay *r, te_child_ref from, uint32_t request,
                      te_slice payload);
void te_relay_item(te_relay *r, te_slice item);  // an outcome; borrowed
void te_relay_forget_child(te_relay *r, te_child_ref child);  // it has died
void te_relay_forget(te_relay *r);  // all who wait: they are to ask anew
// NULL is fine. The memory goes with the last call that is under way.
void te_relay_close(te_relay *r);

#endif
