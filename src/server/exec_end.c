#include "server/exec_end.h"

#include "api/status.h"

#define VERSION_WITH_STATUS 4

static struct status *status_of(struct arena *arena, const struct exec_end *end)
{
    if (end->problem)
        return api_status_internal_error(arena, arena_printf(arena, "error %s container: %s",
                                                             end->attach ? "attaching to" : "executing command in",
                                                             end->problem));
    if (!end->exit_code)
        return api_status_success(arena, NULL, NULL, NULL);
    struct status_cause *cause = arena_alloc(arena, sizeof(*cause));
    cause->reason = "ExitCode";
    cause->message = arena_printf(arena, "%d", end->exit_code);
    struct status *status = api_status(arena, 0, "NonZeroExitCode",
                                       "command terminated with non-zero exit code: exit status %d", end->exit_code);
    status->details = arena_alloc(arena, sizeof(*status->details));
    status->details->causes = (struct status_cause_array){cause, 1};
    return status;
}

void exec_end_write(struct arena *arena, const struct exec_end *end, struct buffer *out)
{
    const struct status *status = status_of(arena, end);
    if (end->version >= VERSION_WITH_STATUS)
        api_status_write(status, out);
    else if (end->problem || end->exit_code)
        buffer_printf(out, "error executing remote command: %s", status->message);
}
