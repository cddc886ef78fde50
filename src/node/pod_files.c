#include "node/pod_files.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "node/volume_plan.h"

#define NODE_FILE_MAX (1 << 20)

/* ---- /etc/hosts ---- */

void pod_hosts(struct buffer *out, const struct pod *pod, const char *hostname, const char *pod_ip,
               const struct pod_files_options *options)
{
    const char *subdomain = pod->spec.subdomain;
    if (pod->spec.host_network) {
        buffer_printf(out, "# Kubernetes-managed hosts file (host network).\n%s", text_or_empty(options->node_hosts));
    } else {
        buffer_add_string(out, "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost "
                               "ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nfe00::\tip6-mcastprefix\n"
                               "fe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n");
        const char *ips[] = {pod_ip, pod_ip ? options->pod_ip6 : NULL};
        for (size_t i = 0; i < 2 && ips[i]; i++)
            if (subdomain && *subdomain)
                buffer_printf(out, "%s\t%s.%s.%s.svc.%s\t%s\n", ips[i], hostname, subdomain, pod->metadata.namespace,
                              options->cluster_domain, hostname);
            else
                buffer_printf(out, "%s\t%s\n", ips[i], hostname);
    }
    if (pod->spec.host_aliases.count)
        buffer_add_string(out, "\n# Entries added by HostAliases.\n");
    for (size_t i = 0; i < pod->spec.host_aliases.count; i++) {
        const struct host_alias *alias = &pod->spec.host_aliases.items[i];
        buffer_add_string(out, alias->ip);
        for (size_t n = 0; n < alias->hostnames.count; n++)
            buffer_printf(out, "\t%s", alias->hostnames.items[n]);
        buffer_add_char(out, '\n');
    }
}

/* ---- /etc/resolv.conf ---- */

struct words {
    const char *items[RESOLVER_SEARCHES_MAX];
    size_t count;
    size_t limit;
    bool cut;
};

struct resolver {
    struct words servers, searches, options;
    size_t search_length;
    char *text; /* of the node's file, cut into words */
    char *own[3];
    char *pairs[RESOLVER_OPTIONS_MAX]; /* "name:value" */
    size_t pair_count;
};

static void add(struct words *words, const char *word)
{
    for (size_t i = 0; i < words->count; i++)
        if (strcmp(words->items[i], word) == 0)
            return;
    if (words->count < words->limit)
        words->items[words->count++] = word;
    else
        words->cut = true;
}

static void add_search(struct resolver *resolver, const char *domain)
{
    size_t length = strlen(domain), count = resolver->searches.count;
    if (resolver->search_length + length + (count > 0) > RESOLVER_SEARCH_LENGTH_MAX) {
        resolver->searches.cut = true;
        return;
    }
    add(&resolver->searches, domain);
    if (resolver->searches.count > count)
        resolver->search_length += length + (count > 0);
}

/* An option takes the place of one of the same name. */
static void add_option(struct resolver *resolver, const char *option)
{
    size_t name = strcspn(option, ":");
    for (size_t i = 0; i < resolver->options.count; i++) {
        const char *present = resolver->options.items[i];
        if (strcspn(present, ":") == name && strncmp(present, option, name) == 0) {
            resolver->options.items[i] = option;
            return;
        }
    }
    add(&resolver->options, option);
}

/* The node's own file: the last list of searches counts. Without `servers`, only its searches. */
static void read_node(struct resolver *resolver, const char *text, bool servers)
{
    char *line_at, *word_at;
    const char *searches[RESOLVER_SEARCHES_MAX];
    size_t search_count = 0;
    free(resolver->text);
    resolver->text = mem_string(text ? text : "");
    for (char *line = strtok_r(resolver->text, "\n", &line_at); line; line = strtok_r(NULL, "\n", &line_at)) {
        const char *key = strtok_r(line, " \t\r", &word_at), *word;
        if (!key)
            continue;
        if (strcmp(key, "search") == 0)
            search_count = 0;
        while ((word = strtok_r(NULL, " \t\r", &word_at))) {
            if (strcmp(key, "search") == 0 && search_count < RESOLVER_SEARCHES_MAX)
                searches[search_count++] = word;
            else if (strcmp(key, "nameserver") == 0 && servers)
                add(&resolver->servers, word);
            else if (strcmp(key, "options") == 0 && servers)
                add_option(resolver, word);
        }
    }
    for (size_t i = 0; i < search_count; i++)
        add_search(resolver, searches[i]);
}

static void use_cluster(struct resolver *resolver, const struct pod *pod, const struct pod_files_options *options)
{
    resolver->own[0] = mem_printf("%s.svc.%s", pod->metadata.namespace, options->cluster_domain);
    resolver->own[1] = mem_printf("svc.%s", options->cluster_domain);
    resolver->own[2] = mem_string(options->cluster_domain);
    add(&resolver->servers, options->cluster_dns);
    for (size_t i = 0; i < ARRAY_COUNT(resolver->own); i++)
        add_search(resolver, resolver->own[i]);
    read_node(resolver, options->node_resolver, false);
    add_option(resolver, "ndots:5");
}

