/* Instants and durations, both as microseconds in an int64_t. An instant counts from the Unix epoch;
 * 0 means "not set". Nothing here reads a clock: the time is handed in (see base/env.h). */
#ifndef CORACLE_BASE_TIMESTAMP_H
#define CORACLE_BASE_TIMESTAMP_H

#include <stddef.h>
#include <stdint.h>

#define MILLISECOND INT64_C(1000)
#define SECOND (1000 * MILLISECOND)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)

/* Room for any text that this header makes, with its NUL. */
#define TIME_TEXT_MAX 40

/* "2026-01-02T15:04:05Z", as metav1.Time is written. Returns the length. */
size_t time_format(int64_t instant, char out[TIME_TEXT_MAX]);
/* "2026-01-02T15:04:05.000000Z", as metav1.MicroTime is written. */
size_t time_format_micro(int64_t instant, char out[TIME_TEXT_MAX]);
/* "2026-01-02T15:04:05.000000000Z", as log lines and `kubectl logs --timestamps` carry it. */
size_t time_format_nano(int64_t instant, char out[TIME_TEXT_MAX]);
/* Reads RFC 3339 with any fraction and offset. Returns 0, or -1 when the text is not one. */
int time_parse(const char *text, int64_t *instant);
/* As Go prints a time.Duration: "1m0s", "1.5s", "10s", "100ms". */
size_t duration_format(int64_t duration, char out[TIME_TEXT_MAX]);

#endif
