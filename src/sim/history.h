/* What happened in a simulation: a hash over all of it, so that two runs can be compared, and the last part in full,
 * to be read when something went wrong. */
#ifndef CORACLE_SIM_HISTORY_H
#define CORACLE_SIM_HISTORY_H

#include <stdio.h>

#include "base/env.h"
#include "store/store.h"

/* Entries that are kept to be read. */
#define SIM_HISTORY_MAX 400

struct sim_history;

/* out: where every entry is written as it comes; NULL: nowhere. */
struct sim_history *sim_history_new(struct env *env, FILE *out);
void sim_history_free(struct sim_history *history);
/* A committed write. */
void sim_history_write(struct sim_history *history, const struct store_event *event);
/* Something that a user or a fault did. */
void sim_history_note(struct sim_history *history, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* FNV-1a over all entries: times, kinds, names, uids, revisions, generations. */
uint64_t sim_history_hash(const struct sim_history *history);
uint64_t sim_history_count(const struct sim_history *history);
/* Writes the last entries. */
void sim_history_print(const struct sim_history *history, FILE *out);

#endif
