/* The default seccomp profile: what a container's processes may ask of the kernel. The same calls as containerd's
 * RuntimeDefault lets through, in the form of an OCI config.
 *
 * What is refused on purpose answers EPERM, so that programs see a missing right. Everything else, calls newer than
 * this table among it, answers ENOSYS, so that programs take the way for older kernels (clone3 -> clone). */
#include <errno.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "node/runtime/oci_internal.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

#define BIT(capability) (UINT64_C(1) << (capability))
#define NAMESPACE_FLAGS                                                                                                \
    (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP)

/* The machine's own architecture and those whose programs it runs too. */
static const char *const architectures[] = {
#if defined(__x86_64__)
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X32",
#elif defined(__aarch64__)
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
#elif defined(__riscv) && __riscv_xlen == 64
    "SCMP_ARCH_RISCV64",
#elif defined(__powerpc64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    "SCMP_ARCH_PPC64LE",
#elif defined(__s390x__)
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_S390",
#endif
};

/* Calls that are allowed to everyone whatever their arguments, by concern. */
static const char *const allowed[] = {
    /* processes and threads */
    "execve execveat exit exit_group fork vfork wait4 waitid waitpid kill tkill tgkill pause prctl getpid getppid "
    "gettid "
    "getpgid getpgrp setpgid getsid setsid get_robust_list set_robust_list get_thread_area set_thread_area "
    "set_tid_address rseq membarrier restart_syscall pidfd_open pidfd_send_signal process_mrelease kcmp ptrace "
    "process_vm_readv process_vm_writev seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self "
    "capget capset arch_prctl modify_ldt map_shadow_stack uretprobe lsm_get_self_attr lsm_list_modules",
    /* users and groups */
    "getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getgroups getgroups32 getresuid getresuid32 "
    "getresgid getresgid32 setuid setuid32 setgid setgid32 setgroups setgroups32 setreuid setreuid32 setregid "
    "setregid32 "
    "setresuid setresuid32 setresgid setresgid32 setfsuid setfsuid32 setfsgid setfsgid32",
    /* signals */
    "rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait "
    "rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaction sigaltstack sigpending sigprocmask sigreturn sigsuspend signal "
    "signalfd signalfd4",
    /* scheduling and limits */
    "sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler "
    "sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam "
    "sched_setscheduler sched_yield getcpu getpriority setpriority nice ioprio_get ioprio_set getrlimit ugetrlimit "
    "setrlimit prlimit64 getrusage times",
    /* memory */
    "brk mmap mmap2 munmap mremap mprotect madvise mincore mlock mlock2 mlockall munlock munlockall msync mseal "
    "remap_file_pages memfd_create memfd_secret pkey_alloc pkey_free pkey_mprotect cachestat",
    /* time */
    "time gettimeofday clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep "
    "clock_nanosleep_time64 nanosleep alarm getitimer setitimer timer_create timer_delete timer_getoverrun "
    "timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 "
    "timerfd_settime timerfd_settime64 adjtimex clock_adjtime clock_adjtime64",
    /* waiting for one another */
    "futex futex_time64 futex_waitv futex_wait futex_wake futex_requeue poll ppoll ppoll_time64 select _newselect "
    "pselect6 pselect6_time64 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait "
    "epoll_pwait2 eventfd eventfd2",
    /* reading and writing */
    "read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2 lseek _llseek readahead fadvise64 "
    "fadvise64_64 sendfile sendfile64 splice tee vmsplice copy_file_range fsync fdatasync sync syncfs sync_file_range "
    "sync_file_range2 arm_fadvise64_64 arm_sync_file_range io_setup io_destroy io_submit io_cancel io_getevents "
    "io_pgetevents io_pgetevents_time64 ioctl fcntl fcntl64 flock",
    /* files and directories */
    "open openat openat2 creat close close_range dup dup2 dup3 pipe pipe2 umask access faccessat faccessat2 stat "
    "stat64 "
    "lstat lstat64 fstat fstat64 fstatat64 newfstatat statx statfs statfs64 fstatfs fstatfs64 statmount listmount "
    "getdents getdents64 getcwd chdir fchdir mkdir mkdirat rmdir mknod mknodat link linkat symlink symlinkat unlink "
    "unlinkat rename renameat renameat2 readlink readlinkat truncate truncate64 ftruncate ftruncate64 fallocate chmod "
    "fchmod fchmodat fchmodat2 chown chown32 fchown fchown32 lchown lchown32 fchownat utime utimes utimensat "
    "utimensat_time64 futimesat name_to_handle_at",
    /* extended attributes, and being told of changes */
    "getxattr getxattrat lgetxattr fgetxattr setxattr setxattrat lsetxattr fsetxattr listxattr listxattrat llistxattr "
    "flistxattr removexattr removexattrat lremovexattr fremovexattr inotify_init inotify_init1 inotify_add_watch "
    "inotify_rm_watch fanotify_mark",
    /* sockets; socket itself is below */
    "accept accept4 bind connect getpeername getsockname getsockopt setsockopt listen recv recvfrom recvmmsg "
    "recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto shutdown socketcall socketpair",
    /* System V and POSIX communication */
    "ipc msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget "
    "mq_open "
    "mq_unlink mq_notify mq_getsetattr mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64",
    /* the machine */
    "uname sysinfo getrandom breakpoint cacheflush set_tls swapcontext riscv_hwprobe riscv_flush_icache "
    "s390_pci_mmio_read "
    "s390_pci_mmio_write s390_runtime_instr",
};

