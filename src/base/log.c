/* One write(2) per line, so lines of several threads do not mix. */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static atomic_int maximum = LOG_WARNING;

void log_set_level(enum log_level level)
{
    atomic_store(&maximum, level);
}

enum log_level log_level(void)
{
    return (enum log_level)atomic_load(&maximum);
}

void log_write(enum log_level level, const char *format, ...)
{
    static const char letters[] = "EWID";
    if (level > log_level())
        return;
    char line[LOG_LINE_MAX];
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    int n = snprintf(line, sizeof(line), "%c %02d:%02d:%02d.%03ld ", letters[level], utc.tm_hour, utc.tm_min,
                     utc.tm_sec, now.tv_nsec / 1000000);
    va_list args;
    va_start(args, format);
    int more = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, args);
    va_end(args);
    if (more > 0)
        n += more < (int)sizeof(line) - n - 1 ? more : (int)sizeof(line) - n - 2;
    line[n++] = '\n';
    if (write(STDERR_FILENO, line, (size_t)n) < 0)
        return; /* nowhere left to say it */
}
