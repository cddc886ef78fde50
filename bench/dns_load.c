/* A load generator for a DNS server: one socket, a window of questions under way, one thread.
 *
 *   dns_load --server ADDRESS --port P --name NAME [--window 64] [--seconds S]
 *
 * Asks for the name's address again and again; a question that is not answered within TIMEOUT_MS is lost, and another
 * takes its place. Prints one JSON object: questions, lost, failed (a code other than NOERROR, or no record), seconds,
 * per_second, p50_us, p99_us. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    WINDOW_MAX = 1024,
    QUESTION_MAX = 512,
    ANSWER_MAX = 1232,
    TIMEOUT_MS = 1000,
    LATENCIES_MAX = 1 << 25,
};

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static size_t make_question(uint8_t *out, const char *name)
{
    static const uint8_t head[12] = {0, 0, 1, 0, 0, 1};
    static const uint8_t tail[5] = {0, 0, 1, 0, 1};
    size_t size = sizeof(head);
    memcpy(out, head, sizeof(head));
    while (*name) {
        size_t length = strcspn(name, ".");
        if (!length || length > 63 || size + length + 1 + sizeof(tail) > QUESTION_MAX) {
            fprintf(stderr, "dns_load: this is no name\n");
            exit(2);
        }
        out[size++] = (uint8_t)length;
        memcpy(out + size, name, length);
        size += length;
        name += length + (name[length] == '.');
    }
    memcpy(out + size, tail, sizeof(tail));
    return size + sizeof(tail);
}

static struct {
    uint8_t questions[WINDOW_MAX][QUESTION_MAX];
    uint8_t answers[WINDOW_MAX][ANSWER_MAX];
    struct mmsghdr out[WINDOW_MAX], in[WINDOW_MAX];
    struct iovec out_vectors[WINDOW_MAX], in_vectors[WINDOW_MAX];
    int64_t asked[UINT16_MAX + 1]; /* by number; 0: not under way */
    uint32_t *latencies;           /* nanoseconds */
    size_t count, lost, failed;
} run;

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void send_questions(int fd, size_t size, size_t count, uint16_t *next)
{
    int64_t now = now_ns();
    for (size_t i = 0; i < count; i++, ++*next) {
        run.questions[i][0] = (uint8_t)(*next >> 8);
        run.questions[i][1] = (uint8_t)*next;
        run.asked[*next] = now;
        run.out_vectors[i].iov_len = size;
    }
    for (size_t sent = 0; sent < count;) {
        int n = sendmmsg(fd, run.out + sent, (unsigned)(count - sent), 0);
        if (n < 0 && errno != EINTR) {
            perror("dns_load: send");
            exit(1);
        }
        sent += n > 0 ? (size_t)n : 0;
    }
}

/* Returns how many places of the window are free again. */
static size_t receive_answers(int fd, size_t window)
{
    int n = recvmmsg(fd, run.in, (unsigned)window, MSG_WAITFORONE, NULL);
    int64_t now = now_ns();
    size_t known = 0;
    for (int i = 0; i < n; i++) {
        const uint8_t *answer = run.answers[i];
        uint16_t id = (uint16_t)(answer[0] << 8 | answer[1]);
        if (run.in[i].msg_len < 12 || !run.asked[id])
            continue;
        if (run.count < LATENCIES_MAX)
            run.latencies[run.count++] = (uint32_t)(now - run.asked[id]);
        run.failed += (answer[3] & 15) || !(answer[6] | answer[7]);
        run.asked[id] = 0;
        known++;
    }
    return known;
}

/* Nothing came for a while: what is under way is lost. */
static size_t give_up(void)
{
    size_t lost = 0;
    for (size_t i = 0; i <= UINT16_MAX; i++) {
        lost += run.asked[i] != 0;
        run.asked[i] = 0;
    }
    run.lost += lost;
    return lost;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"server", required_argument, NULL, 's'},
                                            {"port", required_argument, NULL, 'p'},
                                            {"name", required_argument, NULL, 'n'},
                                            {"window", required_argument, NULL, 'w'},
                                            {"seconds", required_argument, NULL, 't'},
                                            {0}};
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(53)};
    const char *name = NULL;
    size_t window = 64;
    double seconds = 5;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 's' && inet_pton(AF_INET, optarg, &server.sin_addr) == 1)
            continue;
        else if (option == 'p')
            server.sin_port = htons((uint16_t)atoi(optarg));
        else if (option == 'n')
            name = optarg;
        else if (option == 'w')
            window = strtoul(optarg, NULL, 10);
        else if (option == 't')
            seconds = atof(optarg);
        else
            return 2;
    }
    if (!name || !server.sin_addr.s_addr || !window || window > WINDOW_MAX || seconds <= 0) {
        fprintf(stderr, "usage: dns_load --server ADDRESS --name NAME [--port P] [--window 64] [--seconds 5]\n");
        return 2;
    }
    struct timeval timeout = {.tv_sec = TIMEOUT_MS / 1000};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof(server)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0) {
        perror("dns_load: connect");
        return 1;
    }
    run.latencies = malloc(LATENCIES_MAX * sizeof(*run.latencies));
    size_t size = make_question(run.questions[0], name);
    for (size_t i = 0; i < WINDOW_MAX; i++) {
        memcpy(run.questions[i], run.questions[0], size);
        run.out_vectors[i].iov_base = run.questions[i];
        run.out[i].msg_hdr = (struct msghdr){.msg_iov = &run.out_vectors[i], .msg_iovlen = 1};
        run.in_vectors[i] = (struct iovec){run.answers[i], ANSWER_MAX};
        run.in[i].msg_hdr = (struct msghdr){.msg_iov = &run.in_vectors[i], .msg_iovlen = 1};
    }
    uint16_t next = 0;
    int64_t start = now_ns(), end = start + (int64_t)(seconds * 1e9);
    for (size_t free_places = window; now_ns() < end;) {
        send_questions(fd, size, free_places, &next);
        free_places = receive_answers(fd, window);
        if (!free_places)
            free_places = give_up();
    }
    double took = (double)(now_ns() - start) / 1e9;
    if (!run.count) {
        fprintf(stderr, "dns_load: no answer\n");
        return 1;
    }
    qsort(run.latencies, run.count, sizeof(*run.latencies), compare);
    printf("{\"questions\": %zu, \"lost\": %zu, \"failed\": %zu, \"seconds\": %.3f, \"per_second\": %.0f, "
           "\"p50_us\": %.1f, \"p99_us\": %.1f}\n",
           run.count, run.lost, run.failed, took, (double)run.count / took, run.latencies[run.count / 2] / 1e3,
           run.latencies[run.count * 99 / 100] / 1e3);
    return 0;
}
