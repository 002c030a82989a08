/*
 * news: what tasks say of themselves while they run, until Redis knows.
 *
 *   said --tell--> told --forget_told--> gone
 *     ^-tell_again-'
 *
 * Of each task only its last word counts: it takes the place of one that is
 * yet to be told. Words go together, and a while passes between one lot and
 * the next: a task that speaks all the time costs Redis no more than one that
 * speaks now and then. Logic only; a zeroed time is long ago.
 */
#ifndef TE_NEWS_H
#define TE_NEWS_H

#include "list.h"
#include "report.h"
#include "task.h"

#define TE_NEWS_PAUSE_MS  100                    // between two lots
#define TE_NEWS_MAX       1000                   // tasks in one
#define TE_NEWS_BYTES_MAX ((size_t)1024 * 1024)  // of words in one

typedef struct te_news {
  te_list said;  // tasks, the one that has waited longest first
  te_list told;  // in the round under way
  uint64_t told_ms;
} te_news;

void te_news_init(te_news *n);

// Takes a task's last word, which is copied. The task leaves by te_task_hush,
// at the latest when it is freed.
void te_news_say(te_news *n, te_task *t, te_slice word);

// In how many milliseconds there is something to be told; false: never.
bool te_news_wait(const te_news *n, uint64_t now_ms, uint64_t *wait_ms);

// Moves a lot from `said` to `told`, if it is time: until a limit is reached,
// so one task at least. Returns how many arguments
// of te1_finish it makes. From then on something is noted of these tasks in
// Redis (TE_FLAG_HAS_PAST).
size_t te_news_tell(te_news *n, uint64_t now_ms);
void te_news_write(const te_news *n, te_report_arg add, void *arg);

void te_news_forget_told(te_news *n);  // Redis has what was told
void te_news_tell_again(te_news *n);   // nobody knows whether it has
void te_news_drop(te_news *n);         // the tasks are somebody else's now

#endif
