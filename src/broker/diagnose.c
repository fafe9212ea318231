/*
 * One file of text with what somebody from afar wants to know first when a broker is in trouble: what was built, what
 * is set, whether it could start with it, how full its disks are, what it says of itself if it runs, the end of its
 * log. Secrets are left out. Nothing of the broker is touched; what cannot be had says why, and the rest goes on.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "broker/broker.h"
#include "config/java_options.h"
#include "page/amounts.h"
#include "security/http.h"
#include "security/tls.h"

enum { LARGEST_STATUS = 1 << 28, LOG_END = 256 << 10 };

static void diagnose_build(struct strbuf *out)
{
    struct utsname machine;
    strbuf_printf(out, "barnabas %s, built with %s\n", BARNABAS_VERSION, __VERSION__);
    strbuf_printf(out, "Written %s\n", amount_date(clock_wall_ms()).p);
    if (uname(&machine) == 0)
        strbuf_printf(out, "%s %s %s on %s, %ld processors, %s of memory\n", machine.sysname, machine.release,
                      machine.version, machine.machine, sysconf(_SC_NPROCESSORS_ONLN),
                      amount_bytes((double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE)).p);
}

static void diagnose_settings(const struct broker_config *config, struct strbuf *out)
{
    struct fail fail;
    strbuf_printf(out, "\n== Settings: %s\n", config->file != NULL ? config->file : "none");
    for (int i = 0; i < config->entry_count; i++) {
        const struct config_entry *e = &config->entries[i];
        strbuf_printf(out, "%4d %s=%s%s\n", e->line, e->name, config_entry_is_secret(e) ? "[hidden]" : e->value,
                      e->key == NULL ? "  (nobody knows this key)" : "");
    }
    if (broker_check(config, &fail))
        strbuf_puts(out, "A broker could start with this.\n");
    else
        strbuf_printf(out, "A broker could not start with this: %s\n", fail.text);
}

static void diagnose_dirs(const struct broker_config *config, struct strbuf *out)
{
    strbuf_puts(out, "\n== Log directories\n");
    for (int i = 0; i < config->log_dirs.count; i++) {
        const char *path = config->log_dirs.items[i];
        struct statvfs fs;
        if (statvfs(path, &fs) != 0)
            strbuf_printf(out, "%s: %s\n", path, strerror(errno));
        else
            strbuf_printf(out, "%s: %s of %s free, %" PRIu64 " of %" PRIu64 " inodes free\n", path,
                          amount_bytes((double)fs.f_bavail * (double)fs.f_frsize).p,
                          amount_bytes((double)fs.f_blocks * (double)fs.f_frsize).p, (uint64_t)fs.f_favail,
                          (uint64_t)fs.f_files);
    }
}

/* ---- The broker that runs ---- */

/* Where its page is, by barnabas.http.listeners; NULL: it is not configured. */
static const char *diagnose_url(const struct broker_config *config, struct arena *a)
{
    const struct config_list *list = &config->barnabas_http_listeners;
    const char *mark = list->count > 0 ? strstr(list->items[0], "://") : NULL;
    const char *colon = mark != NULL ? strrchr(mark + 3, ':') : NULL;
    if (mark == NULL)
        return NULL;
    const char *host = mark + 3, *port = colon != NULL ? colon + 1 : host;
    int len = colon != NULL ? (int)(colon - host) : 0;
    bool anywhere = len == 0 || (len == 7 && strncmp(host, "0.0.0.0", 7) == 0);
    return arena_printf(a, "%s://%.*s:%s/status.json", config->barnabas_http_ssl_enable ? "https" : "http",
                        anywhere ? 9 : len, anywhere ? "localhost" : host, port)
        .p;
}

static bool diagnose_trust(const struct broker_config *config, struct arena *a, struct keystore *out, struct fail *fail)
{
    const struct listener listener = {.name = "HTTP", .protocol = SECURITY_PROTOCOL_SSL};
    struct tls_settings settings;
    if (!config->barnabas_http_ssl_enable)
        return true;
    return tls_settings_of(config, &listener, a, &settings, fail) &&
           (settings.trust.location == NULL || keystore_load(&settings.trust, KEYSTORE_TRUST, out, fail));
}

