#include "alarm.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include <uv.h>

// The kernel's name; glibc 2.36 has it under another one.
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_BOOL_LOCK_FREE == 2,
              "used in a signal handler");

static timer_t timer;
static te_alarm_ring *call;
static pid_t thread;               // whose alarm it is
static _Atomic uint64_t due_us;    // 0: never
static _Atomic uint64_t armed_us;  // when the timer goes off; 0: it does not
static atomic_bool is_rung;

uint64_t te_alarm_now_us(void) {
  return uv_hrtime() / 1000;
}

static void arm(uint64_t at_us) {
  struct itimerspec at = {
      .it_value = {.tv_sec = (time_t)(at_us / 1000000),
                   .tv_nsec = (long)(at_us % 1000000) * 1000}};
  armed_us = at_us;
  timer_settime(timer, TIMER_ABSTIME, &at, NULL);
}

// The timer may have been set for an earlier time than is of interest now. A
// ring that nobody hears here is left for who runs next: nothing is repeated.
static void on_signal(int number, siginfo_t *info, void *context) {
  (void)number, (void)context;
  int error = errno;
  // Who rings knows nothing of threads.
  if (gettid() != thread) {
    tgkill(getpid(), thread, SIGRTMIN);
    errno = error;
    return;
  }
  uint64_t due = due_us;
  uint64_t now = te_alarm_now_us();
  bool is_due = due != 0 && due <= now;
  armed_us = 0;
  if (info->si_code != SI_TIMER) is_rung = true;
  bool is_heard = (is_due || is_rung) && call();
  if (is_due || (is_rung && is_heard)) {
    arm(now + TE_ALARM_AGAIN_US);
  } else if (due != 0) {
    arm(due);
  }
  errno = error;
}

bool te_alarm_is_rung(void) {
  return is_rung;
}

bool te_alarm_is_due(void) {
  uint64_t due = due_us;
  return is_rung || (due != 0 && due <= te_alarm_now_us());
}

bool te_alarm_answer(void) {
  return atomic_exchange(&is_rung, false);
}

void te_alarm_ring_here(void) {
  is_rung = true;
}

int te_alarm_signal(void) {
  return SIGRTMIN;
}

int te_alarm_start(te_alarm_ring *ring) {
  struct sigaction action = {.sa_sigaction = on_signal,
                             .sa_flags = SA_RESTART | SA_SIGINFO};
  struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID,
                           .sigev_signo = SIGRTMIN};
  event.sigev_notify_thread_id = thread = gettid();
  call = ring;
  sigemptyset(&action.sa_mask);
  if (sigaction(SIGRTMIN, &action, NULL) < 0) return -errno;
  return timer_create(CLOCK_MONOTONIC, &event, &timer) < 0 ? -errno : 0;
}

void te_alarm_stop(void) {
  due_us = armed_us = 0;
  signal(SIGRTMIN, SIG_IGN);
  timer_delete(timer);
}

void te_alarm_set(uint64_t at_us) {
  due_us = at_us;
  uint64_t armed = armed_us;
  if (at_us != 0 && (armed == 0 || armed > at_us)) arm(at_us);
}
