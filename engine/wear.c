#include "wear.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "log.h"

#define MIB (1024.0 * 1024)

// Of one child.
typedef struct state {
  uint64_t ended;      // tasks
  uint64_t looked_ms;  // at its memory
  bool is_unlooked;    // a task has ended since
  uint64_t too_many;   // bytes, when it has come to more than the limit
} state;

struct te_wear {
  te_crew *crew;
  const te_hand *hands;
  unsigned slots;
  te_wear_limits limits;
  bool is_warned;  // that the limit is less than any child has
  state *states;   // by the index of the child
};

te_wear *te_wear_new(te_crew *crew, const te_hand *hands, unsigned slots) {
  te_wear *w = te_alloc_zero(1, sizeof(*w));
  w->crew = crew;
  w->hands = hands;
  w->slots = slots;
  w->states = te_alloc_zero(te_crew_seats(crew), sizeof(*w->states));
  return w;
}

void te_wear_free(te_wear *w) {
  te_free(w->states);
  te_free(w);
}

void te_wear_set_limits(te_wear *w, const te_wear_limits *limits) {
  w->limits = *limits;
  w->is_warned = false;
}

void te_wear_note_end(te_wear *w, unsigned child) {
  w->states[child].ended++;
  w->states[child].is_unlooked = true;
}

// How many more tasks it may be given.
static uint64_t left_to_give(const te_wear *w, unsigned child) {
  if (w->states[child].too_many > 0) return 0;
  if (w->limits.tasks_max == 0) return UINT64_MAX;
  uint64_t given = w->states[child].ended + w->hands[child].count;
  return w->limits.tasks_max > given ? w->limits.tasks_max - given : 0;
}

size_t te_wear_room(const te_wear *w, unsigned child, size_t room) {
  uint64_t left = left_to_give(w, child);
  if (left >= room || !te_crew_can_replace(w->crew)) return room;
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
static void check_first(te_wear *w, unsigned child) {
  if (w->limits.memory_bytes_max == 0 || w->is_warned) return;
  uint64_t bytes = read_memory(te_crew_pid(w->crew, child));
  if (bytes <= w->limits.memory_bytes_max) return;
  w->is_warned = true;
  te_log(TE_LOG_WARN,
         "max_memory_per_child is %.1f MiB, and a child that has only loaded "
         "its files has come to %.1f MiB: each is replaced after its first "
         "tasks",
         (double)w->limits.memory_bytes_max / MIB, (double)bytes / MIB);
}

void te_wear_start(te_wear *w, unsigned child) {
  w->states[child] = (state){0};
  check_first(w, child);
}

static bool is_to_look(const te_wear *w, const state *s) {
  return s->is_unlooked && w->limits.memory_bytes_max > 0;
}

static void look(te_wear *w, unsigned child, uint64_t now_ms) {
  state *s = &w->states[child];
  if (!is_to_look(w, s) || now_ms - s->looked_ms < TE_WEAR_PAUSE_MS) return;
  s->looked_ms = now_ms;
  s->is_unlooked = false;
  uint64_t bytes = read_memory(te_crew_pid(w->crew, child));
  s->too_many = bytes > w->limits.memory_bytes_max ? bytes : 0;
}

// While all of its slots are busy, another would not help.
static bool has_done_enough(const te_wear *w, unsigned child) {
  return left_to_give(w, child) == 0 &&
         (w->states[child].too_many > 0 ||
          te_hand_open_slots(&w->hands[child], w->slots) > 0);
}

// Within the time that another takes to start; twice, as several may start.
static bool is_soon(const te_wear *w, unsigned child, double mean_us) {
  uint64_t ended = w->states[child].ended;
  if (w->limits.tasks_max == 0 || mean_us <= 0) return false;
  if (ended >= w->limits.tasks_max) return true;
  double left_us = (double)(w->limits.tasks_max - ended) * mean_us / w->slots;
  return left_us < 2 * 1000 * (double)te_crew_start_ms(w->crew);
}

static void leave(te_wear *w, unsigned child) {
  const state *s = &w->states[child];
  if (s->too_many > 0) {
    te_log(TE_LOG_INFO, "child %u is replaced: it has come to %.1f MiB", child,
           (double)s->too_many / MIB);
  } else {
    te_log(TE_LOG_DEBUG, "child %u is replaced: it has run %" PRIu64 " tasks",
           child, s->ended);
  }
  te_crew_leave(w->crew, child);
}

bool te_wear_check(te_wear *w, unsigned child, double mean_us,
                   uint64_t now_ms) {
  if (!te_crew_is_ready(w->crew, child)) return false;
  look(w, child, now_ms);
  bool is_done = has_done_enough(w, child);
  if (is_done && te_crew_has_spare(w->crew)) {
    leave(w, child);
    return false;
  }
  if (is_done || is_soon(w, child, mean_us)) te_crew_prepare(w->crew, child);
  return is_to_look(w, &w->states[child]);
}
