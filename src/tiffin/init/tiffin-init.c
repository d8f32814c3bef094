/* tiffin-init: the last steps from the engine into a container, and with --init the container's PID 1.
 *
 * Static, without libc, run from a sealed memfd, so that neither the engine's interpreter nor a library of
 * the container's ever runs on the other's side. It reads one message (message.h) from fd 3, writes its
 * progress to fd 4, waits for a byte on fd 5 if told to, and executes the command on fds 0 to 2. Everything
 * it needs was opened by the engine: once its root is the container's, it opens nothing but the command.
 *
 *   CREATE: limits its own process, which the engine put into new namespaces, to a container's.
 *   EXEC:   joins a running container's namespaces; a child, the engine's by CLONE_PARENT, does the rest.
 */
#include "message.h"

enum { MESSAGE_FD = 3, STATUS_FD = 4, START_FD = 5, FIRST_OTHER_FD = 6 };

/* Behind the preserved descriptors, in a window that the engine keeps free (FLAG_WINDOW). */
enum { WINDOW_STATUS, WINDOW_START, WINDOW_STATE, WINDOW_PROC, WINDOW_SIZE };

enum kind { READY = 1, CHILD = 2, FAILED = 3, WARNING = 4, LISTENER = 5 };

/* Where it failed; the names are in init/message.py, in this order. */
enum stage {
    STAGE_NONE, STAGE_MESSAGE, STAGE_SIGNALS, STAGE_JOIN, STAGE_FORK, STAGE_SESSION, STAGE_TERMINAL,
    STAGE_HOSTNAME, STAGE_PIVOT, STAGE_DESCRIPTORS, STAGE_RLIMIT, STAGE_BOUNDING, STAGE_IDS,
    STAGE_CAPABILITIES, STAGE_AMBIENT, STAGE_NO_NEW_PRIVS, STAGE_SECCOMP, STAGE_CWD, STAGE_CWD_OUTSIDE,
    STAGE_START, STAGE_EXEC, STAGE_LABEL, STAGE_HOOK, STAGE_CGROUP,
};

static int status_fd = STATUS_FD, start_fd = START_FD;

static void quit(int code)
{
    for (;;)
        CALL1(SYS_exit_group, code);
}

static void report(enum kind kind, enum stage stage, i32 value)
{
    u32 words[3] = {(u32)kind, (u32)stage, (u32)value};
    while (CALL3(SYS_write, status_fd, words, sizeof words) == -EINTR)
        ;
}

static void fail(enum stage stage, long error)
{
    report(FAILED, stage, (i32)-error);
    quit(1);
}

/* The result of a call that must succeed. */
static long must(enum stage stage, long result)
{
    if (result < 0)
        fail(stage, result);
    return result;
}

static long prctl(long option, long a, long b)
{
    return CALL5(SYS_prctl, option, a, b, 0, 0);
}

/* Python ignores SIGPIPE, and ignored signals stay so across exec; a container starts with none. */
static void default_signals(void)
{
    const struct kernel_sigaction action = {NULL, 0, NULL, 0};
    const u64 none = 0;
    for (int signal = 1; signal <= SIGNALS; signal++)
        CALL4(SYS_rt_sigaction, signal, &action, NULL, 8); /* EINVAL for KILL and STOP, which need it not */
    must(STAGE_SIGNALS, CALL4(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8));
}

static long fork(long flags)
{
    return must(STAGE_FORK, CALL5(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0));
}

static int window(const struct message *m, int slot)
{
    return m->window + (i32)m->preserve + slot;
}

/* As `close_others`, but the preserved descriptors go to 3 and up, and what we still need ourselves away from
 * there. */
static void close_but_window(const struct message *m)
{
    int status = window(m, WINDOW_STATUS), start = window(m, WINDOW_START);
    if (status_fd != STATUS_FD) /* done already, before joining */
        return;
    must(STAGE_DESCRIPTORS, CALL3(SYS_dup3, STATUS_FD, status, O_CLOEXEC));
    status_fd = status;
    if (m->flags & FLAG_WAIT_START) {
        must(STAGE_DESCRIPTORS, CALL3(SYS_dup3, START_FD, start, O_CLOEXEC));
        start_fd = start;
    }
    for (u32 i = 0; i < m->preserve; i++)
        must(STAGE_DESCRIPTORS, CALL3(SYS_dup3, m->window + (i32)i, MESSAGE_FD + (i32)i, 0));
    must(STAGE_DESCRIPTORS, CALL3(SYS_close_range, MESSAGE_FD + m->preserve, status - 1, 0));
    must(STAGE_DESCRIPTORS, CALL3(SYS_close_range, status, status + WINDOW_SIZE - 1, CLOSE_RANGE_CLOEXEC));
    must(STAGE_DESCRIPTORS, CALL3(SYS_close_range, status + WINDOW_SIZE, ~0u, 0));
}