/* USER:PASSWORD of the first that may ask. */
static void diagnose_user(const struct broker_config *config, struct arena *a, struct http_question *question)
{
    const char *users = config->barnabas_http_users, *colon = users != NULL ? strchr(users, ':') : NULL;
    if (colon == NULL)
        return;
    question->user = arena_cstr(a, (struct str){users, (int32_t)(colon - users)});
    question->password = arena_cstr(a, (struct str){colon + 1, (int32_t)strcspn(colon + 1, ",")});
}

static void diagnose_status(const struct broker_config *config, struct strbuf *out)
{
    struct arena a = {0};
    struct keystore trust = {0};
    struct http_question question = {
        .url = diagnose_url(config, &a), .read_timeout_ms = 30000, .largest = LARGEST_STATUS};
    struct bytes answer;
    struct fail fail;
    strbuf_printf(out, "\n== What it says of itself: %s\n", question.url != NULL ? question.url : "");
    diagnose_user(config, &a, &question);
    if (question.url == NULL) {
        strbuf_puts(out, "It cannot be asked: barnabas.http.listeners is not set.\n");
    } else if (!diagnose_trust(config, &a, &trust, &fail)) {
        strbuf_printf(out, "It cannot be asked: %s\n", fail.text);
    } else {
        question.trust = trust.count > 0 ? &trust : NULL;
        if (http_ask(&question, &a, &answer, &fail))
            strbuf_printf(out, "%.*s\n", (int)answer.len, (const char *)answer.p);
        else
            strbuf_printf(out, "It does not answer: %s\n", fail.text);
    }
    keystore_deinit(&trust);
    arena_wipe(&a);
}

/* ---- Its log ---- */

static void add_end_of(const char *path, struct strbuf *out)
{
    FILE *f = fopen(path, "re");
    strbuf_printf(out, "\n== The end of %s\n", path);
    if (f == NULL) {
        strbuf_printf(out, "%s\n", strerror(errno));
        return;
    }
    bool cut = fseek(f, -LOG_END, SEEK_END) == 0;
    if (!cut)
        rewind(f);
    char *room = strbuf_extend(out, LOG_END);
    size_t n = fread(room, 1, LOG_END, f);
    char *line = cut ? memchr(room, '\n', n) : NULL; /* it begins in the middle of one */
    size_t skip = line != NULL ? (size_t)(line + 1 - room) : 0;
    memmove(room, room + skip, n - skip);
    out->len -= LOG_END - (n - skip);
    fclose(f);
}

static void diagnose_log(struct strbuf *out)
{
    struct arena a = {0};
    const char *dir = java_property("kafka.logs.dir", &a);
    dir = dir != NULL ? dir : getenv("LOG_DIR");
    if (dir == NULL)
        strbuf_puts(out, "\n== Its log\nWhere it is is not known: LOG_DIR is not set. journalctl may have it.\n");
    else
        add_end_of(arena_printf(&a, "%s/server.log", dir).p, out);
    arena_deinit(&a);
}

/* A file that is there is not written over. */
static bool write_new(const char *path, const struct strbuf *text, struct fail *fail)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (f == NULL)
        return fail_set(fail, "%s: %s", path, strerror(errno));
    bool ok = fwrite(text->p, 1, text->len, f) == text->len;
    if (fclose(f) != 0 || !ok)
        return fail_set(fail, "%s: %s", path, strerror(errno));
    return true;
}

bool broker_diagnose(const struct broker_config *config, const char *path, struct fail *fail)
{
    struct strbuf out = {0};
    diagnose_build(&out);
    diagnose_settings(config, &out);
    diagnose_dirs(config, &out);
    diagnose_status(config, &out);
    diagnose_log(&out);
    bool ok = write_new(path, &out, fail);
    strbuf_deinit(&out);
    return ok;
}
