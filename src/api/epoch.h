/* The one instant that an int64_t of microseconds cannot tell apart from "not set" (base/timestamp.h). */
#ifndef CORACLE_API_EPOCH_H
#define CORACLE_API_EPOCH_H

#include <stdint.h>

/* 1970-01-01T00:00:00Z as a metav1.Time that is set: a microsecond later, which whole seconds do not show. Both codecs
 * read the epoch as this. Upstream tells its zero time, the year 1, from the epoch; MicroTime has no such stand-in. */
#define TIME_EPOCH INT64_C(1)

#endif