/* From here on no descriptor leads outside: a working directory under /proc/self/fd finds nothing. */
static void close_others(const struct message *m)
{
    if (m->flags & FLAG_WINDOW) {
        close_but_window(m);
        return;
    }
    CALL1(SYS_close, MESSAGE_FD);
    must(STAGE_DESCRIPTORS, CALL3(SYS_close_range, FIRST_OTHER_FD, ~0u, 0));
    must(STAGE_DESCRIPTORS, CALL3(SYS_close_range, MESSAGE_FD, START_FD, CLOSE_RANGE_CLOEXEC));
}

/* Into the container's control groups, by files of theirs that take whoever writes 0 to them: a process that moves
 * itself waits for nobody, one that is moved for every fork on the machine. */
static void enter_cgroups(const struct message *m)
{
    for (u32 i = 0; i < m->enter_count; i++) {
        long error;
        while ((error = CALL3(SYS_write, m->enter[i], "0", 1)) == -EINTR)
            ;
        must(STAGE_CGROUP, error);
        CALL1(SYS_close, m->enter[i]);
    }
}

/* Become, in a child that the engine reaps, a member of the container's namespaces. The child's pid as the
engine
 * sees it is known to its parent alone: the child waits until that has been reported. */
static void join(const struct message *m)
{
    i32 ends[2];
    enter_cgroups(m);
    must(STAGE_JOIN, CALL2(SYS_setns, m->join_pidfd, m->join_flags));
    close_others(m); /* before the container, which may be allowed to trace, can see the child */
    must(STAGE_FORK, CALL2(SYS_pipe2, ends, O_CLOEXEC));
    long child = fork(CLONE_PARENT);
    u8 byte = 0;
    if (child) {
        report(CHILD, STAGE_NONE, (i32)child);
        CALL3(SYS_write, ends[1], &byte, 1);
        quit(0);
    }
    CALL1(SYS_close, ends[1]);
    long got;
    while ((got = CALL3(SYS_read, ends[0], &byte, 1)) == -EINTR)
        ;
    if (got != 1)
        fail(STAGE_FORK, -EPIPE);
    CALL1(SYS_close, ends[0]);
}

static void new_session(const struct message *m, int terminal)
{
    long error = m->flags & FLAG_NEW_SESSION ? CALL0(SYS_setsid) : 0;
    if (error < 0 && CALL1(SYS_getsid, 0) != CALL0(SYS_getpid)) /* EPERM is fine for who leads one already */
        fail(STAGE_SESSION, error);
    if (terminal && m->flags & FLAG_CONTROLLING_TTY)
        must(STAGE_TERMINAL, CALL3(SYS_ioctl, 0, TIOCSCTTY, 0));
}

static void name_machine(const struct message *m)
{
    if (m->hostname[0])
        must(STAGE_HOSTNAME, CALL2(SYS_sethostname, m->hostname, text_length(m->hostname)));
    if (m->domainname[0])
        must(STAGE_HOSTNAME, CALL2(SYS_setdomainname, m->domainname, text_length(m->domainname)));
}

/* Make root_fd the root and let go of everything above it. The old root is stacked below the new one, made a
slave
 * so that its unmounting reaches no other namespace, and detached. */
static void pivot(const struct message *m)
{
    long old = must(STAGE_PIVOT, CALL4(SYS_openat, AT_FDCWD, "/", O_PATH | O_CLOEXEC, 0));
    must(STAGE_PIVOT, CALL1(SYS_fchdir, m->root_fd));
    must(STAGE_PIVOT, CALL2(SYS_pivot_root, ".", "."));
    must(STAGE_PIVOT, CALL1(SYS_fchdir, old));
    must(STAGE_PIVOT, CALL5(SYS_mount, "", ".", "", MS_SLAVE | MS_REC, 0));
    must(STAGE_PIVOT, CALL2(SYS_umount2, ".", MNT_DETACH));
    must(STAGE_PIVOT, CALL1(SYS_chdir, "/"));
    if (m->flags & FLAG_SHARED_ROOT) /* only now: a shared mount cannot be pivoted into */
        must(STAGE_PIVOT, CALL5(SYS_mount, "", "/", "", MS_SHARED, 0));
}

