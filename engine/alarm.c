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

static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "used in a signal handler");

static timer_t timer;
static te_alarm_ring *call;
static _Atomic uint64_t due_us;    // 0: never
static _Atomic uint64_t armed_us;  // when the timer goes off; 0: it does not

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

// The timer may have been set for an earlier time than is of interest now.
static void on_signal(int number) {
  (void)number;
  int error = errno;
  uint64_t due = due_us;
  armed_us = 0;
  if (due != 0) {
    uint64_t now = te_alarm_now_us();
    if (due <= now) call();
    arm(due > now ? due : now + TE_ALARM_AGAIN_US);
  }
  errno = error;
}

int te_alarm_start(te_alarm_ring *ring) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID,
                           .sigev_signo = SIGRTMIN};
  event.sigev_notify_thread_id = gettid();
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
