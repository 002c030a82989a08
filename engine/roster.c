#include "roster.h"

#include <assert.h>

#define SEATS_EACH 3  // for a child, and others that leave

static_assert(SEATS_EACH * TE_PROCESSES_MAX <= TE_CHILDREN_MAX, "indexes");

typedef bool test(const te_roster *r, const te_member *m);

static bool is_current(const te_roster *r, const te_member *m) {
  (void)r;
  return m->is_there && !m->is_leaving;
}

static bool is_current_and_ready(const te_roster *r, const te_member *m) {
  return is_current(r, m) && m->is_ready;
}

// Loads, or has loaded, files of before a reload.
static bool is_stale(const te_roster *r, const te_member *m) {
  return is_current(r, m) && m->generation != r->generation;
}

static bool is_new(const te_roster *r, const te_member *m) {
  return is_current(r, m) && m->generation == r->generation;
}

static bool is_new_and_ready(const te_roster *r, const te_member *m) {
  return is_new(r, m) && m->is_ready;
}

static bool is_new_to_stay(const te_roster *r, const te_member *m) {
  return is_new(r, m) && !m->is_due;
}

static bool is_leaving(const te_roster *r, const te_member *m) {
  (void)r;
  return m->is_there && m->is_leaving;
}

static unsigned count(const te_roster *r, test *is_one) {
  unsigned n = 0;
  for (unsigned i = 0; i < r->seats; i++)
    if (is_one(r, &r->members[i])) n++;
  return n;
}

static unsigned less(unsigned a, unsigned b) {
  return a > b ? a - b : 0;
}

void te_roster_init(te_roster *r, unsigned processes) {
  assert(processes > 0 && processes <= TE_PROCESSES_MAX);
  *r = (te_roster){.processes = processes, .seats = SEATS_EACH * processes};
  r->members = te_alloc_zero(r->seats, sizeof(*r->members));
}

void te_roster_free(te_roster *r) {
  te_free(r->members);
}

/*
 * For each that is to leave another one, so that there are twice as many at
 * most. While the probe loads, others are for those alone that have died.
 */
unsigned te_roster_missing(const te_roster *r) {
  unsigned current = count(r, is_current);
  if (current < r->processes) return r->processes - current;
  if (r->is_probing) return count(r, is_new) == 0 ? 1 : 0;
  unsigned wanted = less(r->processes, count(r, is_new_to_stay));
  unsigned most = less(2 * r->processes, current);
  return wanted < most ? wanted : most;
}

unsigned te_roster_free_seat(const te_roster *r) {
  for (unsigned i = 0; i < r->seats; i++)
    if (!r->members[i].is_there) return i;
  return TE_ROSTER_NO_SEAT;
}

te_child_ref te_roster_seat(te_roster *r, unsigned index) {
  assert(index < r->seats && !r->members[index].is_there);
  r->members[index] = (te_member){
      .serial = ++r->serial, .generation = r->generation, .is_there = true};
  return te_roster_ref(r, index);
}

void te_roster_leave_seat(te_roster *r, unsigned index) {
  assert(r->members[index].is_there);
  r->members[index].is_there = false;
}

te_child_ref te_roster_ref(const te_roster *r, unsigned index) {
  return (te_child_ref){index, r->members[index].serial};
}

bool te_roster_has(const te_roster *r, te_child_ref ref) {
  if (ref.index >= r->seats) return false;
  const te_member *m = &r->members[ref.index];
  return m->is_there && m->serial == ref.serial;
}

bool te_roster_is_ready(const te_roster *r, unsigned index) {
  return is_current_and_ready(r, &r->members[index]);
}

bool te_roster_is_leaving(const te_roster *r, unsigned index) {
  return is_leaving(r, &r->members[index]);
}

bool te_roster_is_probe(const te_roster *r, unsigned index) {
  return r->is_probing && is_new(r, &r->members[index]);
}

unsigned te_roster_leaving(const te_roster *r) {
  return count(r, is_leaving);
}

unsigned te_roster_spare(const te_roster *r) {
  return less(count(r, is_current_and_ready), r->processes);
}

bool te_roster_can_replace(const te_roster *r) {
  return count(r, is_current) > r->processes ||
         te_roster_free_seat(r) != TE_ROSTER_NO_SEAT;
}

void te_roster_reload(te_roster *r) {
  r->generation++;
  r->is_probing = true;
  r->is_replacing = false;
}

void te_roster_note_loaded(te_roster *r) {
  r->is_probing = false;
  r->is_replacing = true;
}

void te_roster_note_failed(te_roster *r) {
  r->is_probing = false;
  for (unsigned i = 0; i < r->seats; i++)
    r->members[i].generation = r->generation;
}

bool te_roster_may_leave(const te_roster *r, unsigned index) {
  const te_member *m = &r->members[index];
  if (!r->is_replacing || !is_stale(r, m)) return false;
  return count(r, is_new_and_ready) >= r->processes ||
         (m->is_ready && te_roster_spare(r) > 0);
}

bool te_roster_check_replaced(te_roster *r) {
  if (!r->is_replacing || count(r, is_stale) > 0) return false;
  r->is_replacing = false;
  return true;
}