/* Where raising a limit is not ours to do (no CAP_SYS_RESOURCE), keep the hard limit there is and say so. */
static void limit_resources(const struct message *m)
{
    for (u32 i = 0; i < m->limit_count; i++) {
        u32 resource = m->limits[i].resource;
        struct rlimit64 wanted = m->limits[i].value, present;
        long error = CALL4(SYS_prlimit64, 0, resource, &wanted, NULL);
        if (error == -EPERM) {
            report(WARNING, STAGE_RLIMIT, (i32)resource);
            must(STAGE_RLIMIT, CALL4(SYS_prlimit64, 0, resource, NULL, &present));
            if (wanted.hard > present.hard)
                wanted.hard = present.hard;
            if (wanted.soft > wanted.hard)
                wanted.soft = wanted.hard;
            error = CALL4(SYS_prlimit64, 0, resource, &wanted, NULL);
        }
        must(STAGE_RLIMIT, error);
    }
}

static void bound_capabilities(u64 keep)
{
    for (int bit = 0; bit < 64; bit++) {
        long held = prctl(PR_CAPBSET_READ, bit, 0);
        if (held < 0) /* EINVAL: past the last capability of this kernel */
            break;
        if (held && !(keep >> bit & 1))
            must(STAGE_BOUNDING, prctl(PR_CAPBSET_DROP, bit, 0));
    }
}

static void set_ids(const struct message *m)
{
    must(STAGE_IDS, prctl(PR_SET_KEEPCAPS, 1, 0));
    must(STAGE_IDS, CALL2(SYS_setgroups, m->group_count, m->groups));
    must(STAGE_IDS, CALL3(SYS_setresgid, m->gid, m->gid, m->gid));
    must(STAGE_IDS, CALL3(SYS_setresuid, m->uid, m->uid, m->uid));
    must(STAGE_IDS, prctl(PR_SET_KEEPCAPS, 0, 0));
}

static void set_capabilities(u64 effective, u64 permitted, u64 inheritable)
{
    const struct cap_header header = {CAPABILITY_VERSION_3, 0};
    const struct cap_data data[2] = {
        {(u32)effective, (u32)permitted, (u32)inheritable},
        {(u32)(effective >> 32), (u32)(permitted >> 32), (u32)(inheritable >> 32)},
    };
    must(STAGE_CAPABILITIES, CALL2(SYS_capset, &header, data));
}

static void raise_ambient(u64 ambient)
{
    must(STAGE_AMBIENT, prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0));
    for (int bit = 0; bit < 64; bit++)
        if (ambient >> bit & 1)
            must(STAGE_AMBIENT, prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, bit));
}

static void filter_calls(const struct message *m)
{
    if (!m->filter_count)
        return;
    const struct sock_fprog program = {(u16)m->filter_count, m->filter};
    long got = must(STAGE_SECCOMP, CALL3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, m->seccomp_flags, &program));
    if (m->seccomp_flags & SECCOMP_NEW_LISTENER) /* the engine fetches it from us; ours goes at exec */
        report(LISTENER, STAGE_NONE, (i32)got);
}

/* The host's proc, kept while it can still be reached: a label is written to our own file in it. */
static void find_proc(const struct message *m)
{
    if (!m->label[0])
        return;
    int slot = window(m, WINDOW_PROC);
    long proc = must(STAGE_LABEL, CALL4(SYS_openat, AT_FDCWD, "/proc", O_PATH | O_CLOEXEC, 0));
    must(STAGE_LABEL, proc == slot ? 0 : CALL3(SYS_dup3, proc, slot, O_CLOEXEC));
}

/* The label that a security module gives the command when it is executed. */
static void set_label(const struct message *m)
{
    if (!m->label[0])
        return;
    int proc = window(m, WINDOW_PROC);
    long file = must(STAGE_LABEL, CALL4(SYS_openat, proc, m->label_path, O_WRONLY | O_CLOEXEC, 0));
    must(STAGE_LABEL, CALL3(SYS_write, file, m->label, text_length(m->label)));
    CALL1(SYS_close, file);
    CALL1(SYS_close, proc);
}

