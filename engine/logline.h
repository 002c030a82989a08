/*
 * logline: one line of the log as bytes, in one of two forms.
 *
 *   2026-11-22T09:00:00.123Z info  add[dUJ3kxQ8aWbL00000001] Hello
 *
 *   {"time":"2026-11-22T09:00:00.123Z","level":"info","message":"Hello",
 *    "task":"add","id":"dUJ3kxQ8aWbL00000001","child":0,"pid":71,
 *    "worker":"host-71"}
 *
 * The time is UTC. Whatever is put into a line stays in that line. As text,
 * control characters and bytes that are not UTF-8 are written as escapes (\n,
 * \x1b), so that a hostile name can neither forge a line nor drive a terminal.
 * As JSON each line is one object (the one above is broken for this page), and
 * what is not UTF-8 becomes U+FFFD.
 */
#ifndef TE_LOGLINE_H
#define TE_LOGLINE_H

#include "buf.h"

#define TE_LOG_NO_CHILD (-1)

// What a line is about.
typedef struct te_log_about {
  te_slice task;  // its name; empty: of no task
  te_slice id;
  int child;  // its index, or TE_LOG_NO_CHILD
} te_log_about;

typedef struct te_logline {
  int64_t wall_ms;
  const char *level;
  const te_log_about *about;  // NULL: of nothing
  te_slice text;
  bool is_cut;  // there was more of it
} te_logline;

void te_logline_add_text(te_buf *out, const te_logline *line);

// `worker` is who writes it; empty: not said.
void te_logline_add_json(te_buf *out, const te_logline *line, te_slice worker);

#endif