/* Calls that make sense only to who has a capability; without it they answer EPERM. */
static const struct privileged_calls {
    uint64_t capability;
    const char *names;
} privileged_calls[] = {
    {BIT(CAP_DAC_READ_SEARCH), "open_by_handle_at"},
    {BIT(CAP_SYS_ADMIN),
     "bpf fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount "
     "open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount "
     "umount2 unshare"},
    {BIT(CAP_BPF), "bpf"},
    {BIT(CAP_PERFMON), "perf_event_open"},
    {BIT(CAP_SYS_BOOT), "reboot"},
    {BIT(CAP_SYS_CHROOT), "chroot"},
    {BIT(CAP_SYS_MODULE), "delete_module init_module finit_module"},
    {BIT(CAP_SYS_NICE), "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"},
    {BIT(CAP_SYS_PACCT), "acct"},
    {BIT(CAP_SYS_PTRACE), "pidfd_getfd process_madvise"},
    {BIT(CAP_SYS_RAWIO), "iopl ioperm"},
    {BIT(CAP_SYS_TIME), "settimeofday stime clock_settime clock_settime64"},
    {BIT(CAP_SYS_TTY_CONFIG), "vhangup"},
    {BIT(CAP_SYSLOG), "syslog"},
};

/* Allowed to nobody. */
static const char refused[] =
    "add_key keyctl request_key get_kernel_syms query_module create_module io_uring_enter "
    "io_uring_register io_uring_setup kexec_file_load kexec_load migrate_pages move_pages "
    "nfsservctl pivot_root swapon swapoff sysfs _sysctl uselib userfaultfd ustat vm86 vm86old "
    "pciconfig_read pciconfig_write pciconfig_iobase spu_create spu_run";

/* Allowed with some arguments only. */
static const struct argument_rule {
    const char *name;
    const char *operation;
    uint64_t value;
    uint64_t second_value; /* of SCMP_CMP_MASKED_EQ: what is left under the mask `value` */
    uint64_t unless;       /* capability that lifts the rule: everything is allowed */
} argument_rules[] = {
    /* Namespaces are made by those who may. */
    {"clone", "SCMP_CMP_MASKED_EQ", NAMESPACE_FLAGS, 0, BIT(CAP_SYS_ADMIN)},
    /* The host's hypervisor is none of a container's business. */
    {"socket", "SCMP_CMP_NE", AF_VSOCK, 0, 0},
    {"personality", "SCMP_CMP_EQ", PER_LINUX, 0, 0},
    {"personality", "SCMP_CMP_EQ", PER_LINUX32, 0, 0},
    {"personality", "SCMP_CMP_EQ", UNAME26, 0, 0},
    {"personality", "SCMP_CMP_EQ", PER_LINUX32 | UNAME26, 0, 0},
    {"personality", "SCMP_CMP_EQ", 0xffffffff, 0, 0}, /* asks */
};

static json_t *rule(const char *action)
{
    return json_pack("{s:s, s:[]}", "action", action, "names");
}

static json_t *refusal(void)
{
    return json_pack("{s:s, s:i, s:[]}", "action", "SCMP_ACT_ERRNO", "errnoRet", EPERM, "names");
}

static bool names_contain(json_t *names, const char *name)
{
    size_t i;
    json_t *item;
    json_array_foreach(names, i, item)
        if (!strcmp(json_string_value(item), name))
            return true;
    return false;
}

/* Adds the names of a list between blanks, except those that `except` (NULL: none) holds. */
static void add_names(json_t *to, const char *list, json_t *except)
{
    json_t *names = json_object_get(to, "names"), *others = json_object_get(except, "names");
    cleanup_free char *copy = mem_string(list);
    for (char *rest = copy, *name; (name = strsep(&rest, " "));)
        if (!except || (!names_contain(others, name) && !names_contain(names, name)))
            json_array_append_new(names, json_string(name));
}

json_t *oci_seccomp_default(uint64_t capabilities)
{
    json_t *rules = json_array(), *archs = json_array(), *allow = rule("SCMP_ACT_ALLOW"), *refuse = refusal();
    json_t *privileged = rule("SCMP_ACT_ALLOW");
    for (size_t i = 0; i < ARRAY_COUNT(architectures); i++)
        json_array_append_new(archs, json_string(architectures[i]));
    for (size_t i = 0; i < ARRAY_COUNT(allowed); i++)
        add_names(allow, allowed[i], NULL);
    for (size_t i = 0; i < ARRAY_COUNT(privileged_calls); i++)
        if (capabilities & privileged_calls[i].capability)
            add_names(privileged, privileged_calls[i].names, privileged);
    add_names(refuse, refused, NULL);
    for (size_t i = 0; i < ARRAY_COUNT(privileged_calls); i++)
        add_names(refuse, privileged_calls[i].names, privileged);
    if (capabilities & BIT(CAP_SYS_ADMIN))
        add_names(privileged, "clone clone3", NULL);
    json_array_append_new(rules, allow);
    if (json_array_size(json_object_get(privileged, "names")))
        json_array_append_new(rules, privileged);
    else
        json_decref(privileged);
    for (size_t i = 0; i < ARRAY_COUNT(argument_rules); i++) {
        const struct argument_rule *from = &argument_rules[i];
        if (capabilities & from->unless)
            continue;
        json_t *to = rule("SCMP_ACT_ALLOW");
        add_names(to, from->name, NULL);
        json_object_set_new(to, "args",
                            json_pack("[{s:i, s:I, s:I, s:s}]", "index", 0, "value", (json_int_t)from->value,
                                      "valueTwo", (json_int_t)from->second_value, "op", from->operation));
        json_array_append_new(rules, to);
    }
    json_array_append_new(rules, refuse);
    return json_pack("{s:s, s:i, s:o, s:o}", "defaultAction", "SCMP_ACT_ERRNO", "defaultErrnoRet", ENOSYS,
                     "architectures", archs, "syscalls", rules);
}