static void add_config(struct resolver *resolver, const struct pod_dns_config *config)
{
    for (size_t i = 0; config && i < config->nameservers.count; i++)
        add(&resolver->servers, config->nameservers.items[i]);
    for (size_t i = 0; config && i < config->searches.count; i++)
        add_search(resolver, config->searches.items[i]);
    for (size_t i = 0; config && i < config->options.count && resolver->pair_count < RESOLVER_OPTIONS_MAX; i++) {
        const struct pod_dns_config_option *option = &config->options.items[i];
        char *pair = option->value && *option->value ? mem_printf("%s:%s", option->name, option->value)
                                                     : mem_string(option->name);
        resolver->pairs[resolver->pair_count++] = pair;
        add_option(resolver, pair);
    }
}

static void print_words(struct buffer *out, const char *key, const struct words *words)
{
    for (size_t i = 0; i < words->count; i++)
        buffer_printf(out, "%s %s", i ? "" : key, words->items[i]);
    if (words->count)
        buffer_add_char(out, '\n');
}

static char *omission(const struct words *applied, const char *sentence)
{
    cleanup_buffer struct buffer line = {0};
    if (!applied->cut)
        return NULL;
    for (size_t i = 0; i < applied->count; i++)
        buffer_printf(&line, "%s%s", i ? " " : "", applied->items[i]);
    return mem_printf("%s: %s", sentence, text_or_empty(line.data));
}

void pod_resolver(struct buffer *out, const struct pod *pod, const struct pod_files_options *options,
                  struct resolver_omissions *omitted)
{
    struct resolver resolver = {.servers.limit = RESOLVER_SERVERS_MAX,
                                .searches.limit = RESOLVER_SEARCHES_MAX,
                                .options.limit = RESOLVER_OPTIONS_MAX};
    const char *policy = pod->spec.dns_policy ? pod->spec.dns_policy : "ClusterFirst";
    bool cluster = strcmp(policy, "ClusterFirstWithHostNet") == 0 ||
                   (strcmp(policy, "ClusterFirst") == 0 && !pod->spec.host_network);
    if (cluster)
        use_cluster(&resolver, pod, options);
    else if (strcmp(policy, "None") != 0)
        read_node(&resolver, options->node_resolver, true);
    add_config(&resolver, pod->spec.dns_config);
    print_words(out, "search", &resolver.searches);
    for (size_t i = 0; i < resolver.servers.count; i++)
        buffer_printf(out, "nameserver %s\n", resolver.servers.items[i]);
    print_words(out, "options", &resolver.options);
    omitted->servers =
        omission(&resolver.servers, "Nameserver limits were exceeded, some nameservers have been omitted, "
                                    "the applied nameserver line is");
    omitted->searches = omission(&resolver.searches, "Search Line limits were exceeded, some search paths have been "
                                                     "omitted, the applied search line is");
    for (size_t i = 0; i < ARRAY_COUNT(resolver.own); i++)
        free(resolver.own[i]);
    for (size_t i = 0; i < resolver.pair_count; i++)
        free(resolver.pairs[i]);
    free(resolver.text);
}

/* ---- */

static int write_text(const char *directory, const char *name, const struct buffer *text, struct error *err)
{
    cleanup_free char *path = mem_printf("%s/%s", directory, name);
    struct volume_file file = {
        .data = text->data ? text->data : "", .size = text->size, .mode = 0644, .owner = VOLUME_FILE_NO_OWNER};
    return volume_write_file(path, &file, err);
}

int pod_files_write(const char *directory, const struct pod *pod, const char *hostname, const char *pod_ip,
                    const struct pod_files_options *options, struct resolver_omissions *omitted, struct error *err)
{
    cleanup_buffer struct buffer hosts = {0}, name = {0}, resolver = {0}, node_hosts = {0}, node_resolver = {0};
    struct pod_files_options with_files = *options;
    if (file_make_directories(directory, 0755, err) < 0)
        return -1;
    if (pod->spec.host_network)
        file_read("/etc/hosts", NODE_FILE_MAX, &node_hosts, NULL);
    file_read("/etc/resolv.conf", NODE_FILE_MAX, &node_resolver, NULL);
    with_files.node_hosts = node_hosts.data;
    with_files.node_resolver = node_resolver.data;
    pod_hosts(&hosts, pod, hostname, pod_ip, &with_files);
    buffer_printf(&name, "%s\n", options->kernel_hostname ? options->kernel_hostname : hostname);
    pod_resolver(&resolver, pod, &with_files, omitted);
    if (write_text(directory, "hosts", &hosts, err) < 0 || write_text(directory, "hostname", &name, err) < 0 ||
        write_text(directory, "resolv.conf", &resolver, err) < 0)
        return -1;
    return 0;
}
