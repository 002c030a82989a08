/*
 * log: one line for each thing worth knowing, on stderr.
 *
 * As text or as JSON, see logline.h.
 *
 * Each line is written at once, with one write. A busy worker gathers the
 * lines of one turn of its loop instead: te_log_gather(true), and
 * te_log_flush() in each turn. An error goes out at once even then, with all
 * that came before it. Whoever forks flushes first.
 *
 * A worker does not wait for who reads its stderr (scribe.h): lines that
 * find no room are left out, and a line says how many when there is room
 * again. What is left at exit gets a second to go out.
 */
#ifndef TE_LOG_H
#define TE_LOG_H

#include "logline.h"

#define TE_LOG_TEXT_BYTES_MAX   16384  // the rest of a longer text is cut
#define TE_LOG_WORKER_BYTES_MAX 128

typedef enum te_log_level {
  TE_LOG_DEBUG,
  TE_LOG_INFO,
  TE_LOG_WARN,
  TE_LOG_ERROR,
  TE_LOG_OFF,
} te_log_level;

// 0, or TE_EMALFORMED unless it is debug, info, warn, error or off.
int te_log_level_parse(te_slice name, te_log_level *out);

void te_log_set_level(te_log_level level);  // TE_LOG_INFO until then
bool te_log_enabled(te_log_level level);

void te_log(te_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

void te_log_bytes(te_log_level level, te_slice text);  // NULs and all

// Whatever the level; `about` may be NULL.
void te_log_always(te_log_level level, const te_log_about *about,
                   te_slice text);

void te_log_gather(bool gather);
void te_log_flush(void);

// Each line clears the terminal's line first: another process keeps its
// progress bar there.
void te_log_set_erases(bool whether);

// Each line is an object from now on, which names the worker: copied, and may
// be empty.
void te_log_set_json(bool whether, te_slice worker);

// In a process that was forked without executing a program: as at a start.
void te_log_forget(void);

#ifdef TE_TESTING
/*
 * Where whole lines go instead of stderr; NULL: to stderr again. `lines` is
 * borrowed for the call.
 */
typedef void (*te_log_sink)(void *arg, te_slice lines);
void te_log_set_sink(te_log_sink sink, void *arg);
#endif

#endif
