#include "childlog.h"

#include "log.h"

void te_childlog_free(te_childlog *l) {
  te_buf_free(&l->why);
}

void te_childlog_loaded(te_childlog *l) {
  if (te_buf_size(&l->why) == 0) return;
  te_buf_clear(&l->why);
  te_log(TE_LOG_INFO, "new children load their files again");
}

void te_childlog_failed(te_childlog *l, te_slice why) {
  if (te_slice_equal(te_buf_slice(&l->why), why)) return;
  te_buf_clear(&l->why);
  te_buf_add_slice(&l->why, why);
  te_log(TE_LOG_ERROR, "a new child cannot load its files, trying again: %.*s",
         (int)why.size, why.data);
}

void te_childlog_died(te_child_ref child, const te_death *death) {
  te_log(death->is_dismissed ? TE_LOG_DEBUG : TE_LOG_WARN, "child %u %s",
         child.index, death->why);
}
