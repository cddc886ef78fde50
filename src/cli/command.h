/* The subcommands. Each gets its own arguments (argv[0] is its name) and returns the process's exit code:
 * 0 done, 1 failed, 2 wrong usage. */
#ifndef CORACLE_CLI_COMMAND_H
#define CORACLE_CLI_COMMAND_H

enum exit_code { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

int command_up(int argc, char **argv);
int command_down(int argc, char **argv);
int command_enter(int argc, char **argv);
int command_image(int argc, char **argv);
int command_lint(int argc, char **argv);
int command_version(int argc, char **argv);

/* "coracle COMMAND: text" on standard error; returns EXIT_FAILED. */
int command_failed(const char *command, const char *text);
/* The same with a hint at --help; returns EXIT_USAGE. */
int command_misused(const char *command, const char *text);

/* For the options of a command: --help, and -h where 'h' is among its short ones. */
#define HELP_OPTION {"help", no_argument, NULL, 'h'}
/* The usage of a command on standard output; returns EXIT_DONE. */
int command_help(const char *command);

/* Where clusters keep their data. */
#define DATA_ROOT "/var/lib/coracle"
/* The cluster that is meant when no --name is given. */
#define DEFAULT_NAME "coracle"

#endif
