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

void node_proxy_answer(struct client *client, const char *node, enum http_method method, const char *path,
                       struct node_answer *answer)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    bool health = strncmp(path, "/healthz", n) == 0 && n == strlen("/healthz");
    bool pods = strncmp(path, "/pods", n) == 0 && n == strlen("/pods");
    if (!health && !pods)
        answer_text(answer, 404, "404 page not found\n");
    else if (method != HTTP_GET && method != HTTP_HEAD)
        answer_text(answer, 405, "405: Method Not Allowed");
    else if (health)
        answer_text(answer, 200, "ok");
    else
        list_pods(client, node, answer);
}
