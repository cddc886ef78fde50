/* Accounts as an image's files name them: the first line is the USER, then /etc/passwd, a NUL and /etc/group. Whatever
 * they hold, an ID is one that the kernel takes, and there are no more groups than there may be. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "node/image/account.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_free char *text = mem_zero(1, size + 1);
    memcpy(text, data, size);
    size_t first = strlen(text);
    char *group = first < size ? text + first + 1 : NULL;
    char *passwd = strchr(text, '\n');
    struct image_user user = {.home = "/"};
    struct error err;
    if (passwd)
        *passwd++ = 0;
    if (image_user_find(text, passwd, group, &user, &err) == 0 &&
        (user.uid > INT32_MAX || user.gid > INT32_MAX || user.group_count > IMAGE_USER_GROUPS_MAX))
        abort();
    image_user_free(&user);
    return 0;
}
