/* What tiffin asks of the helper: the message of init/message.py, which draws and explains it. */
#ifndef TIFFIN_MESSAGE_H
#define TIFFIN_MESSAGE_H

#include "sys.h"

#define MESSAGE_MAGIC 0x494e4654u /* "TFNI" */
#define MESSAGE_VERSION 3u
#define MESSAGE_HEADER 12u
#define MESSAGE_LIMIT (8u << 20)

enum { MODE_CREATE = 1, MODE_EXEC = 2 };

enum {
    FLAG_NEW_SESSION = 1 << 0,
    FLAG_CONTROLLING_TTY = 1 << 1,
    FLAG_NO_NEW_PRIVS = 1 << 2,
    FLAG_WAIT_START = 1 << 3,
    FLAG_KEEP_INIT = 1 << 4,
    FLAG_WINDOW = 1 << 5,
    FLAG_CHECK_COMMAND = 1 << 6,
    FLAG_KEEP_KEYRING = 1 << 7,
    FLAG_SHARED_ROOT = 1 << 8,
    FLAG_ALL = (1 << 9) - 1,
};

/* LOG, SPEC_ALLOW, NEW_LISTENER, WAIT_KILLABLE_RECV; there are no threads to synchronise. */
enum { SECCOMP_NEW_LISTENER = 8, SECCOMP_FLAGS = 2 | 4 | 8 | 32 };
enum { GROUPS_LIMIT = 65536, RLIMITS_LIMIT = 16, FILTER_LIMIT = 4096, PRESERVE_LIMIT = 4096, HOOKS_LIMIT = 256,
       ENTER_LIMIT = 64 };

struct limit { u32 resource; struct rlimit64 value; };
struct hook {
    const char *path;
    u32 timeout, argument_count, environment_count;
    const char **arguments, **environment;
};

struct message {
    u32 mode, flags;
    i32 root_fd, join_pidfd;
    u32 join_flags;
    u32 uid, gid, umask, pdeathsig;
    u64 bounding, effective, permitted, inheritable, ambient;
    u32 seccomp_flags;
    const char *cwd, *hostname, *domainname, *path;
    const char *label, *label_path;
    u32 group_count, limit_count, filter_count, argument_count, environment_count, hook_count, preserve,
        enter_count;
    i32 window;
    u32 *groups;
    struct limit *limits;
    struct sock_filter *filter;
    const char **arguments, **environment;
    struct hook *hooks;
    u32 *enter;
};

/* Read the message from `fd` to its end. 0, or -errno: EBADMSG for one that is not exactly what it says. */
long message_read(int fd, struct message *message);

size_t text_length(const char *text);

#endif
