/*
 * id: names for tasks and for who makes them.
 *
 * A producer (a client, a worker incarnation) has an id of 12 random base62
 * characters, the first a letter. A task's id is its producer's and then its
 * sequence number there in 8 base62 digits. So an id never seen and a task
 * that waits can be told apart without a record for each task.
 *
 * Digits are 0-9, A-Z, a-z in this order, so that the ids of one producer
 * sort as they were made.
 */
#ifndef TE_ID_H
#define TE_ID_H

#include "te.h"

#define TE_ID_PRODUCER_BYTES 12
#define TE_ID_BYTES          20
#define TE_ID_SEQ_MAX        UINT64_C(218340105584895)  // 62^8 - 1

void te_id_producer(char out[TE_ID_PRODUCER_BYTES]);  // no NUL behind it

// Asserts seq <= TE_ID_SEQ_MAX. Writes no NUL.
void te_id_format(char out[TE_ID_BYTES],
                  const char producer[TE_ID_PRODUCER_BYTES], uint64_t seq);

// 0, or TE_EMALFORMED when the id is not of that form.
int te_id_seq(te_slice id, uint64_t *seq);

#endif
