#include "api/load_balancer.h"

#include "base/text.h"

bool load_balancer_is_ours(const struct service *service)
{
    return text_equal(service->spec.type, "LoadBalancer") && !service->spec.load_balancer_class;
}

bool load_balancer_lacks_port(const struct load_balancer_ingress *ingress, const struct service_port *port)
{
    for (size_t i = 0; i < ingress->ports.count; i++)
        if (ingress->ports.items[i].error && ingress->ports.items[i].port == port->port &&
            text_equal(ingress->ports.items[i].protocol, port->protocol))
            return true;
    return false;
}
