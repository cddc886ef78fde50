#include "server/node_proxy.h"

#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/selector.h"
#include "base/cleanup.h"
#include "base/text.h"

#define TEXT "text/plain; charset=utf-8"

bool node_proxy_is_agent(const struct node *node, const char *port)
{
    int number = node->status.daemon_endpoints.kubelet_endpoint.port;
    return !*port || atoi(port) == (number ? number : KUBELET_PORT);
}

static void answer_text(struct node_answer *answer, int status, const char *text)
{
    answer->status = status;
    answer->content_type = TEXT;
    buffer_add_string(&answer->body, text);
    answer->done(answer->context);
}

static void got_pods(void *context, const struct client_result *result)
{
    struct node_answer *answer = context;
    if (!client_ok(result)) {
        answer_text(answer, 500, result->status ? text_or_empty(result->status->message) : "");
        return;
    }
    answer->status = 200;
    answer->content_type = "application/json";
    buffer_add_string(&answer->body, "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":[");
    for (size_t i = 0; i < result->count; i++) {
        size_t size;
        const char *json = object_json(result->items[i], &size);
        if (i)
            buffer_add_char(&answer->body, ',');
        buffer_add(&answer->body, json, size);
    }
    buffer_add_string(&answer->body, "]}");
    answer->done(answer->context);
}

static void list_pods(struct client *client, const char *node, struct node_answer *answer)
{
    struct client_request *request = client_request_new(CLIENT_LIST, &api_resources[API_PODS], NULL, NULL);
    struct error err;
    if (field_selector_parse(request->arena, arena_printf(request->arena, "spec.nodeName=%s", node),
                             &request->field_selector, &err) < 0) {
        client_request_free(request);
        answer_text(answer, 500, err.text);
        return;
    }
    client_submit(client, request, got_pods, answer);
}

/* A node that cannot say is one that nobody reaches, as far as the client can tell. */
static void measured(void *context, const struct node_usage *usage)
{
    struct node_answer *answer = context;
    if (!usage || !text_equal(usage->name, answer->node)) {
        answer_text(answer, 503, "the node cannot say what it uses\n");
        return;
    }
    answer->status = 200;
    answer->write(usage, &answer->body);
    answer->done(answer->context);
}

static void measure(const struct server_node_access *access, struct node_answer *answer)
{
    if (access->usage)
        access->usage(access->context, measured, answer);
    else
        measured(answer, NULL);
}

#define PROMETHEUS "text/plain; version=0.0.4; charset=utf-8"

static const struct page {
    const char *path, *content_type;
    node_stats_writer write; /* NULL: no figures */
} pages[] = {
    {"/healthz", TEXT, NULL},
    {"/pods", "application/json", NULL},
    {"/stats/summary", "application/json", node_stats_summary},
    {"/metrics", PROMETHEUS, node_stats_metrics},
    {"/metrics/resource", PROMETHEUS, node_stats_resource},
    {"/metrics/cadvisor", PROMETHEUS, node_stats_cadvisor},
};

static const struct page *find_page(const char *path)
{
    size_t n = strcspn(path, "?");
    while (n > 1 && path[n - 1] == '/')
        n--;
    for (size_t i = 0; i < ARRAY_COUNT(pages); i++)
        if (strncmp(path, pages[i].path, n) == 0 && !pages[i].path[n])
            return &pages[i];
    return NULL;
}

void node_proxy_answer(struct client *client, const struct server_node_access *access, const char *node,
                       enum http_method method, const char *path, struct node_answer *answer)
{
    const struct page *page = find_page(path);
    if (!page) {
        answer_text(answer, 404, "404 page not found\n");
    } else if (method != HTTP_GET && method != HTTP_HEAD) {
        answer_text(answer, 405, "405: Method Not Allowed");
    } else if (page->write) {
        answer->content_type = page->content_type;
        answer->node = node;
        answer->write = page->write;
        measure(access, answer);
    } else if (strcmp(page->path, "/pods") == 0) {
        list_pods(client, node, answer);
    } else {
        answer_text(answer, 200, "ok");
    }
}
