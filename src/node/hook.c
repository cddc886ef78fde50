/* One hook is one of three actions under way, with the sentence for its failure. */
#include "node/hook.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "base/timestamp.h"
#include "node/http_probe.h"
#include "node/node.h"
#include "node/prober.h"
#include "node/runtime/exec.h"

/* Upstream's default when a handler names no port. */
#define HTTP_PORT_DEFAULT 80

/* Lives until its command has answered, cancelled or not. */
struct command {
    struct hook *hook; /* NULL: cancelled */
    struct runtime_exec *running;
};

struct hook {
    struct agent *agent;
    struct object *pod;
    const struct lifecycle_handler *handler;
    const struct container *container;
    hook_done done;
    void *context;
    struct command *command;
    struct http_probe *http;
    void (*fell_back)(void *context, const char *host);
    char *pod_ip;
    char *refusal;           /* what was said of https, while http is tried; NULL: it is not */
    struct env_timer *timer; /* of sleep, or of a handler without an action */
};

static void hook_free(struct hook *h)
{
    env_timer_free(h->timer);
    object_unref(h->pod);
    free(h->pod_ip);
    free(h->refusal);
    free(h);
}

/* Frees the hook, then tells. */
static void end(struct hook *h, const char *failure)
{
    hook_done done = h->done;
    void *context = h->context;
    hook_free(h);
    done(context, failure);
}

/* `action` is how upstream names it in the sentence: "Exec lifecycle hook ([sh -c x])". */
static void fail(struct hook *h, const char *action, const char *why)
{
    const struct object_meta *meta = h->pod->meta;
    cleanup_free char *text = mem_printf("%s for Container \"%s\" in Pod \"%s_%s(%s)\" failed - error: %s", action,
                                         h->container->name, meta->name, meta->namespace, meta->uid, why);
    end(h, text);
}

/* ---- exec ---- */

static void exec_ended(void *context, const struct runtime_exec_result *result, const struct error *err)
{
    struct command *c = context;
    struct hook *h = c->hook;
    free(c);
    if (!h)
        return;
    h->command = NULL;
    if (result && result->exit_code == 0) {
        end(h, NULL);
        return;
    }
    const struct string_array *command = &h->handler->exec->command;
    cleanup_buffer struct buffer words = {0};
    for (size_t i = 0; i < command->count; i++)
        buffer_printf(&words, "%s%s", i ? " " : "", command->items[i]);
    buffer_add_string(&words, "");
    cleanup_free char *action = mem_printf("Exec lifecycle hook ([%s])", words.data);
    cleanup_free char *why = result ? mem_printf("command '%s' exited with %d: %s, message: \"%s\"", words.data,
                                                 result->exit_code, result->output, result->output)
                                    : mem_printf("%s, message: \"\"", err->text);
    fail(h, action, why);
}

static void start_command(struct hook *h, const char *container_id)
{
    const struct string_array *command = &h->handler->exec->command;
    struct runtime_exec_options options = {
        .args = (const char *const *)command->items, .arg_count = command->count, .output_limit = PROBER_OUTPUT_MAX};
    h->command = mem_zero(1, sizeof(*h->command));
    h->command->hook = h;
    h->command->running = runtime_exec(h->agent->runtime, container_id, &options, exec_ended, h->command);
}

/* ---- httpGet ---- */

static void ask(struct hook *h, bool plain);

static void http_ended(void *context, enum http_probe_outcome outcome, const char *text)
{
    struct hook *h = context;
    struct http_probe *ended = steal_pointer(h->http);
    if (outcome == HTTP_PROBE_UNENCRYPTED && !h->refusal) {
        h->refusal = mem_string(text);
        ask(h, true);
    } else if (outcome == HTTP_PROBE_SUCCEEDED || outcome == HTTP_PROBE_WARNED) {
        if (h->refusal)
            h->fell_back(h->context, http_probe_authority(ended));
        end(h, NULL);
    } else {
        const char *path = h->handler->http_get->path;
        cleanup_free char *action = mem_printf("HTTP lifecycle hook (%s)", text_or_empty(path));
        fail(h, action, h->refusal ? h->refusal : text);
    }
}

static void ask(struct hook *h, bool plain)
{
    const struct http_get_action *get = h->handler->http_get;
    int port = probe_port(h->container, &get->port);
    struct http_probe_options options = {.host = text_empty(get->host) ? h->pod_ip : get->host,
                                         .port = port ? port : HTTP_PORT_DEFAULT,
                                         .user_agent = "kube-lifecycle/1.35",
                                         .any_status = true,
                                         .plain = plain};
    h->http = http_probe_start(h->agent->http_prober, get, &options, http_ended, h);
}

/* ---- sleep ---- */

static void slept(void *context)
{
    struct hook *h = context;
    if (h->handler->sleep)
        end(h, NULL);
    else
        end(h, "invalid handler: no action is set");
}

/* ---- */

struct hook *hook_start(struct agent *agent, const struct hook_options *options, hook_done done, void *context)
{
    struct hook *h = mem_zero(1, sizeof(*h));
    h->agent = agent;
    h->pod = object_ref(options->pod);
    h->handler = options->handler;
    h->container = options->container;
    h->done = done;
    h->context = context;
    h->fell_back = options->fell_back;
    h->pod_ip = mem_string(text_or_empty(options->pod_ip));
    if (h->handler->exec && h->handler->exec->command.count) {
        start_command(h, options->container_id);
    } else if (h->handler->http_get) {
        ask(h, false);
    } else {
        h->timer = env_timer_new(agent->env, slept, h);
        env_timer_start(h->timer, h->handler->sleep ? duration_of_seconds(h->handler->sleep->seconds) : 0);
    }
    return h;
}

void hook_cancel(struct hook *h)
{
    if (!h)
        return;
    if (h->command) {
        h->command->hook = NULL;
        runtime_exec_cancel(h->command->running);
    }
    http_probe_cancel(h->http);
    hook_free(h);
}
