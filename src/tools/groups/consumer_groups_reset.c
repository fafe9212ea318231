/* kafka-consumer-groups --reset-offsets: what a group's offsets are to be, by one of several rules. */
#include <inttypes.h>

#include "base/clock.h"
#include "protocol/error.h"
#include "tools/groups/consumer_groups.h"
#include "tools/kit/csv.h"
#include "tools/kit/java_time.h"

enum { TIME_END = -1, TIME_START = -2 };

struct reset {
    struct group_work *w;
    struct str group;
};

/* ---- Offsets of logs ---- */

static struct partition_offsets groups_reset_copy_of(const struct reset *r, const struct partition_offsets *list)
{
    struct partition_offsets copy = {0};
    partition_offsets_add_all(list, &copy, &r->w->arena);
    return copy;
}

static bool offsets_at(const struct reset *r, struct partition_offsets *list, int64_t time, struct fail *fail)
{
    return groups_asked(topic_offsets(&r->w->admin, list, time, fail), fail);
}

static bool committed_offsets(const struct reset *r, struct partition_offsets *out, struct fail *fail)
{
    return groups_asked(group_offsets(&r->w->admin, r->group, out, fail), fail);
}

static void warn_of_limit(const struct partition_offset *p, const char *than, int64_t limit)
{
    fprintf(stderr,
            "WARN New offset (%" PRId64 ") is %s offset for topic partition %.*s-%" PRId32
            ". Value will be set to %" PRId64 "\n",
            p->offset, than, STR_ARGS(p->topic), p->partition, limit);
}

/* Offsets that are outside of their logs become the nearest that are not. */
static bool groups_reset_limit_offsets(const struct reset *r, struct partition_offsets *list, struct fail *fail)
{
    struct partition_offsets starts = groups_reset_copy_of(r, list), ends = groups_reset_copy_of(r, list);
    if (!offsets_at(r, &starts, TIME_START, fail) || !offsets_at(r, &ends, TIME_END, fail))
        return false;
    for (int32_t i = 0; i < list->n; i++) {
        struct partition_offset *p = &list->v[i];
        int64_t start = starts.v[i].offset, end = ends.v[i].offset;
        if (p->offset > end) {
            warn_of_limit(p, "higher than latest", end);
            p->offset = end;
        } else if (p->offset < start) {
            warn_of_limit(p, "lower than earliest", start);
            p->offset = start;
        }
    }
    return true;
}

/* ---- The rules: each sets the offsets of the list ---- */

static bool groups_reset_to_offset(const struct reset *r, struct partition_offsets *list, struct fail *fail)
{
    int64_t offset = 0;
    if (!options_number(&r->w->o, "to-offset", INT64_MIN, INT64_MAX, &offset))
        return false;
    for (int32_t i = 0; i < list->n; i++)
        list->v[i].offset = offset;
    return groups_reset_limit_offsets(r, list, fail);
}

static bool to_earliest(const struct reset *r, struct partition_offsets *list, struct fail *fail)
{
    return offsets_at(r, list, TIME_START, fail);
}

static bool to_latest(const struct reset *r, struct partition_offsets *list, struct fail *fail)
{
    return offsets_at(r, list, TIME_END, fail);
}

static bool groups_reset_shift_by(const struct reset *r, struct partition_offsets *list, struct fail *fail)
{
    struct partition_offsets committed;
    int64_t distance = 0;
    if (!options_number(&r->w->o, "shift-by", INT64_MIN, INT64_MAX, &distance) ||
        !committed_offsets(r, &committed, fail))
        return false;
    for (int32_t i = 0; i < list->n; i++) {
        struct partition_offset *p = &list->v[i], *now = partition_offsets_find(&committed, p->topic, p->partition);
        if (now == NULL) {
            options_complain(&r->w->o,
                             "Cannot shift offset for partition %.*s-%" PRId32
                             " since there is no current committed offset",
                             STR_ARGS(p->topic), p->partition);
            return false;
        }
        p->offset = wrapping_add(now->offset, distance);
    }
    return groups_reset_limit_offsets(r, list, fail);
}

static void groups_reset_tell_of_end(const struct partition_offset *p)
{
    printf("\nWarn: Partition %" PRId32 " from topic %.*s is empty. Falling back to latest known offset.\n",
           p->partition, STR_ARGS(p->topic));
}

static bool to_time(const struct reset *r, struct partition_offsets *list, int64_t time, struct fail *fail)
{
    return groups_asked(topic_offsets_since(&r->w->admin, list, time, groups_reset_tell_of_end, fail), fail);
}

