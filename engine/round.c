#include "round.h"

#include "fcall.h"
#include "report.h"

static void add_arg(void *arg, te_slice s) {
  te_redis_add(arg, s);
}

static void begin(const te_lease *l, const char *function, size_t argc) {
  te_fcall_begin(l->redis, l->prefix, function, 2 + argc);
  te_fcall_add_str(l->redis, l->wid);
  te_fcall_add_number(l->redis, l->ms);
}

size_t te_round_finish(te_lease *l, te_ledger *tasks, uint64_t now_ms,
                       size_t room) {
  size_t argc = te_ledger_tell(tasks, now_ms);
  size_t successors = te_report_has_flow(&tasks->told) ? room : 0;
  begin(l, "te1_finish", successors > 0 ? 3 + argc : argc);
  if (successors > 0) {
    te_fcall_add_str(l->redis, "t");
    te_fcall_add_number(l->redis, successors);
    te_fcall_add_number(l->redis, ++l->delivery);
  }
  te_ledger_write(tasks, add_arg, l->redis);
  return successors;
}

void te_round_fetch(te_lease *l, size_t wanted, unsigned flags, size_t first) {
  begin(l, "te1_fetch", 3 + l->queue_count);
  te_fcall_add_number(l->redis, wanted);
  te_fcall_add_number(l->redis, ++l->delivery);
  te_fcall_add_number(l->redis, flags);
  for (size_t i = 0; i < l->queue_count; i++)
    te_fcall_add_str(l->redis, l->queues[(first + i) % l->queue_count]);
}
