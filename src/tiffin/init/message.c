/* Reading the message. Every read is checked against its end; all that it says before it is used. */
#include "message.h"

/* The message's bytes, and behind them the one bounded stretch of memory that lists are laid out in. */
struct cursor {
    const u8 *next, *end;
    u8 *arena, *arena_end;
    int bad;
};

/* The barriers keep the compiler from seeing a copy or a fill, for which it would call these functions. */
void *memcpy(void *to, const void *from, size_t size)
{
    u8 *t = to;
    const u8 *f = from;
    while (size--) {
        *t++ = *f++;
        __asm__ volatile("" ::: "memory");
    }
    return to;
}

void *memset(void *to, int byte, size_t size)
{
    u8 *t = to;
    while (size--) {
        *t++ = (u8)byte;
        __asm__ volatile("" ::: "memory");
    }
    return to;
}

size_t text_length(const char *text)
{
    size_t length = 0;
    while (text[length])
        length++;
    return length;
}

static const u8 *take(struct cursor *c, size_t size)
{
    if (c->bad || (size_t)(c->end - c->next) < size) {
        c->bad = 1;
        return NULL;
    }
    const u8 *at = c->next;
    c->next += size;
    return at;
}

static u32 take_u32(struct cursor *c)
{
    const u8 *at = take(c, 4);
    return at ? (u32)at[0] | (u32)at[1] << 8 | (u32)at[2] << 16 | (u32)at[3] << 24 : 0;
}

static u64 take_u64(struct cursor *c)
{
    u64 low = take_u32(c);
    return low | (u64)take_u32(c) << 32;
}

/* A length, that many bytes without a NUL, and a NUL: used where it lies. */
static const char *take_text(struct cursor *c)
{
    u32 length = take_u32(c);
    const u8 *at = take(c, (size_t)length + 1);
    if (!at)
        return "";
    for (u32 i = 0; i < length; i++)
        if (!at[i])
            c->bad = 1;
    if (at[length])
        c->bad = 1;
    return c->bad ? "" : (const char *)at;
}

/* How many items follow, each of at least `size` bytes; NULL-terminated room for them in the arena. */
static void *take_list(struct cursor *c, u32 *count, u32 limit, size_t size, size_t room)
{
    u32 n = take_u32(c);
    *count = 0;
    if (c->bad || n > limit || (size_t)(c->end - c->next) / size < n ||
        (size_t)(c->arena_end - c->arena) / room < (size_t)n + 1) {
        c->bad = 1;
        return NULL;
    }
    void *list = c->arena;
    c->arena += (((size_t)n + 1) * room + 7) & ~(size_t)7;
    *count = n;
    return list;
}

static const char **take_texts(struct cursor *c, u32 *count)
{
    const char **texts = take_list(c, count, MESSAGE_LIMIT, 5, sizeof *texts);
    for (u32 i = 0; i < *count; i++)
        texts[i] = take_text(c);
    return texts; /* fresh memory is zero: the list ends in NULL */
}

static void take_lists(struct cursor *c, struct message *m)
{
    m->groups = take_list(c, &m->group_count, GROUPS_LIMIT, 4, sizeof *m->groups);
    for (u32 i = 0; i < m->group_count; i++)
        m->groups[i] = take_u32(c);

    m->limits = take_list(c, &m->limit_count, RLIMITS_LIMIT, 20, sizeof *m->limits);
    for (u32 i = 0; i < m->limit_count; i++) {
        m->limits[i].resource = take_u32(c);
        m->limits[i].value.soft = take_u64(c);
        m->limits[i].value.hard = take_u64(c);
    }

    m->filter = take_list(c, &m->filter_count, FILTER_LIMIT, 8, sizeof *m->filter);
    for (u32 i = 0; i < m->filter_count; i++) {
        u64 word = take_u64(c);
        m->filter[i] = (struct sock_filter){(u16)word, (u8)(word >> 16), (u8)(word >> 24), (u32)(word >> 32)};
    }

    m->arguments = take_texts(c, &m->argument_count);
    m->environment = take_texts(c, &m->environment_count);
}