static bool groups_reset_to_datetime(const struct reset *r, struct partition_offsets *list, struct fail *fail)
{
    int64_t time;
    return java_datetime(options_get(&r->w->o, "to-datetime"), &time, fail) && to_time(r, list, time, fail);
}

static bool groups_reset_by_duration(const struct reset *r, struct partition_offsets *list, struct fail *fail)
{
    int64_t duration;
    return java_duration(options_get(&r->w->o, "by-duration"), &duration, fail) &&
           to_time(r, list, wrapping_sub(clock_wall_ms(), duration), fail);
}

static bool to_current(const struct reset *r, struct partition_offsets *list, struct fail *fail)
{
    struct partition_offsets committed, ends = groups_reset_copy_of(r, list);
    if (!committed_offsets(r, &committed, fail) || !offsets_at(r, &ends, TIME_END, fail))
        return false;
    for (int32_t i = 0; i < list->n; i++) {
        struct partition_offset *p = &list->v[i], *now = partition_offsets_find(&committed, p->topic, p->partition);
        p->offset = now != NULL ? now->offset : ends.v[i].offset;
    }
    return true;
}

/* ---- From a file ---- */

enum { CSV_GROUP, CSV_TOPIC, CSV_PARTITION, CSV_OFFSET, CSV_COLUMNS };

/* A line of a plan: with a group in front, or without (`grouped` false). */
static bool groups_reset_read_line(struct arena *a, struct str line, bool grouped, struct str *group,
                                   struct partition_offset *out)
{
    struct str values[CSV_COLUMNS] = {{NULL, 0}};
    int64_t partition, offset;
    int skipped = grouped ? 0 : 1;
    if (csv_split(line, values + skipped, CSV_COLUMNS - skipped, a) != CSV_COLUMNS - skipped ||
        !csv_number(a, values[CSV_PARTITION], INT32_MIN, INT32_MAX, &partition) ||
        !csv_number(a, values[CSV_OFFSET], INT64_MIN, INT64_MAX, &offset))
        return false;
    if (grouped)
        *group = values[CSV_GROUP];
    *out = (struct partition_offset){.topic = values[CSV_TOPIC], .partition = (int32_t)partition, .offset = offset};
    return true;
}

/* Takes what the lines say of the group. Whether they name groups is told by the first, and by how many are asked for.
 */
static bool groups_reset_read_plan(const struct reset *r, struct str plan, struct partition_offsets *out,
                                   struct fail *fail)
{
    struct arena *a = &r->w->arena;
    bool grouped = options_all(&r->w->o, "group")->count != 1, ok = true;
    struct str line;
    for (int number = 1; ok && csv_take_line(&plan, &line); number++) {
        struct str group = r->group;
        struct partition_offset p = {.offset = -1};
        if (number == 1 && !grouped)
            grouped = !groups_reset_read_line(a, line, false, &group, &p);
        ok = groups_reset_read_line(a, line, grouped, &group, &p) ||
             fail_set(fail, "Line %d of the file is not of the form %stopic,partition,offset: %.*s", number,
                      grouped ? "group," : "", STR_ARGS(line));
        if (ok && str_eq(group, r->group))
            partition_offsets_add(out, p.topic, p.partition, a)->offset = p.offset;
    }
    return ok;
}

static bool groups_reset_from_file(const struct reset *r, struct partition_offsets *list, struct fail *fail)
{
    const char *path = options_get(&r->w->o, "from-file");
    struct str plan;
    if (!csv_read(path, &r->w->arena, &plan))
        return fail_set(fail, "java.io.IOException: Unable to read file %s", path);
    *list = (struct partition_offsets){0};
    if (!groups_reset_read_plan(r, plan, list, fail))
        return false;
    if (list->n == 0)
        groups_print_error("No reset plan for group %.*s found", STR_ARGS(r->group));
    partition_offsets_sort(list);
    return groups_reset_limit_offsets(r, list, fail);
}

static const struct rule {
    const char *option;
    bool (*apply)(const struct reset *r, struct partition_offsets *list, struct fail *fail);
} rules[] = {{"to-offset", groups_reset_to_offset},
             {"to-earliest", to_earliest},
             {"to-latest", to_latest},
             {"shift-by", groups_reset_shift_by},
             {"to-datetime", groups_reset_to_datetime},
             {"by-duration", groups_reset_by_duration},
             {"from-file", groups_reset_from_file},
             {"to-current", to_current}};

