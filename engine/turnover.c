#include "turnover.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "log.h"

#define MIB (1024.0 * 1024)

struct te_turnover {
  te_crew *crew;
  const te_hand *hands;
  unsigned slots;
  te_wear_limits limits;
  bool is_warned;  // that the limit is less than any child has
  te_wear *wear;   // by the index of the child
};

te_turnover *te_turnover_new(te_crew *crew, const te_hand *hands,
                             unsigned slots) {
  te_turnover *t = te_alloc_zero(1, sizeof(*t));
  t->crew = crew;
  t->hands = hands;
  t->slots = slots;
  t->wear = te_alloc_zero(te_crew_seats(crew), sizeof(*t->wear));
  return t;
}

void te_turnover_free(te_turnover *t) {
  te_free(t->wear);
  te_free(t);
}

void te_turnover_set_limits(te_turnover *t, const te_wear_limits *limits) {
  t->limits = *limits;
  t->is_warned = false;
}

void te_turnover_note_end(te_turnover *t, unsigned child) {
  te_wear_note_end(&t->wear[child]);
}

size_t te_turnover_room(const te_turnover *t, unsigned child, size_t room) {
  uint64_t left =
      te_wear_left(&t->wear[child], &t->limits, t->hands[child].count);
  if (left >= room || !te_crew_can_replace(t->crew)) return room;
  return (size_t)left;
}

// 0 when it cannot be read: the process is gone.
static uint64_t read_memory(int pid) {
  char path[32];
  uint64_t pages = 0;
  snprintf(path, sizeof(path), "/proc/%d/statm", pid);
  FILE *file = fopen(path, "re");
  if (file == NULL) return 0;
  if (fscanf(file, "%*u %" SCNu64, &pages) != 1) pages = 0;
  fclose(file);
  return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

// One that has too much from the start is replaced again and again.
static void check_first(te_turnover *t, unsigned child) {
  if (t->limits.memory_bytes_max == 0 || t->is_warned) return;
  uint64_t bytes = read_memory(te_crew_pid(t->crew, child));
  if (bytes <= t->limits.memory_bytes_max) return;
  t->is_warned = true;
  te_log(TE_LOG_WARN,
         "max_memory_per_child is %.1f MiB, and a child that has only loaded "
         "its files has come to %.1f MiB: each is replaced after its first "
         "tasks",
         (double)t->limits.memory_bytes_max / MIB, (double)bytes / MIB);
}

void te_turnover_start(te_turnover *t, unsigned child) {
  t->wear[child] = (te_wear){0};
  check_first(t, child);
}

static void look(te_turnover *t, unsigned child, uint64_t now_ms) {
  te_wear *w = &t->wear[child];
  if (!te_wear_is_to_look_now(w, &t->limits, now_ms)) return;
  uint64_t bytes = read_memory(te_crew_pid(t->crew, child));
  te_wear_note_memory(w, &t->limits, bytes, now_ms);
}

static void leave(te_turnover *t, unsigned child) {
  const te_wear *w = &t->wear[child];
  if (w->too_many > 0) {
    te_log(TE_LOG_INFO, "child %u is replaced: it has come to %.1f MiB", child,
           (double)w->too_many / MIB);
  } else {
    te_log(TE_LOG_DEBUG, "child %u is replaced: it has run %" PRIu64 " tasks",
           child, w->ended);
  }
  te_crew_leave(t->crew, child);
}

bool te_turnover_check(te_turnover *t, unsigned child, double mean_us,
                       uint64_t now_ms) {
  if (!te_crew_is_ready(t->crew, child)) return false;
  look(t, child, now_ms);
  const te_wear *w = &t->wear[child];
  const te_hand *h = &t->hands[child];
  bool is_over =
      te_wear_is_over(w, &t->limits, h->count, te_hand_open_slots(h, t->slots));
  if (is_over && te_crew_has_spare(t->crew)) {
    leave(t, child);
    return false;
  }
  if (is_over || te_wear_is_soon(w, &t->limits, mean_us / t->slots,
                                 te_crew_start_ms(t->crew)))
    te_crew_prepare(t->crew, child);
  return te_wear_is_to_look(w, &t->limits);
}