/* What only few containers have. */
static void take_rare(struct cursor *c, struct message *m)
{
    m->window = (i32)take_u32(c);
    m->preserve = take_u32(c);
    m->label_path = take_text(c);
    m->label = take_text(c);
    m->hooks = take_list(c, &m->hook_count, HOOKS_LIMIT, 17, sizeof *m->hooks);
    for (u32 i = 0; i < m->hook_count; i++) {
        struct hook *hook = &m->hooks[i];
        hook->path = take_text(c);
        hook->timeout = take_u32(c);
        hook->arguments = take_texts(c, &hook->argument_count);
        hook->environment = take_texts(c, &hook->environment_count);
    }
    m->enter = take_list(c, &m->enter_count, ENTER_LIMIT, 4, sizeof *m->enter);
    for (u32 i = 0; i < m->enter_count; i++)
        m->enter[i] = take_u32(c);
}

static void take_message(struct cursor *c, struct message *m)
{
    m->mode = take_u32(c);
    m->flags = take_u32(c);
    m->root_fd = (i32)take_u32(c);
    m->join_pidfd = (i32)take_u32(c);
    m->join_flags = take_u32(c);
    m->uid = take_u32(c);
    m->gid = take_u32(c);
    m->umask = take_u32(c);
    m->pdeathsig = take_u32(c);
    m->bounding = take_u64(c);
    m->effective = take_u64(c);
    m->permitted = take_u64(c);
    m->inheritable = take_u64(c);
    m->ambient = take_u64(c);
    m->seccomp_flags = take_u32(c);
    m->cwd = take_text(c);
    m->hostname = take_text(c);
    m->domainname = take_text(c);
    m->path = take_text(c);
    take_lists(c, m);
    take_rare(c, m);
}

/* What a well-formed message may say. */
static int sensible(const struct message *m)
{
    if (m->flags & ~(u32)FLAG_ALL || m->seccomp_flags & ~(u32)SECCOMP_FLAGS)
        return 0;
    if (m->mode == MODE_CREATE ? m->root_fd < 0 : m->mode != MODE_EXEC)
        return 0;
    if (m->mode == MODE_EXEC && (m->join_pidfd < 0 || !m->join_flags || m->flags & FLAG_KEEP_INIT))
        return 0;
    int rare = m->preserve || m->hook_count || m->label[0];
    if (rare != !!(m->flags & FLAG_WINDOW) || m->preserve > PRESERVE_LIMIT || (rare && m->window < 6))
        return 0;
    for (u32 i = 0; i < m->hook_count; i++)
        if (m->hooks[i].path[0] != '/' || !m->hooks[i].argument_count)
            return 0;
    if (m->enter_count && m->mode != MODE_EXEC)
        return 0;
    for (u32 i = 0; i < m->enter_count; i++)
        if (m->enter[i] < 6 || m->enter[i] > INT32_MAX)
            return 0;
    /* (uid_t)-1 means "leave it as it is" to the kernel: root would stay root. */
    if (m->uid > INT32_MAX || m->gid > INT32_MAX || m->umask > 0777 || m->pdeathsig > SIGNALS)
        return 0;
    return m->cwd[0] == '/' && m->argument_count > 0 && m->arguments[0][0];
}

static long read_exactly(int fd, u8 *to, size_t size)
{
    while (size) {
        long got = CALL3(SYS_read, fd, to, size);
        if (got == -EINTR)
            continue;
        if (got <= 0)
            return got ? got : -EBADMSG;
        to += got;
        size -= (size_t)got;
    }
    return 0;
}

long message_read(int fd, struct message *message)
{
    u8 header[MESSAGE_HEADER];
    long error = read_exactly(fd, header, sizeof header);
    if (error)
        return error;
    struct cursor c = {header, header + sizeof header, NULL, NULL, 0};
    u32 magic = take_u32(&c), version = take_u32(&c), length = take_u32(&c);
    if (magic != MESSAGE_MAGIC || version != MESSAGE_VERSION || length < MESSAGE_HEADER ||
        length > MESSAGE_LIMIT)
        return -EBADMSG;

    /* Laid out, an item takes less than three times its bytes in the message; each list has an end, rounded up. */
    size_t body = length - MESSAGE_HEADER, text = (body + 7) & ~(size_t)7, size = 5 * text + 512;
    long memory = CALL6(SYS_mmap, 0, size, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
    if (memory < 0 && memory > -4096)
        return memory;
    u8 *base = (u8 *)memory;
    error = read_exactly(fd, base, body);
    if (error)
        return error;
    u8 more;
    if (read_exactly(fd, &more, 1) == 0)
        return -EBADMSG;

    c = (struct cursor){base, base + body, base + text, base + size, 0};
    take_message(&c, message);
    return c.bad || c.next != c.end || !sensible(message) ? -EBADMSG : 0;
}
