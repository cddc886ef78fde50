/* Messages of DNS for tests: makes questions, and turns answers into text. */
#ifndef TEST_NETWORK_DNS_MESSAGES_H
#define TEST_NETWORK_DNS_MESSAGES_H

#include "network/dns/zone.h"

struct ip_address test_address(const char *text);
/* A question as a client sends it. With udp_size, EDNS. Returns its size. */
size_t test_question(uint8_t *out, uint16_t id, const char *name, uint16_t type, uint16_t udp_size);
/* "CODE[ aa][ tc] OWNER TYPE DATA; ... | authority | additional" without the OPT, in a static buffer. */
const char *test_text(const uint8_t *message, size_t size);
/* A Service with cluster addresses, NULL-terminated, and a TCP port "http" 80. */
struct dns_service *test_service(const char *namespace, const char *name, const char *const *addresses);
/* Adds an endpoint, of port "http" 8080. hostname NULL: the address with dashes. */
void test_endpoint(struct dns_service *service, const char *hostname, const char *address);

#endif
