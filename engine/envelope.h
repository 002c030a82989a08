/*
 * envelope: a task as it waits and travels, see docs/protocol.md.
 *
 * A fixed header, four names, a body of MessagePack or JSON. The master reads
 * the header only; the body is for whoever runs the task. A *template* is an
 * envelope's header and names without the id in front: made once for a task
 * and its options, and put behind the id of each call.
 */
#ifndef TE_ENVELOPE_H
#define TE_ENVELOPE_H

#include "buf.h"
#include "id.h"

#define TE_ENVELOPE_VERSION   1
#define TE_ENVELOPE_BYTES_MIN 102  // the header
#define TE_UNIQUE_BYTES       16

enum te_envelope_flag {
  TE_FLAG_NO_RESULT = 1,
  TE_FLAG_LOST_FAILS = 2,
  TE_FLAG_TRACK_STARTED = 4,
  TE_FLAG_JSON = 8,           // body and value of the outcome; else MessagePack
  TE_FLAG_HAS_PAST = 16,      // something is noted of it in Redis
  TE_FLAG_UNIQUE_START = 32,  // its unique lock goes when it is fetched
  TE_FLAG_DEADLINE = 64,      // its expiry ends an attempt, too
};

typedef struct te_envelope {
  te_slice id;  // TE_ID_BYTES
  uint8_t version;
  uint8_t flags;
  uint8_t attempt;
  uint8_t deaths;
  uint8_t reaps;
  uint8_t priority;
  uint32_t delivery;
  uint64_t expiry_ms;           // 0: never
  uint64_t sent_ms;             // the client's clock, only to be shown
  uint32_t time_limit_ms;       // 0: none
  uint32_t soft_time_limit_ms;  // 0: none
  uint32_t result_ttl_s;
  te_slice flow;    // TE_ID_BYTES, or empty: it is of none
  uint32_t node;    // in that flow
  te_slice unique;  // TE_UNIQUE_BYTES, or empty: others like it may be sent
  te_slice queue;
  te_slice name;
  te_slice limit_key;
  te_slice alias;  // the id that the caller chose; may be empty
  te_slice body;
} te_envelope;

// Reads one; everything borrows from `bytes`. 0 or TE_EMALFORMED.
int te_envelope_read(te_slice bytes, te_envelope *out);

// Appends all but id and body; `e`'s names are at most TE_NAME_BYTES_MAX.
void te_envelope_add_template(te_buf *out, const te_envelope *e);

/*
 * Appends id and template, with the time of sending set. The body is to be
 * appended behind it.
 */
void te_envelope_add_head(te_buf *out, te_slice id, te_slice template_,
                          uint64_t sent_ms);

// Whether bytes could be a template.
bool te_envelope_is_template(te_slice bytes);
uint8_t te_envelope_template_flags(te_slice template_);

// [A-Za-z0-9_.:-]{1,128}, for tasks, queues and namespaces.
bool te_name_is_valid(te_slice name);

#endif
