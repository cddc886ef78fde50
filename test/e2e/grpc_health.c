/* A server of grpc.health.v1.Health, for the gRPC probes of test_probes.py. One connection after the other.
 *
 *     grpc-health PORT [SERVICE=STATUS]...     STATUS by number: 1 SERVING, 2 NOT_SERVING; "=1" is the server as a
 * whole grpc-health PORT unimplemented           a server of gRPC that knows no health service
 */
#include <arpa/inet.h>
#include <nghttp2/nghttp2.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_MAX 256
#define PATH "/grpc.health.v1.Health/Check"

/* The codes of gRPC. */
enum { OK = 0, NOT_FOUND = 5, UNIMPLEMENTED = 12 };

static char **services; /* of the command line, up to NULL */

/* What one connection asks for; its client makes one call. */
struct call {
    int fd;
    bool known; /* the path is that of the health service */
    uint8_t request[REQUEST_MAX];
    size_t size;
    uint8_t answer[7]; /* the message with its head */
    size_t answer_size;
    char code[4];
};

static int status_of(const char *name)
{
    size_t n = strlen(name);
    for (char **s = services; *s; s++)
        if (strncmp(*s, name, n) == 0 && (*s)[n] == '=')
            return atoi(*s + n + 1);
    return -1;
}

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static ssize_t read_answer(nghttp2_session *session, int32_t stream, uint8_t *out, size_t room, uint32_t *flags,
                           nghttp2_data_source *source, void *context)
{
    struct call *call = source->ptr;
    nghttp2_nv trailer = field("grpc-status", call->code);
    memcpy(out, call->answer, call->answer_size);
    *flags = NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    nghttp2_submit_trailer(session, stream, &trailer, 1);
    return (ssize_t)call->answer_size;
}

/* The request is complete: five bytes of head, and the message {string service = 1}. */
static int answer(nghttp2_session *session, int32_t stream, struct call *call)
{
    char name[REQUEST_MAX] = "";
    if (call->size > 7 && call->request[5] == 0x0a && call->request[6] == call->size - 7)
        memcpy(name, call->request + 7, call->request[6]);
    bool implemented = call->known && strcmp(services[0], "unimplemented") != 0;
    int status = implemented ? status_of(name) : -1;
    snprintf(call->code, sizeof(call->code), "%d", status >= 0 ? OK : implemented ? NOT_FOUND : UNIMPLEMENTED);
    if (status >= 0) {
        memcpy(call->answer, (const uint8_t[]){0, 0, 0, 0, 2, 0x08, (uint8_t)status}, 7);
        call->answer_size = 7;
    }
    nghttp2_nv head[] = {field(":status", "200"), field("content-type", "application/grpc")};
    nghttp2_data_provider body = {.source.ptr = call, .read_callback = read_answer};
    return nghttp2_submit_response(session, stream, head, 2, &body);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                     const uint8_t *value, size_t size, uint8_t flags, void *context)
{
    struct call *call = context;
    if (name_size == 5 && memcmp(name, ":path", 5) == 0)
        call->known = size == strlen(PATH) && memcmp(value, PATH, size) == 0;
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t size,
                   void *context)
{
    struct call *call = context;
    if (call->size + size > sizeof(call->request))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    memcpy(call->request + call->size, data, size);
    call->size += size;
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        return answer(session, frame->hd.stream_id, context);
    return 0;
}

static ssize_t send_bytes(nghttp2_session *session, const uint8_t *data, size_t size, int flags, void *context)
{
    struct call *call = context;
    ssize_t n = send(call->fd, data, size, MSG_NOSIGNAL);
    return n < 0 ? NGHTTP2_ERR_CALLBACK_FAILURE : n;
}

static void serve(int fd, const nghttp2_session_callbacks *callbacks)
{
    struct call call = {.fd = fd};
    nghttp2_session *session;
    uint8_t block[4096];
    nghttp2_session_server_new(&session, callbacks, &call);
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, NULL, 0);
    for (ssize_t n = 0; nghttp2_session_send(session) == 0 && (n = recv(fd, block, sizeof(block), 0)) > 0;)
        if (nghttp2_session_mem_recv(session, block, (size_t)n) < 0)
            break;
    nghttp2_session_del(session);
    close(fd);
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    nghttp2_session_callbacks *callbacks;
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (argc < 3)
        return 2;
    signal(SIGTERM, _exit);
    services = argv + 2;
    address.sin_port = htons((uint16_t)atoi(argv[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listener, 8) < 0) {
        perror("listen");
        return 1;
    }
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_send_callback(callbacks, send_bytes);
    for (;;)
        serve(accept(listener, NULL, NULL), callbacks);
}
