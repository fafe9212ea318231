/*
 * What is in a node of ZooKeeper, whoever wrote it: the first byte says which kind of node, the others are its data.
 * What is understood of it is so again after it was written, and is used as a broker would.
 */
#include "quiet.h"

#include "cluster/acl_znodes.h"
#include "cluster/quotas.h"
#include "cluster/scram_users.h"
#include "cluster/zk.h"
#include "cluster/znodes.h"
#include "security/password_encoder.h"

/* ---- Topics, partitions, brokers ---- */

static bool same_lists(const struct int_list *a, const struct int_list *b, int32_t n)
{
    bool same = true;
    for (int32_t i = 0; i < n; i++)
        same &= int_list_eq(a[i], b[i]);
    return same;
}

static void try_topic(struct arena *a, struct bytes data)
{
    struct topic_znode t, again;
    if (!topic_decode(a, "t", data, &t))
        return;
    struct bytes text = topic_encode(a, &t);
    ensure((size_t)text.len <= topic_encoded_size(&t));
    ensure(topic_decode(a, "t", text, &again) && again.partition_count == t.partition_count);
    ensure(uuid_eq(again.id, t.id) && same_lists(again.replicas, t.replicas, t.partition_count) &&
           same_lists(again.adding, t.adding, t.partition_count) &&
           same_lists(again.removing, t.removing, t.partition_count));
    for (int32_t i = 0; i < t.partition_count; i++)
        ensure(topic_number(&t, i) == topic_number(&again, i));
}

static void try_state(struct arena *a, struct bytes data)
{
    struct partition_znode p, again;
    if (!partition_decode(a, "t", 0, data, &p))
        return;
    ensure(partition_decode(a, "t", 0, partition_encode(a, &p), &again));
    ensure(again.leader == p.leader && again.leader_epoch == p.leader_epoch &&
           again.controller_epoch == p.controller_epoch && again.recovery_state == p.recovery_state &&
           int_list_eq(again.isr, p.isr));
}

static void try_list(struct arena *a, struct bytes data)
{
    struct partition_list_znode list, again;
    if (!partition_list_decode(a, ZNODE_REASSIGN, data, &list))
        return;
    ensure(partition_list_decode(a, ZNODE_REASSIGN, partition_list_encode(a, &list, true), &again));
    ensure(again.count == list.count);
    for (int32_t i = 0; i < list.count; i++)
        ensure(strcmp(again.entries[i].topic, list.entries[i].topic) == 0 &&
               again.entries[i].partition == list.entries[i].partition &&
               int_list_eq(again.entries[i].replicas, list.entries[i].replicas));
}

static void try_registration(struct arena *a, struct bytes data)
{
    struct registration r, again;
    if (!registration_decode(a, 1, data, &r))
        return;
    ensure(registration_decode(a, 1, registration_encode(a, &r, 0), &again));
    ensure(again.endpoint_count == r.endpoint_count);
}

/* Nodes of one number each. */
static void try_numbers(struct arena *a, struct bytes data)
{
    struct producer_id_block block, block_again;
    int32_t id, again;
    int64_t number, number_again;
    const char *text;
    if (producer_ids_decode(data, &block))
        ensure(producer_ids_decode(producer_ids_encode(a, &block), &block_again) && block_again.first == block.first &&
               block_again.last == block.last);
    if (controller_decode(data, &id))
        ensure(controller_decode(controller_encode(a, id, 0), &again) && again == id);
    if (log_dir_event_decode(data, &id))
        ensure(log_dir_event_decode(log_dir_event_encode(a, id), &again) && again == id);
    if (int_decode(data, &number))
        ensure(int_decode(int_encode(a, number), &number_again) && number_again == number);
    if (cluster_id_decode(a, data, &text))
        ensure(cluster_id_decode(a, cluster_id_encode(a, text), &text));
    if (config_change_decode(a, data, &text))
        ensure(config_change_decode(a, config_change_encode(a, text), &text));
}

/* ---- Settings: limits, credentials ---- */

