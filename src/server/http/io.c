/* The I/O thread: loop, deadlines, flushing, the way to the end. */
#include "server/http/io.h"

#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "server/http/connection.h"
#include "server/http/request.h"
#include "server/http/tls.h"

/* ---- Deadlines ---- */

static uint64_t class_milliseconds(const struct io_thread *io, enum deadline_class class)
{
    const struct http_limits *l = io->limits;
    const int64_t durations[DEADLINE_CLASSES] = {
        [DEADLINE_HEADER] = l->header_timeout, [DEADLINE_BODY] = l->body_timeout,     [DEADLINE_IDLE] = l->idle_timeout,
        [DEADLINE_WRITE] = l->write_timeout,   [DEADLINE_LINGER] = l->linger_timeout,
    };
    return (uint64_t)(durations[class] + 999) / 1000;
}

void io_deadline_init(struct deadline *deadline, struct connection *connection, struct request *request)
{
    list_init(&deadline->node);
    deadline->class = DEADLINE_NONE;
    deadline->connection = connection;
    deadline->request = request;
}

static void clock_fired(uv_timer_t *timer);

/* Sets the timer for the earliest deadline. */
static void set_clock(struct io_thread *io)
{
    uint64_t earliest = UINT64_MAX;
    for (int i = 0; i < DEADLINE_CLASSES; i++) {
        if (list_empty(&io->deadlines[i]))
            continue;
        struct deadline *first = list_entry(io->deadlines[i].next, struct deadline, node);
        if (first->at < earliest)
            earliest = first->at;
    }
    if (earliest == UINT64_MAX)
        return;
    uint64_t now = uv_now(&io->loop);
    uv_timer_start(&io->clock, clock_fired, earliest > now ? earliest - now : 0, 0);
}

static void clock_fired(uv_timer_t *timer)
{
    struct io_thread *io = timer->data;
    uint64_t now = uv_now(&io->loop);
    for (int i = 0; i < DEADLINE_CLASSES; i++) {
        while (!list_empty(&io->deadlines[i])) {
            struct deadline *first = list_entry(io->deadlines[i].next, struct deadline, node);
            if (first->at > now)
                break;
            list_remove(&first->node);
            first->class = DEADLINE_NONE;
            connection_expire(first->connection, first);
        }
    }
    set_clock(io);
}

void io_deadline_set(struct io_thread *io, struct deadline *deadline, enum deadline_class class)
{
    list_remove(&deadline->node);
    deadline->class = class;
    if (class == DEADLINE_NONE)
        return;
    /* Behind others of its class it ends later than they do, so the timer is set already. */
    bool first = list_empty(&io->deadlines[class]);
    deadline->at = uv_now(&io->loop) + class_milliseconds(io, class);
    list_append(&io->deadlines[class], &deadline->node);
    if (first &&
        (!uv_is_active((uv_handle_t *)&io->clock) || uv_timer_get_due_in(&io->clock) > class_milliseconds(io, class)))
        set_clock(io);
}

/* ---- Life ---- */

static void flush_dirty(uv_prepare_t *handle)
{
    struct io_thread *io = handle->data;
    while (!list_empty(&io->dirty)) {
        struct connection *connection = list_entry(io->dirty.next, struct connection, dirty);
        list_remove(&connection->dirty);
        connection_flush(connection);
    }
}

int io_init(struct io_thread *io, struct http_server *server, const struct http_limits *limits, unsigned index,
            struct error *err)
{
    *io = (struct io_thread){.server = server, .limits = limits, .index = index};
    int failed = uv_loop_init(&io->loop);
    if (failed)
        return error_set(err, -failed, "start an I/O thread's event loop: %s", uv_strerror(failed));
    io->mailbox = mailbox_new(&io->loop);
    uv_prepare_init(&io->loop, &io->flush);
    uv_timer_init(&io->loop, &io->clock);
    uv_timer_init(&io->loop, &io->shutdown);
    io->flush.data = io->clock.data = io->shutdown.data = io;
    uv_prepare_start(&io->flush, flush_dirty);
    list_init(&io->connections);
    list_init(&io->dirty);
    for (int i = 0; i < DEADLINE_CLASSES; i++)
        list_init(&io->deadlines[i]);
    io->received = mem_alloc(IO_RECEIVE_MAX);
    io->plain = mem_alloc(IO_PLAIN_MAX);
    io->staging = mem_alloc(IO_RECORD_MAX);
    return 0;
}

static void finish(struct io_thread *io)
{
    io->finished = true;
    mailbox_free(io->mailbox);
    uv_close((uv_handle_t *)&io->flush, NULL);
    uv_close((uv_handle_t *)&io->clock, NULL);
    uv_close((uv_handle_t *)&io->shutdown, NULL);
}

void io_destroy(struct io_thread *io)
{
    if (!io->finished)
        finish(io);
    uv_run(&io->loop, UV_RUN_DEFAULT);
    uv_loop_close(&io->loop);
    while (io->pool) {
        struct request *request = io->pool;
        io->pool = request->public.context;
        buffer_free(&request->text);
        buffer_free(&request->decoded);
        buffer_free(&request->body);
        buffer_free(&request->response);
        vector_free(&request->headers);
        vector_free(&request->parameters);
        free(request);
    }
    buffer_free(&io->outgoing);
    buffer_free(&io->head);
    free(io->received);
    free(io->plain);
    free(io->staging);
}

void io_run(struct io_thread *io)
{
    io->self = pthread_self();
    uv_run(&io->loop, UV_RUN_DEFAULT);
    io_destroy(io);
    server_thread_finished(io->server);
}

void io_check_finished(struct io_thread *io)
{
    if (io->stopping && !io->finished && !io->live && list_empty(&io->connections))
        finish(io);
}

void io_adopt(void *context)
{
    struct io_arrival *arrival = context;
    struct io_thread *io = arrival->io;
    struct ssl_ctx_st *tls = arrival->plain || io->stopping ? NULL : server_tls(io->server);
    if (io->stopping || (!tls && !arrival->plain)) {
        close(arrival->fd);
        server_connection_closed(io);
    } else {
        connection_new(io, arrival, tls);
    }
    SSL_CTX_free(tls);
    free(arrival);
}

static void shutdown_over(uv_timer_t *timer)
{
    struct io_thread *io = timer->data;
    while (!list_empty(&io->connections))
        connection_close(list_entry(io->connections.next, struct connection, node));
    io_check_finished(io);
}

void io_stop(void *context)
{
    struct io_thread *io = context;
    struct connection *connection;
    io->stopping = true;
    list_for_each(&io->connections, connection, node) connection_stop(connection);
    uv_timer_start(&io->shutdown, shutdown_over, (uint64_t)io->limits->shutdown_timeout / 1000, 0);
    io_check_finished(io);
}

/* ---- Odds and ends ---- */

const char *io_date(struct io_thread *io, size_t *size)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != io->date_second) {
        static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
        static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
        struct tm t;
        gmtime_r(&now.tv_sec, &t);
        int n = snprintf(io->date, sizeof(io->date), "Date: %s, %02d %s %d %02d:%02d:%02d GMT\r\n", days[t.tm_wday],
                         t.tm_mday, months[t.tm_mon], t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
        io->date_size = (size_t)n;
        io->date_second = now.tv_sec;
    }
    *size = io->date_size;
    return io->date;
}
