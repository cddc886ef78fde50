/* The cluster's certificates: its authority, the API server's certificate, client certificates. All keys are
 * ECDSA P-256, so that making them takes about a millisecond.
 *
 * A PKI lives in a directory:
 *
 *     ca.crt ca.key              the authority, valid for 10 years
 *     server.crt server.key      the API server, valid for a year, renewed a month before its end
 *     sa.pub sa.key              signs service account tokens
 *
 * Keys have mode 0600, certificates 0644; every file is replaced in one step. Client certificates are not stored:
 * they are made on demand and go into a kubeconfig.
 *
 * A struct pki belongs to one thread at a time. */
#ifndef CORACLE_SERVER_PKI_H
#define CORACLE_SERVER_PKI_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct pki;

/* Names per certificate. */
#define PKI_NAMES_MAX 64

struct pki_options {
    const char *directory; /* made with mode 0700 when missing; NULL: nothing is read or stored */
    int64_t now;           /* microseconds since the epoch */
    /* The server's names beside the ones it always has: kubernetes, kubernetes.default, kubernetes.default.svc,
     * kubernetes.default.svc.cluster.local, localhost, 127.0.0.1 and ::1. What reads as an address becomes one. */
    const char *const *names;
    size_t name_count;
};

/* A certificate and its key as PEM text, released with pki_pair_free. */
struct pki_pair {
    char *certificate;
    char *key;
};

void pki_pair_free(struct pki_pair *pair);
#define cleanup_pki_pair __attribute__((cleanup(pki_pair_free)))

/* Loads what the directory holds and makes what is missing. The server certificate is made anew when it is close to
 * its end, lacks one of the names or is not of this authority. A file that is there and cannot be read, parsed or does
 * not match its key is an error: an authority is never replaced by guess. */
int pki_open(const struct pki_options *options, struct pki **out, struct error *err);
void pki_free(struct pki *pki);

/* PEM texts; the PKI owns them, and renewal replaces the server's. */
const char *pki_ca_certificate(const struct pki *pki);
const char *pki_server_certificate(const struct pki *pki);
const char *pki_server_key(const struct pki *pki);
const char *pki_service_account_key(const struct pki *pki);
const char *pki_service_account_public_key(const struct pki *pki);

/* When the server certificate is due to be renewed: microseconds since the epoch. */
int64_t pki_renewal(const struct pki *pki);
/* Makes and stores a new server certificate if it is due at `now`. Returns 1 when it did, 0 when it was not due. */
int pki_renew(struct pki *pki, int64_t now, struct error *err);

/* A client certificate for `user` (CN) in `groups` (O), valid for a year from `now`. */
int pki_client(struct pki *pki, const char *user, const char *const *groups, size_t group_count, int64_t now,
               struct pki_pair *out, struct error *err);

#endif