/* An entity's path up to the first line's end, and the node. */
static void try_settings(struct arena *a, struct bytes data)
{
    const uint8_t *end = data.len > 0 ? memchr(data.p, '\n', (size_t)data.len) : NULL;
    struct rate_window window = {3, 1000};
    struct config_znode pairs, again;
    struct scram_credential credential;
    if (end == NULL)
        return;
    const char *entity = arena_cstr(a, (struct str){(const char *)data.p, (int32_t)(end - data.p)});
    if (!config_decode(a, entity, (struct bytes){end + 1, data.len - (int32_t)(end + 1 - data.p)}, &pairs))
        return;
    ensure(config_decode(a, entity, config_encode(a, &pairs), &again) && again.count == pairs.count);
    struct quotas *quotas = quotas_new(window, window);
    struct scram_users *users = scram_users_new();
    struct quota_client who = {STR_LIT("u"), STR_LIT("c")};
    int32_t wait;
    quotas_take(quotas, entity, &pairs);
    for (int64_t now = 0; now < 5000; now += 999)
        for (enum quota_type t = QUOTA_PRODUCE; t < QUOTA_MUTATION; t++)
            ensure(quotas_charge(quotas, t, who, 1e6, now).wait_ms >= 0);
    ensure(quotas_mutate(quotas, who, 1000, false, 0, &wait) && wait >= 0);
    scram_users_take(users, entity, &pairs);
    for (enum scram_mechanism m = SCRAM_SHA_256; m < SCRAM_MECHANISMS; m++)
        if (scram_users_find(users, m, STR_LIT("u"), a, &credential))
            ensure(scram_credential_parse(m, str_of(scram_credential_text(&credential, a)), a, &credential));
    scram_users_free(users);
    quotas_take(quotas, entity, &(struct config_znode){0});
    for (enum quota_type t = QUOTA_PRODUCE; t < QUOTA_TYPES; t++)
        ensure(!quotas_limit(quotas, t));
    quotas_free(quotas);
}

/* As many iterations as there may be take seconds. */
static bool decodes_soon(const char *encoded)
{
    static const char name[] = "iterations:";
    for (const char *at = encoded; (at = strstr(at, name)) != NULL;) {
        at += strlen(name);
        if (strtol(at, NULL, 10) > 10000)
            return false;
    }
    return true;
}

/* A password of a broker's settings, up to the first zero byte. */
static void try_password(struct arena *a, struct bytes data)
{
    static const struct password_encoder encoder = {.secret = "brokers' secret"};
    struct fail fail = {.text = ""};
    const char *encoded = arena_cstr(a, (struct str){(const char *)data.p, data.len}), *password;
    if (!decodes_soon(encoded))
        return;
    if (password_decode(&encoder, encoded, a, &password, &fail))
        ensure(str_is_utf8(str_of(password)));
    else
        ensure(fail.text[0] != '\0');
}

/* ---- Permissions ---- */

static void try_acls(struct arena *a, struct bytes data)
{
    struct acl_resource r = {ACL_TOPIC, ACL_LITERAL, STR_LIT("t")};
    struct acl_entry *entries, *again;
    int32_t count, again_count;
    struct fail fail = {.text = ""};
    struct acl_policy policy = {0};
    struct acl_asker who =
        acl_asker((struct principal){.type = STR_LIT("User"), .name = STR_LIT("u")}, STR_LIT("1.1.1.1"));
    if (!acl_decode(a, data, &entries, &count, &fail)) {
        ensure(fail.text[0] != '\0');
        return;
    }
    struct acl_list *list = acl_list_new(&r, entries, count);
    struct acl_entry *kept = acl_list_entries(list, a, &count);
    ensure(acl_decode(a, acl_encode(a, kept, count), &again, &again_count, &fail) && again_count == count);
    struct acl_set *empty = acl_set_new(), *set = acl_set_with(empty, &(struct acl_change){r, list}, 1);
    uint32_t allowed = acl_allowed(set, &policy, &who, ACL_TOPIC, r.name);
    for (enum acl_operation o = ACL_READ; o < ACL_OPERATIONS; o++)
        if (acl_allowed_somewhere(set, &policy, &who, ACL_TOPIC, o))
            ensure((allowed & 1U << o) != 0);
    acl_set_unref(set);
    acl_set_unref(empty);
}

static void try_notice(struct arena *a, enum acl_pattern folder, struct bytes data)
{
    struct acl_resource r, again;
    if (!acl_notice_decode(a, folder, data, &r) || !zk_name_is_legal(r.name) ||
        (folder == ACL_LITERAL) != (r.pattern == ACL_LITERAL))
        return;
    ensure(acl_notice_decode(a, folder, acl_notice_encode(a, &r), &again));
    ensure(again.type == r.type && again.pattern == r.pattern && str_eq(again.name, r.name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    if (size < 1 || size > 1 << 14)
        return 0;
    struct bytes rest = {data + 1, (int32_t)size - 1};
    switch (data[0]) {
    case 'T':
        try_topic(&a, rest);
        break;
    case 'P':
        try_state(&a, rest);
        break;
    case 'L':
        try_list(&a, rest);
        break;
    case 'B':
        try_registration(&a, rest);
        break;
    case 'N':
        try_numbers(&a, rest);
        break;
    case 'S':
        try_settings(&a, rest);
        break;
    case 'E':
        try_password(&a, rest);
        break;
    case 'A':
        try_acls(&a, rest);
        break;
    case 'l':
        try_notice(&a, ACL_LITERAL, rest);
        break;
    case 'p':
        try_notice(&a, ACL_PREFIXED, rest);
        break;
    default:
        break;
    }
    arena_deinit(&a);
    return 0;
}
