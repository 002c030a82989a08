#include "news.h"

#define ARGS 3  // of an operation

static te_task *task_of(te_list *link) {
  return te_container_of(link, te_task, news);
}

void te_news_init(te_news *n) {
  te_list_init(&n->said);
  te_list_init(&n->told);
  n->told_ms = 0;
}

void te_news_say(te_news *n, te_task *t, te_slice word) {
  bool is_new = t->word == NULL || t->is_word_told;
  te_free(t->word);
  t->word = te_slice_dup(word);
  t->word_size = word.size;
  t->is_word_told = false;
  if (!is_new) return;  // it keeps its place
  te_list_remove(&t->news);
  te_list_add_last(&n->said, &t->news);
}

bool te_news_wait(const te_news *n, uint64_t now_ms, uint64_t *wait_ms) {
  uint64_t due_ms = n->told_ms + TE_NEWS_PAUSE_MS;
  *wait_ms = n->told_ms == 0 || due_ms <= now_ms ? 0 : due_ms - now_ms;
  return !te_list_is_empty(&n->said);
}

size_t te_news_tell(te_news *n, uint64_t now_ms) {
  uint64_t wait_ms;
  if (!te_news_wait(n, now_ms, &wait_ms) || wait_ms > 0) return 0;
  size_t count = 0;
  size_t bytes = 0;
  while (count < TE_NEWS_MAX && bytes < TE_NEWS_BYTES_MAX) {
    te_list *link = te_list_first(&n->said);
    if (link == NULL) break;
    te_task *t = task_of(link);
    te_list_remove(link);
    te_list_add_last(&n->told, link);
    t->is_word_told = true;
    t->envelope.flags |= TE_FLAG_HAS_PAST;
    count++;
    bytes += t->word_size;
  }
  n->told_ms = now_ms;
  return count * ARGS;
}

void te_news_write(const te_news *n, te_report_arg add, void *arg) {
  te_list_each (link, &n->told) {
    const te_task *t = task_of(link);
    add(arg, te_slice_str("p"));
    add(arg, te_slice_of(t->field, TE_FIELD_BYTES));
    add(arg, te_slice_of(t->word, t->word_size));
  }
}

static void hush_all(te_list *list) {
  te_list_each (link, list)
    te_task_hush(task_of(link));
}

void te_news_forget_told(te_news *n) {
  hush_all(&n->told);
}

void te_news_tell_again(te_news *n) {
  te_list *link;
  while ((link = te_list_last(&n->told)) != NULL) {
    task_of(link)->is_word_told = false;
    te_list_remove(link);
    te_list_add_first(&n->said, link);
  }
}

void te_news_drop(te_news *n) {
  hush_all(&n->told);
  hush_all(&n->said);
}