/* The working directory, as root and, where root may not (a network filesystem), as the user.
 * True when entered. */
static int enter_directory(const struct message *m, int as_user)
{
    static char where[4096];
    long error = CALL1(SYS_chdir, m->cwd);
    if ((error == -EACCES || error == -EPERM) && !as_user)
        return 0;
    must(STAGE_CWD, error);
    must(STAGE_CWD, CALL2(SYS_getcwd, where, sizeof where));
    if (where[0] != '/') /* "(unreachable)/...": a directory that is not below our root */
        fail(STAGE_CWD_OUTSIDE, -EPERM);
    return 1;
}

/* Give up all that a container's process does not have. A filter without no_new_privs takes CAP_SYS_ADMIN,
which is
 * kept just so long; that way the filter meets as few of our own calls as can be. */
static void drop_privileges(const struct message *m)
{
    u64 admin = m->filter_count && !(m->flags & FLAG_NO_NEW_PRIVS) ? (u64)1 << CAP_SYS_ADMIN : 0;
    limit_resources(m);
    set_label(m);
    bound_capabilities(m->bounding);
    int entered = enter_directory(m, 0);
    set_ids(m);
    if (admin) {
        set_capabilities(m->effective | admin, m->permitted | admin, m->inheritable);
        if (!entered)
            enter_directory(m, 1);
        filter_calls(m);
    }
    set_capabilities(m->effective, m->permitted, m->inheritable);
    raise_ambient(m->ambient);
    if (!admin && !entered)
        enter_directory(m, 1);
    if (m->pdeathsig)
        must(STAGE_IDS, prctl(PR_SET_PDEATHSIG, m->pdeathsig, 0));
    if (m->flags & FLAG_NO_NEW_PRIVS)
        must(STAGE_NO_NEW_PRIVS, prctl(PR_SET_NO_NEW_PRIVS, 1, 0));
    if (!admin)
        filter_calls(m);
}

static void wait_for_start(void)
{
    u8 byte;
    long got;
    while ((got = CALL3(SYS_read, start_fd, &byte, 1)) == -EINTR)
        ;
    if (got != 1)
        fail(STAGE_START, got ? got : -EPIPE);
}

/* Execute a file, or only ask whether it could be. */
static long attempt(const struct message *m, const char *file, int check)
{
    return check ? CALL4(SYS_faccessat2, AT_FDCWD, file, X_OK, AT_EACCESS)
                 : CALL3(SYS_execve, file, m->arguments, m->environment);
}

/* A name without a slash is looked for in the absolute directories of PATH. As Docker does, a file there that
cannot
 * be executed counts as not found. */
static long execute_in_path(const struct message *m, int check)
{
    static char candidate[4096];
    const char *name = m->arguments[0], *directory = m->path;
    size_t name_size = text_length(name) + 1;
    for (;;) {
        size_t length = 0;
        while (directory[length] && directory[length] != ':')
            length++;
        if (directory[0] == '/' && length + 1 + name_size <= sizeof candidate) {
            memcpy(candidate, directory, length);
            candidate[length] = '/';
            memcpy(candidate + length + 1, name, name_size);
            long error = attempt(m, candidate, check);
            if (error != -ENOENT && error != -ENOTDIR && error != -EACCES && error != -ELOOP &&
                error != -ENAMETOOLONG)
                return error;
        }
        if (!directory[length])
            return -ENOENT;
        directory += length + 1;
    }
}

static long find_and_execute(const struct message *m, int check)
{
    for (const char *c = m->arguments[0]; *c; c++)
        if (*c == '/')
            return attempt(m, m->arguments[0], check);
    return execute_in_path(m, check);
}

static void not_executed(long error)
{
    report(FAILED, STAGE_EXEC, (i32)-error);
    quit(error == -ENOENT || error == -ENOTDIR ? 127 : 126);
}

static void execute(const struct message *m)
{
    not_executed(find_and_execute(m, 0));
}

/* Whoever starts the container later wants to know now. What a filter or an old kernel refuses to answer, the
 * start will. */
static void check_command(const struct message *m)
{
    long error = find_and_execute(m, 1);
    if (error == -ENOENT || error == -ENOTDIR || error == -EACCES || error == -ELOOP)
        not_executed(error);
}

static int exit_code(i32 status)
{
    return status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff;
}

