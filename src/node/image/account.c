/* Texts are taken apart where they stand. */
#include "node/image/account.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define ACCOUNT_FIELDS_MAX 7

/* A number in the range of user and group IDs. */
static bool parse_id(const char *text, uint32_t *out)
{
    char *end;
    if (!*text || strspn(text, "0123456789") != strlen(text) || strlen(text) > 10)
        return false;
    unsigned long long value = strtoull(text, &end, 10);
    *out = (uint32_t)value;
    return value <= INT32_MAX; /* as upstream: IDs are 31 bits */
}

/* Takes the next line off *rest and splits it at ':'; missing fields are "". False at the end. */
static bool next_line(char **rest, char *fields[ACCOUNT_FIELDS_MAX])
{
    char *line = *rest ? strsep(rest, "\n") : NULL;
    if (!line)
        return false;
    for (size_t i = 0; i < ACCOUNT_FIELDS_MAX; i++) {
        char *field = line ? strsep(&line, ":") : NULL;
        fields[i] = field ? field : (char *)"";
    }
    return true;
}

/* passwd: name:password:uid:gid:gecos:home:shell. *name becomes the entry's name, in the text. */
static int find_user(char *passwd, const char *wanted, struct image_user *out, const char **name, struct error *err)
{
    char *fields[ACCOUNT_FIELDS_MAX], *rest = passwd;
    uint32_t number = 0, uid, gid;
    bool numeric = parse_id(wanted, &number);
    while (next_line(&rest, fields)) {
        if (!parse_id(fields[2], &uid) || !parse_id(fields[3], &gid))
            continue;
        if (numeric ? uid != number : strcmp(fields[0], wanted) != 0)
            continue;
        out->uid = uid;
        out->gid = gid;
        if (*fields[5])
            snprintf(out->home, sizeof(out->home), "%s", fields[5]);
        *name = fields[0];
        return 0;
    }
    if (!numeric)
        return error_set(err, ENOENT, "unable to find user %.200s: no matching entries in passwd file", wanted);
    out->uid = number;
    return 0;
}

/* group: name:password:gid:member,member */
static int find_group(char *group, const char *wanted, gid_t *out, struct error *err)
{
    char *fields[ACCOUNT_FIELDS_MAX], *rest = group;
    uint32_t gid;
    if (parse_id(wanted, &gid)) {
        *out = gid;
        return 0;
    }
    while (next_line(&rest, fields))
        if (strcmp(fields[0], wanted) == 0 && parse_id(fields[2], &gid)) {
            *out = gid;
            return 0;
        }
    return error_set(err, ENOENT, "unable to find group %.200s: no matching entries in group file", wanted);
}

static bool lists(char *members, const char *name)
{
    for (char *member; (member = strsep(&members, ","));)
        if (strcmp(member, name) == 0)
            return true;
    return false;
}

static int add_groups(char *group, const char *name, struct image_user *out, struct error *err)
{
    char *fields[ACCOUNT_FIELDS_MAX], *rest = group;
    uint32_t gid;
    while (next_line(&rest, fields)) {
        if (!parse_id(fields[2], &gid) || gid == out->gid || !lists(fields[3], name))
            continue;
        if (out->group_count == IMAGE_USER_GROUPS_MAX)
            return error_set(err, E2BIG, "user %.200s is in more than %d groups", name, IMAGE_USER_GROUPS_MAX);
        out->groups = mem_resize(out->groups, (out->group_count + 1) * sizeof(*out->groups));
        out->groups[out->group_count++] = gid;
    }
    return 0;
}

int image_user_find(const char *user, char *passwd, char *group, struct image_user *out, struct error *err)
{
    cleanup_free char *copy = mem_string(user);
    cleanup_free char *groups = group ? mem_string(group) : NULL;
    char *group_name = strchr(copy, ':');
    const char *name = NULL;
    if (group_name)
        *group_name++ = 0;
    if (find_user(passwd, *copy ? copy : "0", out, &name, err) < 0)
        return -1;
    if (group_name && *group_name && find_group(group, group_name, &out->gid, err) < 0)
        return -1;
    if (name && add_groups(groups, name, out, err) < 0) {
        image_user_free(out);
        return -1;
    }
    return 0;
}
