#include "api/host_port.h"

#include "api/pod_containers.h"
#include "base/text.h"

static bool visit_ports(const struct container *c,
                        bool (*visit)(void *context, const struct container_port *port, const char *ip), void *context)
{
    for (size_t i = 0; i < c->ports.count; i++) {
        const struct container_port *port = &c->ports.items[i];
        const char *ip = text_empty(port->host_ip) ? HOST_PORT_ANY_ADDRESS : port->host_ip;
        if (port->host_port > 0 && !visit(context, port, ip))
            return false;
    }
    return true;
}

bool pod_host_ports(const struct pod_spec *spec,
                    bool (*visit)(void *context, const struct container_port *port, const char *ip), void *context)
{
    const struct container *c;
    for (size_t at = 0; (c = api_next_serving(spec, &at));)
        if (!visit_ports(c, visit, context))
            return false;
    return true;
}

struct wanted {
    const struct pod_spec *others;
    const struct container_port *port;
    const char *ip;
};

static const char *protocol_of(const struct container_port *port)
{
    return text_empty(port->protocol) ? "TCP" : port->protocol;
}

static bool differs(void *context, const struct container_port *port, const char *ip)
{
    const struct wanted *w = context;
    return port->host_port != w->port->host_port || !text_equal(protocol_of(port), protocol_of(w->port)) ||
           !(text_equal(ip, w->ip) || text_equal(ip, HOST_PORT_ANY_ADDRESS) ||
             text_equal(w->ip, HOST_PORT_ANY_ADDRESS));
}

static bool is_free(void *context, const struct container_port *port, const char *ip)
{
    struct wanted w = {.others = context, .port = port, .ip = ip};
    return pod_host_ports(w.others, differs, &w);
}

bool pod_host_ports_conflict(const struct pod_spec *a, const struct pod_spec *b)
{
    return !pod_host_ports(a, is_free, (void *)(uintptr_t)b);
}
