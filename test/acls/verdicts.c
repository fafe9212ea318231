/*
 * What our permissions say, beside what Apache's authorizer says (test/system/AclVerdicts.java). Lines come in, their
 * fields between tabs, enums as numbers; for each question "yes" or "no" goes out:
 *
 *     begin      SUPER-USERS ALLOW-EVERYONE-IF-NO-ACL-FOUND
 *     add        TYPE PATTERN NAME PRINCIPAL HOST OPERATION PERMISSION
 *     remove     the same: that entry
 *     ask        PRINCIPAL HOST OPERATION TYPE NAME
 *     somewhere  PRINCIPAL HOST OPERATION TYPE      whether it is allowed on some resource of the type
 *     keep       as ask, of which nothing goes out yet
 *     time       SECONDS    asks what was kept again and again, as long to get warm and then once more, and forgets it;
 *                           how many nanoseconds each took goes out, and how many of them are allowed
 */
#include <stdio.h>

#include "base/clock.h"
#include "security/acl.h"

enum { MOST_FIELDS = 8 };

struct kept { /* a question; its texts in the world's arena */
    struct acl_asker who;
    enum acl_operation operation;
    enum acl_type type;
    struct str name;
};

struct world {
    struct arena arena; /* of the policy and the questions */
    struct acl_policy policy;
    struct acl_set *set;
    struct kept *kept; /* heap */
    size_t kept_count, kept_room;
};

static int32_t split(char *line, char *fields[MOST_FIELDS])
{
    int32_t n = 0;
    for (char *p = line; p != NULL && n < MOST_FIELDS; n++) {
        fields[n] = p;
        p = strchr(p, '\t');
        if (p != NULL)
            *p++ = '\0';
    }
    return n;
}

static void world_deinit(struct world *w)
{
    acl_set_unref(w->set);
    free(w->kept);
    arena_deinit(&w->arena);
}

static bool world_begin(struct world *w, char **f)
{
    struct fail fail;
    world_deinit(w);
    *w = (struct world){.set = acl_set_new()};
    if (!acl_policy_parse(&w->arena, f[1], &w->policy, &fail))
        return false;
    w->policy.allow_everyone_if_no_acl_found = atoi(f[2]) == 1;
    return true;
}

/* The list with that entry, or without, takes the place of the one that is there, as brokers do it. */
static void world_change(struct world *w, char **f)
{
    struct arena a = {0};
    struct acl_resource resource = {atoi(f[1]), atoi(f[2]), str_of(f[3])};
    struct acl_entry entry = {str_of(f[4]), str_of(f[5]), atoi(f[6]), atoi(f[7])}, *now = NULL, *then;
    struct acl_filter filter = {resource.type, resource.pattern, resource.name,   entry.principal,
                                entry.host,    entry.operation,  entry.permission};
    struct acl_list *list = acl_set_find(w->set, &resource);
    int32_t count = 0, then_count;
    if (list != NULL)
        now = acl_list_entries(list, &a, &count);
    if (strcmp(f[0], "add") == 0) {
        acl_entries_add(&a, now, count, &entry, 1, &then, &then_count);
    } else {
        struct acl_parting p = acl_entries_part(&a, &resource, now, count, &filter, 1);
        then = p.left;
        then_count = p.left_count;
    }
    struct acl_change change = {resource, acl_list_new(&resource, then, then_count)};
    struct acl_set *next = acl_set_with(w->set, &change, 1);
    acl_set_unref(w->set);
    w->set = next;
    arena_deinit(&a);
}

static bool world_answer(const struct world *w, char **f)
{
    struct principal principal;
    if (!principal_parse(str_of(f[1]), &principal))
        return false;
    struct acl_asker who = acl_asker(principal, str_of(f[2]));
    enum acl_operation o = atoi(f[3]);
    enum acl_type t = atoi(f[4]);
    if (strcmp(f[0], "somewhere") == 0)
        return acl_allowed_somewhere(w->set, &w->policy, &who, t, o);
    return acl_allowed(w->set, &w->policy, &who, t, str_of(f[5])) >> o & 1;
}

/* ---- How long it takes ---- */

static bool world_keep(struct world *w, char **f)
{
    struct principal principal;
    if (!principal_parse(arena_str(&w->arena, str_of(f[1])), &principal))
        return false;
    w->kept = xgrow(w->kept, w->kept_count + 1, &w->kept_room, sizeof(*w->kept));
    w->kept[w->kept_count++] = (struct kept){acl_asker(principal, arena_str(&w->arena, str_of(f[2]))), atoi(f[3]),
                                             atoi(f[4]), arena_str(&w->arena, str_of(f[5]))};
    return true;
}

static int32_t ask_kept(const struct world *w)
{
    int32_t yes = 0;
    for (size_t i = 0; i < w->kept_count; i++) {
        const struct kept *k = &w->kept[i];
        yes += (acl_allowed(w->set, &w->policy, &k->who, k->type, k->name) >> k->operation & 1) != 0;
    }
    return yes;
}

/* How often all were asked until so many microseconds had passed. */
static int64_t ask_for(const struct world *w, int64_t us)
{
    int64_t passes = 0, end = clock_mono_us() + us;
    for (; clock_mono_us() < end; passes++)
        (void)ask_kept(w);
    return passes;
}

static bool world_time(struct world *w, const char *seconds)
{
    int64_t us = (int64_t)(atof(seconds) * 1e6);
    if (w->kept_count == 0 || us <= 0)
        return false;
    ask_for(w, us);
    int64_t begun = clock_mono_us(), passes = ask_for(w, us);
    double taken_ns = (double)(clock_mono_us() - begun) * 1e3;
    printf("%.1f %d\n", taken_ns / ((double)passes * (double)w->kept_count), ask_kept(w));
    w->kept_count = 0;
    return true;
}

/* False: the line is none of the above. */
static bool take_line(struct world *w, char *line)
{
    char *f[MOST_FIELDS];
    int32_t n = split(line, f);
    if (strcmp(f[0], "begin") == 0 && n == 3)
        return world_begin(w, f);
    if (w->set == NULL)
        return false;
    if ((strcmp(f[0], "add") == 0 || strcmp(f[0], "remove") == 0) && n == 8)
        world_change(w, f);
    else if ((strcmp(f[0], "ask") == 0 && n == 6) || (strcmp(f[0], "somewhere") == 0 && n == 5))
        puts(world_answer(w, f) ? "yes" : "no");
    else if (strcmp(f[0], "keep") == 0 && n == 6)
        return world_keep(w, f);
    else if (strcmp(f[0], "time") == 0 && n == 2)
        return world_time(w, f[1]);
    else
        return false;
    return true;
}

int main(void)
{
    struct world w = {0};
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    bool ok = true;
    while (ok && (len = getline(&line, &room, stdin)) > 0) {
        if (line[len - 1] == '\n')
            line[len - 1] = '\0';
        ok = take_line(&w, line);
    }
    free(line);
    world_deinit(&w);
    return ok ? 0 : 1;
}