/* ---- One group ---- */

static bool read_scope(const struct reset *r, struct partition_offsets *out, struct fail *fail)
{
    const struct option_value *words = options_all(&r->w->o, "topic");
    if (options_has(&r->w->o, "all-topics"))
        return committed_offsets(r, out, fail);
    if (words->count == 0 && !options_has(&r->w->o, "from-file")) {
        options_complain(&r->w->o, "One of the reset scopes should be defined: --all-topics, --topic.");
        return false;
    }
    for (int i = 0; i < words->count; i++) {
        int16_t error = ERR_NONE;
        if (strchr(words->values[i], ':') != NULL) {
            if (!groups_read_partitions(r->w, words->values[i], out))
                return false;
        } else if (!topic_partitions(&r->w->admin, str_of(words->values[i]), out, &error, fail) ||
                   (error != ERR_NONE && !group_refused(&r->w->admin, error, STR_NULL, fail))) {
            return groups_asked(false, fail);
        }
    }
    partition_offsets_sort(out);
    return true;
}

static bool plan_group(const struct reset *r, struct partition_offsets *out, struct fail *fail)
{
    if (!read_scope(r, out, fail))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        if (options_has(&r->w->o, rules[i].option))
            return rules[i].apply(r, out, fail);
    options_complain(&r->w->o, "Option '[reset-offsets]' requires one of the following scenarios: [[to-offset], "
                               "[to-current], [to-datetime], [from-file], [by-duration], [to-earliest], [to-latest], "
                               "[shift-by]]");
    return false;
}

static bool reset_group(const struct reset *r, const struct group_description *group, struct partition_offsets *out,
                        struct fail *fail)
{
    if (!str_is(group->state, "Empty") && !str_is(group->state, "Dead")) {
        groups_print_error("Assignments can only be reset if the group '%.*s' is inactive, but the current state is "
                           "%.*s.",
                           STR_ARGS(r->group), STR_ARGS(group->state));
        return true;
    }
    return plan_group(r, out, fail) && (!options_has(&r->w->o, "execute") ||
                                        groups_asked(group_admin_commit(&r->w->admin, r->group, out, fail), fail));
}

/* ---- Output ---- */

/* Rows without an end of line between them: so they are in Kafka 3.9, too. */
static void print_plans(struct str_list ids, const struct partition_offsets *plans)
{
    if (ids.n > 0)
        printf("\n%-30s %-30s %-10s %-15s", "GROUP", "TOPIC", "PARTITION", "NEW-OFFSET");
    for (int32_t i = 0; i < ids.n; i++)
        for (int32_t k = 0; k < plans[i].n; k++)
            printf("%-30.*s %-30.*s %-10" PRId32 " %-15" PRId64, STR_ARGS(ids.v[i]), STR_ARGS(plans[i].v[k].topic),
                   plans[i].v[k].partition, plans[i].v[k].offset);
}

static void export_plans(struct str_list ids, const struct partition_offsets *plans, bool with_group)
{
    struct strbuf line = {0};
    for (int32_t i = 0; i < ids.n; i++)
        for (int32_t k = 0; k < plans[i].n; k++) {
            if (with_group) {
                csv_put(&line, ids.v[i]);
                strbuf_puts(&line, ",");
            }
            csv_put(&line, plans[i].v[k].topic);
            strbuf_printf(&line, ",%" PRId32 ",%" PRId64 "\n", plans[i].v[k].partition, plans[i].v[k].offset);
        }
    puts(line.p != NULL ? line.p : "");
    strbuf_deinit(&line);
}

bool groups_reset(struct group_work *w, struct fail *fail)
{
    struct str_list ids;
    if (!groups_named(w, &ids, fail))
        return false;
    struct group_description *groups = ARENA_ARRAY(&w->arena, struct group_description, ids.n + 1);
    struct partition_offsets *plans = ARENA_ARRAY(&w->arena, struct partition_offsets, ids.n + 1);
    if (!groups_asked(group_admin_describe(&w->admin, ids, groups, fail), fail))
        return false;
    for (int32_t i = 0; i < ids.n; i++) {
        struct reset r = {w, ids.v[i]};
        if (!reset_group(&r, &groups[i], &plans[i], fail))
            return false;
    }
    if (options_has(&w->o, "export"))
        export_plans(ids, plans, options_all(&w->o, "group")->count != 1);
    else
        print_plans(ids, plans);
    return true;
}
