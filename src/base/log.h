/* The process's own log, on standard error: one line per event, the level first, whole sentences.
 * Any thread may call. A line longer than LOG_LINE_MAX is cut. */
#ifndef CORACLE_BASE_LOG_H
#define CORACLE_BASE_LOG_H

#define LOG_LINE_MAX 2048

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

/* Lines above this level are dropped. The default is LOG_WARNING. */
void log_set_level(enum log_level level);
enum log_level log_level(void);
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...)                                                                                                 \
    do {                                                                                                               \
        if (log_level() >= LOG_DEBUG)                                                                                  \
            log_write(LOG_DEBUG, __VA_ARGS__);                                                                         \
    } while (0)

#endif
