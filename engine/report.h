/*
 * report: ended tasks as the arguments of one te1_finish.
 *
 * Plain successes that follow one another with the same queue and time to
 * live go as one operation; all else goes one by one. A task that was told
 * once already is sent as an operation of its own, which is exact however
 * often it is repeated. Logic only.
 */
#ifndef TE_REPORT_H
#define TE_REPORT_H

#include "list.h"
#include "task.h"

#define TE_REPORT_TASKS_MAX  1000
// Of those, what keeps Redis the longest: nodes of flows, and all but successes
// and what is handed back.
#define TE_REPORT_COSTLY_MAX 250
#define TE_REPORT_BYTES_MAX  ((size_t)4 * 1024 * 1024)  // of records

// Takes argument by argument, in order; borrowed for the call.
typedef void (*te_report_arg)(void *arg, te_slice s);

/*
 * Moves tasks from the front of `ended` to the end of `told` until a limit is
 * reached (one task is always moved). Returns how many arguments they make.
 */
size_t te_report_take(te_list *ended, te_list *told);

// Whether any task in `told` is one of a flow, so that its end may release
// others.
bool te_report_has_flow(const te_list *told);

// Writes the arguments of all tasks in `told` and marks them as told.
void te_report_write(te_list *told, te_report_arg add, void *arg);

#endif
