/* Certificates go into the file itself: it can be copied to wherever the administrator works. */
#include "cli/kubeconfig.h"

#include <string.h>

#include "base/encode.h"

static void add_base64(struct buffer *b, const char *key, const char *pem)
{
    size_t size = strlen(pem);
    buffer_printf(b, "    %s: ", key);
    base64_encode(pem, size, buffer_reserve(b, BASE64_SIZE(size)));
    b->size += BASE64_SIZE(size);
    buffer_add_char(b, '\n');
}

int kubeconfig_make(struct pki *pki, const char *name, const char *server_url, int64_t now, struct buffer *out,
                    struct error *err)
{
    static const char *const groups[] = {"system:masters"};
    cleanup_pki_pair struct pki_pair admin = {0};
    if (pki_client(pki, "kubernetes-admin", groups, 1, now, &admin, err) < 0)
        return -1;
    buffer_printf(out, "apiVersion: v1\nkind: Config\nclusters:\n- name: %s\n  cluster:\n    server: %s\n", name,
                  server_url);
    add_base64(out, "certificate-authority-data", pki_ca_certificate(pki));
    buffer_printf(out,
                  "contexts:\n- name: %s\n  context:\n    cluster: %s\n    user: %s-admin\n"
                  "current-context: %s\npreferences: {}\nusers:\n- name: %s-admin\n  user:\n",
                  name, name, name, name, name);
    add_base64(out, "client-certificate-data", admin.certificate);
    add_base64(out, "client-key-data", admin.key);
    return 0;
}
