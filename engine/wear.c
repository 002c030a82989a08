#include "wear.h"

void te_wear_note_end(te_wear *w) {
  w->ended++;
  w->is_unlooked = true;
}

bool te_wear_is_to_look(const te_wear *w, const te_wear_limits *l) {
  return w->is_unlooked && l->memory_bytes_max > 0;
}

bool te_wear_is_to_look_now(const te_wear *w, const te_wear_limits *l,
                            uint64_t now_ms) {
  return te_wear_is_to_look(w, l) && now_ms - w->looked_ms >= TE_WEAR_PAUSE_MS;
}

void te_wear_note_memory(te_wear *w, const te_wear_limits *l, uint64_t bytes,
                         uint64_t now_ms) {
  w->looked_ms = now_ms;
  w->is_unlooked = false;
  w->too_many = bytes > l->memory_bytes_max ? bytes : 0;
}

uint64_t te_wear_left(const te_wear *w, const te_wear_limits *l,
                      size_t in_hand) {
  if (w->too_many > 0) return 0;
  if (l->tasks_max == 0) return UINT64_MAX;
  uint64_t given = w->ended + in_hand;
  return l->tasks_max > given ? l->tasks_max - given : 0;
}

bool te_wear_is_over(const te_wear *w, const te_wear_limits *l, size_t in_hand,
                     size_t open_slots) {
  return te_wear_left(w, l, in_hand) == 0 &&
         (w->too_many > 0 || open_slots > 0);
}

bool te_wear_is_soon(const te_wear *w, const te_wear_limits *l, double task_us,
                     uint64_t start_ms) {
  if (l->tasks_max == 0 || task_us <= 0) return false;
  if (w->ended >= l->tasks_max) return true;
  double left_us = (double)(l->tasks_max - w->ended) * task_us;
  return left_us < 2 * 1000 * (double)start_ms;
}
