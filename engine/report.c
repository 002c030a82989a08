#include "report.h"

#include <inttypes.h>
#include <stdio.h>

#include "record.h"

static bool keeps_result(const te_task *t) {
  return (t->envelope.flags & TE_FLAG_NO_RESULT) == 0 &&
         t->envelope.result_ttl_s > 0;
}

static bool is_node(const te_task *t) {
  return t->envelope.flow.size > 0;
}

static bool is_success(const te_task *t) {
  return te_record_is_success(te_slice_of(t->record, t->record_size));
}

// Whether it goes into a common operation: nothing but the outcome changes,
// and what the end of a node sets off.
static bool is_plain(const te_task *t) {
  return t->end == TE_END_OUTCOME && !t->is_told && is_success(t) &&
         t->envelope.alias.size == 0 && t->envelope.unique.size == 0 &&
         (t->envelope.flags & TE_FLAG_HAS_PAST) == 0 &&
         (!is_node(t) || keeps_result(t));
}

static bool is_costly(const te_task *t) {
  if (t->end == TE_END_UNSPENT || t->end == TE_END_BACK) return false;
  return is_node(t) || t->end != TE_END_OUTCOME || !is_success(t);
}

static bool go_together(const te_task *a, const te_task *b) {
  if (!is_plain(a) || !is_plain(b) || is_node(a) != is_node(b)) return false;
  if (!te_slice_equal(a->envelope.queue, b->envelope.queue)) return false;
  if (!keeps_result(a)) return !keeps_result(b);
  return keeps_result(b) &&
         a->envelope.result_ttl_s == b->envelope.result_ttl_s;
}

static te_task *task_of(te_list *link) {
  return te_container_of(link, te_task, link);
}

static size_t single_args(const te_task *t) {
  return t->end == TE_END_UNSPENT || t->end == TE_END_BACK ? 2 : 3;
}

// Arguments that `t` adds behind `before` (NULL for the first).
static size_t count_args(const te_task *before, const te_task *t) {
  if (!is_plain(t)) return single_args(t);
  size_t head = before != NULL && go_together(before, t) ? 0
                : keeps_result(t)                        ? 4
                                                         : 3;
  return head + (keeps_result(t) ? 2 : 1);
}

size_t te_report_take(te_list *ended, te_list *told) {
  size_t args = 0;
  size_t bytes = 0;
  size_t costly = 0;
  const te_task *before = NULL;
  for (size_t n = 0; n < TE_REPORT_TASKS_MAX && bytes < TE_REPORT_BYTES_MAX;
       n++) {
    te_list *link = te_list_first(ended);
    if (link == NULL) break;
    te_task *t = task_of(link);
    te_list_remove(link);
    te_list_add_last(told, link);
    args += count_args(before, t);
    bytes += t->record_size;
    if (is_costly(t) && ++costly == TE_REPORT_COSTLY_MAX) break;
    before = t;
  }
  return args;
}

bool te_report_has_flow(const te_list *told) {
  te_list_each (link, told)
    if (is_node(task_of(link))) return true;
  return false;
}

typedef struct writer {
  te_report_arg add;
  void *arg;
} writer;

static void write_number(const writer *w, uint64_t v) {
  char text[24];
  int n = snprintf(text, sizeof(text), "%" PRIu64, v);
  w->add(w->arg, te_slice_of(text, (size_t)n));
}

static te_slice field_of(const te_task *t) {
  return te_slice_of(t->field, TE_FIELD_BYTES);
}

// The letter of a verdict or a delegation is the operation's.
static te_slice record_of(const te_task *t) {
  if (t->end == TE_END_RETRY || t->end == TE_END_DELEGATED)
    return te_slice_of(t->record + 1, t->record_size - 1);
  return te_slice_of(t->record, t->record_size);
}

static void write_single(const writer *w, const te_task *t) {
  char op = (char)t->end;
  w->add(w->arg, te_slice_of(&op, 1));
  w->add(w->arg, field_of(t));
  if (single_args(t) == 3) w->add(w->arg, record_of(t));
}

// Writes the run of tasks that starts at `first`; returns what follows it.
static te_list *write_run(const writer *w, te_list *first,
                          const te_list *told) {
  te_task *t = task_of(first);
  uint64_t n = 0;
  te_list *end = first;
  do {
    n++;
    end = end->next;
  } while (end != told && go_together(t, task_of(end)));

  bool keeps = keeps_result(t);
  w->add(w->arg, te_slice_str(is_node(t) ? "m" : keeps ? "s" : "d"));
  w->add(w->arg, t->envelope.queue);
  if (keeps) write_number(w, t->envelope.result_ttl_s);
  write_number(w, n);
  for (te_list *link = first; link != end; link = link->next) {
    w->add(w->arg, field_of(task_of(link)));
    if (keeps) w->add(w->arg, record_of(task_of(link)));
  }
  return end;
}

void te_report_write(te_list *told, te_report_arg add, void *arg) {
  writer w = {add, arg};
  te_list *link = told->next;
  while (link != told) {
    if (is_plain(task_of(link))) {
      link = write_run(&w, link, told);
    } else {
      write_single(&w, task_of(link));
      link = link->next;
    }
  }
  te_list_each (each, told)
    task_of(each)->is_told = true;
}