/* Wait for a hook, at most its timeout: 0, or what to report. */
static long hook_outcome(const struct hook *hook, long pid)
{
    i32 status = 0;
    if (hook->timeout) {
        const struct timespec64 limit = {hook->timeout, 0};
        struct pollfd ended = {(i32)must(STAGE_HOOK, CALL2(SYS_pidfd_open, pid, 0)), POLLIN, 0};
        long got = CALL5(SYS_ppoll, &ended, 1, &limit, NULL, 0);
        CALL1(SYS_close, ended.fd);
        if (got == 0) {
            CALL2(SYS_kill, pid, SIGKILL);
            CALL4(SYS_wait4, pid, &status, 0, NULL);
            return -ETIMEDOUT;
        }
    }
    while (CALL4(SYS_wait4, pid, &status, 0, NULL) == -EINTR)
        ;
    return exit_code(status);
}

/* The hooks that run where the command will, each with the container's state on its standard input. */
static void run_hooks(const struct message *m)
{
    int state = window(m, WINDOW_STATE);
    for (u32 i = 0; i < m->hook_count; i++) {
        const struct hook *hook = &m->hooks[i];
        must(STAGE_HOOK, CALL3(SYS_lseek, state, 0, 0));
        long pid = must(STAGE_HOOK, fork(0));
        if (!pid) {
            CALL3(SYS_dup3, state, 0, 0);
            CALL3(SYS_execve, hook->path, hook->arguments, hook->environment);
            quit(127);
        }
        long outcome = hook_outcome(hook, pid);
        if (outcome) { /* errno, or minus the exit code */
            report(FAILED, STAGE_HOOK, (i32)-outcome);
            quit(1);
        }
    }
}

/* PID 1 of a container with --init: reap whoever dies, hand signals to the command, end as the command does.
Signals
 * stay blocked and are fetched: PID 1 would never be sent one that it neither handles nor blocks. */
static void keep_init(const struct message *m)
{
    const u64 all = ~(u64)0, none = 0;
    must(STAGE_SIGNALS, CALL4(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8));
    long command = fork(0);
    if (!command) {
        must(STAGE_SIGNALS, CALL4(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8));
        new_session(m, 1);
        execute(m);
    }
    /* The engine learns of the exec from the end of fd 4, so the command alone may hold it. */
    CALL3(SYS_close_range, MESSAGE_FD, ~0u, 0);
    CALL1(SYS_chdir, "/");
    /* Nothing of the engine's is left in here, and there is software that writes to /proc/1/fd/1. */
    prctl(PR_SET_DUMPABLE, 1, 0);
    for (;;) {
        long signal = CALL4(SYS_rt_sigtimedwait, &all, NULL, NULL, 8);
        if (signal > 0 && signal != SIGCHLD)
            CALL2(SYS_kill, command, signal);
        i32 status;
        long pid;
        while ((pid = CALL4(SYS_wait4, -1, &status, WNOHANG, NULL)) > 0)
            if (pid == command)
                quit(exit_code(status));
    }
}

__asm__(ENTRY);

__attribute__((used, noreturn)) void helper(void)
{
    static struct message message;
    struct message *m = &message;
    prctl(PR_SET_DUMPABLE, 0, 0); /* a container's root, once it can see us, may not trace us */
    prctl(PR_SET_NAME, (long)"tiffin-init", 0);
    must(STAGE_MESSAGE, message_read(MESSAGE_FD, m));
    default_signals();
    find_proc(m);
    if (m->mode == MODE_EXEC)
        join(m);
    /* With --init the terminal belongs to the command's own session. */
    new_session(m, !(m->flags & FLAG_KEEP_INIT));
    if (m->mode == MODE_CREATE) {
        name_machine(m);
        pivot(m);
    }
    close_others(m);
    /* The caller's keys stay outside. Without keyrings, or room for one more, nothing can be done. */
    if (!(m->flags & FLAG_KEEP_KEYRING))
        CALL2(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
    CALL1(SYS_umask, m->umask);
    drop_privileges(m);
    if (m->flags & FLAG_CHECK_COMMAND)
        check_command(m);
    report(READY, STAGE_NONE, 0);
    if (m->flags & FLAG_WAIT_START)
        wait_for_start();
    run_hooks(m);
    if (m->flags & FLAG_KEEP_INIT)
        keep_init(m);
    execute(m);
    __builtin_unreachable();
}
