/* Kernel settings by name. Two spellings mean the same, as for sysctl(8): "net.ipv4.conf.eth0/1.forwarding", and with
 * dots and slashes in each other's place "net/ipv4/conf/eth0.1/forwarding". */
#ifndef CORACLE_API_SYSCTL_H
#define CORACLE_API_SYSCTL_H

/* What the kernel keeps a setting for. */
enum sysctl_scope { SYSCTL_OF_NODE, SYSCTL_OF_NETWORK, SYSCTL_OF_IPC };

/* The spelling whose first separator is a dot. free() it. */
char *sysctl_normal(const char *name);
/* Of a name in that spelling, by upstream's table of prefixes. */
enum sysctl_scope sysctl_scope_of(const char *normal);

#endif
