/*
 * AlterUserScramCredentials and DescribeUserScramCredentials (KIP-554). Credentials lie beside a user's quotas in
 * /config/users/NAME, and each broker learns of a change by a notification. The controller changes them, one user at a
 * time: what is wrong with one entry spoils those of its user only, who is written as a whole or not at all.
 *
 * Both read ZooKeeper, not the cache by which users log in: that one may be some milliseconds behind.
 */
#include "base/logger.h"
#include "protocol/msg/alter_user_scram_credentials.h"
#include "protocol/msg/describe_user_scram_credentials.h"
#include "server/authorize.h"

enum { MOST_WRITES = 10, MOST_USERS = 100000 };

#define NO_NAME STR_LIT("Username must not be empty")

/* Never that of all users, which is called <default>: a user of this name is another one. */
static const char *user_node(struct arena *a, struct str user)
{
    return str_is(user, CONFIG_OF_ALL_BROKERS) ? "%3Cdefault%3E" : entity_name_encode(a, user);
}

static const char *user_path(struct arena *a, struct str user)
{
    return arena_printf(a, ZNODE_CONFIG_USERS "/%s", user_node(a, user)).p;
}

static const char *find_credential_text(const struct config_znode *pairs, enum scram_mechanism m)
{
    for (int32_t i = 0; i < pairs->count; i++)
        if (scram_mechanism_of(pairs->entries[i].key) == m)
            return pairs->entries[i].value;
    return NULL;
}

/* ---- Alter: what is asked for ---- */

struct credential_change {
    struct str user;
    int8_t mechanism;
    const struct alter_user_scram_credentials_scram_credential_upsertion *upsertion; /* NULL: a deletion */
};

struct altered_user {
    struct str name;
    const struct credential_change *changes;
    int32_t count;
    enum kafka_error error;
    struct str message;
    bool done;
    struct config_znode pairs; /* what ZooKeeper is to have */
};

struct credentials_alteration {
    struct request *r;
    struct altered_user *users;
    int32_t count, writes;
    bool denied;
};

static void settle_user(struct altered_user *u, enum kafka_error error, struct str message)
{
    u->error = error;
    u->message = message;
    u->done = true;
}

static void check_change(struct altered_user *u, const struct credential_change *c)
{
    const struct alter_user_scram_credentials_scram_credential_upsertion *in = c->upsertion;
    if (u->name.len == 0)
        settle_user(u, ERR_UNACCEPTABLE_CREDENTIAL, NO_NAME);
    else if (scram_mechanism_name(c->mechanism) == NULL)
        settle_user(u, ERR_UNSUPPORTED_SASL_MECHANISM, STR_LIT("Unknown SCRAM mechanism"));
    else if (in != NULL && in->iterations < SCRAM_MIN_ITERATIONS)
        settle_user(u, ERR_UNACCEPTABLE_CREDENTIAL, STR_LIT("Too few iterations"));
    else if (in != NULL && in->iterations > SCRAM_MAX_ITERATIONS)
        settle_user(u, ERR_UNACCEPTABLE_CREDENTIAL, STR_LIT("Too many iterations"));
    else if (in != NULL && in->salted_password.len == 0)
        settle_user(u, ERR_UNACCEPTABLE_CREDENTIAL, STR_LIT("The salted password must not be empty"));
}

static void check_user(struct altered_user *u)
{
    for (int32_t i = 0; i < u->count && !u->done; i++)
        check_change(u, &u->changes[i]);
    for (int32_t i = 1; i < u->count && !u->done; i++)
        if (u->changes[i].mechanism == u->changes[i - 1].mechanism)
            settle_user(u, ERR_DUPLICATE_RESOURCE,
                        STR_LIT("A user credential cannot be altered twice in the same request"));
}

static int by_user_and_mechanism(const void *a, const void *b)
{
    const struct credential_change *x = a, *y = b;
    int order = str_cmp(x->user, y->user);
    return order != 0 ? order : x->mechanism - y->mechanism;
}

/* All changes of a user side by side, and those of one mechanism, too. */
static struct credential_change *sort_changes(struct arena *a, const struct alter_user_scram_credentials_request *q,
                                              int32_t *count)
{
    int32_t deletions = MAX(q->deletions.len, 0), upsertions = MAX(q->upsertions.len, 0);
    struct credential_change *all = ARENA_ARRAY(a, struct credential_change, deletions + upsertions + 1);
    *count = deletions + upsertions;
    for (int32_t i = 0; i < deletions; i++)
        all[i] = (struct credential_change){q->deletions.items[i].name, q->deletions.items[i].mechanism, NULL};
    for (int32_t i = 0; i < upsertions; i++) {
        const struct alter_user_scram_credentials_scram_credential_upsertion *in = &q->upsertions.items[i];
        all[deletions + i] = (struct credential_change){in->name, in->mechanism, in};
    }
    qsort(all, (size_t)*count, sizeof(*all), by_user_and_mechanism);
    return all;
}

static void list_users(struct credentials_alteration *al, const struct alter_user_scram_credentials_request *q)
{
    int32_t count;
    const struct credential_change *all = sort_changes(al->r->arena, q, &count);
    al->users = ARENA_ARRAY(al->r->arena, struct altered_user, MAX(count, 1));
    for (int32_t i = 0, next; i < count; i = next) {
        for (next = i + 1; next < count && str_eq(all[next].user, all[i].user);)
            next++;
        struct altered_user *u = &al->users[al->count++];
        *u = (struct altered_user){.name = all[i].user, .changes = &all[i], .count = next - i};
        check_user(u);
    }
}

/* ---- Alter: ZooKeeper, on the control loop ---- */

static void read_users(struct request *r);

static void answer_alteration(struct request *r)
{
    const struct credentials_alteration *al = r->state;
    struct alter_user_scram_credentials_response response;
    alter_user_scram_credentials_response_init(&response);
    ARRAY_MAKE(r->arena, response.results, al->count);
    for (int32_t i = 0; i < al->count; i++) {
        struct alter_user_scram_credentials_result *o = &response.results.items[i];
        alter_user_scram_credentials_result_init(o);
        o->user = al->users[i].name;
        o->error_code = (int16_t)al->users[i].error;
        o->error_message = al->users[i].message;
    }
    ANSWER(r, alter_user_scram_credentials_response, &response);
}

static const char *user_entity(struct arena *a, const struct altered_user *u)
{
    return arena_printf(a, "users/%s", user_node(a, u->name)).p;
}

static void take_user_result(struct credentials_alteration *al, struct altered_user *u, const struct zk_op *op)
{
    switch (config_write_result(op)) {
    case CONFIG_WRITTEN:
        settle_user(u, ERR_NONE, STR_LIT(""));
        config_watch_written(al->r->s->config_watch, user_entity(al->r->arena, u), &u->pairs);
        log_info("The SCRAM credentials of user %.*s were changed", STR_ARGS(str_head(u->name, MOST_SAID)));
        break;
    case CONFIG_TOO_LARGE:
        settle_user(u, ERR_UNACCEPTABLE_CREDENTIAL, STR_LIT("This is larger than ZooKeeper takes"));
        break;
    case CONFIG_UNWRITTEN:
        settle_user(u, ERR_UNKNOWN_SERVER_ERROR, STR_LIT("ZooKeeper cannot be asked now"));
        break;
    case CONFIG_OVERTAKEN:
        break;
    }
}

static void on_users_written(struct zk_batch *b)
{
    struct credentials_alteration *al = b->ctx;
    const struct zk_op *op;
    bool again = false;
    ZK_OWNED_FOREACH (b, op) {
        struct altered_user *u = op->owner;
        take_user_result(al, u, op);
        again |= !u->done;
    }
    zk_batch_free(b);
    if (again)
        read_users(al->r);
    else
        request_return(al->r, answer_alteration);
}

/* A user who has nothing left is forgotten, unless there are quotas of single clients below it. */
static struct zk_op *write_user(struct zk_batch *b, const struct altered_user *u, const struct zk_op *read)
{
    if (u->pairs.count == 0 && read->stat.child_count == 0)
        return zk_delete(b, read->path, read->stat.version);
    struct bytes data = config_encode(&b->arena, &u->pairs);
    return read->result == ZK_OK ? zk_set(b, read->path, data, read->stat.version)
                                 : zk_create(b, read->path, data, ZK_PERSISTENT);
}

static void add_user_write(struct zk_batch *b, struct altered_user *u, const struct zk_op *read)
{
    if (u->pairs.count == 0 && read->result == ZK_NO_NODE) {
        settle_user(u, ERR_NONE, STR_LIT("")); /* it was forgotten meanwhile */
        return;
    }
    config_write_notified(b, write_user(b, u, read), u, user_entity(&b->arena, u));
}

static const char *new_credential(const struct credential_change *c, struct arena *a)
{
    const struct alter_user_scram_credentials_scram_credential_upsertion *in = c->upsertion;
    struct scram_credential credential =
        scram_credential_of((enum scram_mechanism)c->mechanism, in->salted_password, in->salt, in->iterations, a);
    return scram_credential_text(&credential, a);
}

/* Everything that is not changed stays, which is quotas, and credentials of other mechanisms. */
static void plan_user(struct credentials_alteration *al, struct altered_user *u, const struct config_znode *now)
{
    struct arena *a = al->r->arena;
    u->pairs = (struct config_znode){ARENA_ARRAY(a, struct config_pair, now->count + u->count + 1), 0};
    bool changed[SCRAM_MECHANISMS] = {false};
    for (int32_t i = 0; i < u->count; i++) {
        const struct credential_change *c = &u->changes[i];
        changed[c->mechanism] = true;
        if (c->upsertion != NULL)
            u->pairs.entries[u->pairs.count++] =
                (struct config_pair){scram_mechanism_name(c->mechanism), new_credential(c, a)};
        else if (find_credential_text(now, (enum scram_mechanism)c->mechanism) == NULL && al->writes == 1)
            /* later it may have been our own write that has removed it, though ZooKeeper's answer was lost */
            settle_user(u, ERR_RESOURCE_NOT_FOUND, STR_LIT("Attempt to delete a user credential that does not exist"));
    }
    for (int32_t i = 0; i < now->count; i++)
        if (!changed[scram_mechanism_of(now->entries[i].key)])
            u->pairs.entries[u->pairs.count++] = now->entries[i];
}

static void on_users_read(struct zk_batch *read)
{
    struct credentials_alteration *al = read->ctx;
    struct zk_batch *b = zk_batch_new(on_users_written);
    const struct zk_op *o;
    ZK_OWNED_FOREACH (read, o) {
        struct altered_user *u = o->owner;
        struct config_znode now;
        if (config_read(al->r->arena, o, &now))
            plan_user(al, u, &now);
        else
            settle_user(u, ERR_UNKNOWN_SERVER_ERROR, STR_LIT("The user's znode cannot be read"));
        if (!u->done)
            add_user_write(b, u, o);
    }
    zk_batch_free(read);
    request_submit(al->r, b, al, answer_alteration);
}

static void read_users(struct request *r)
{
    struct credentials_alteration *al = r->state;
    struct zk_batch *b = zk_batch_new(on_users_read);
    al->writes++;
    for (int32_t i = 0; i < al->count; i++) {
        struct altered_user *u = &al->users[i];
        if (!u->done && al->writes > MOST_WRITES)
            settle_user(u, ERR_UNKNOWN_SERVER_ERROR, STR_LIT("Others keep changing it"));
        else if (!u->done)
            zk_get(b, user_path(&b->arena, u->name), false)->owner = u;
    }
    request_submit(r, b, al, answer_alteration);
}

static void refuse_all_users(struct credentials_alteration *al, enum kafka_error error)
{
    for (int32_t i = 0; i < al->count; i++)
        settle_user(&al->users[i], error, str_of(error_message((int16_t)error)));
    request_return(al->r, answer_alteration);
}

static void alter_credentials_as_controller(struct request *r)
{
    struct credentials_alteration *al = r->state;
    if (!controller_is_active(r->s->controller))
        refuse_all_users(al, ERR_NOT_CONTROLLER);
    else if (al->denied)
        refuse_all_users(al, ERR_CLUSTER_AUTHORIZATION_FAILED);
    else
        read_users(r);
}

static void handle_alter_credentials(struct request *r)
{
    struct credentials_alteration *al = ARENA_NEW(r->arena, struct credentials_alteration);
    struct alter_user_scram_credentials_request q;
    if (!DECODE(r, alter_user_scram_credentials_request, &q))
        return;
    r->state = al;
    al->r = r;
    al->denied = !allowed_cluster(r, ACL_ALTER);
    list_users(al, &q);
    request_hop(r, r->s->control_loop, alter_credentials_as_controller);
}

const struct api_entry api_alter_user_scram_credentials = {
    .key = API_ALTER_USER_SCRAM_CREDENTIALS, .min = 0, .max = 0, .handle = handle_alter_credentials};

/* ---- Describe ---- */

struct credentials_description {
    struct request *r;
    struct describe_user_scram_credentials_request request;
    struct describe_user_scram_credentials_response response;
    bool all;
};

static void answer_credentials(struct request *r)
{
    struct credentials_description *d = r->state;
    ANSWER(r, describe_user_scram_credentials_response, &d->response);
}

static struct describe_user_scram_credentials_result *begin_result(struct credentials_description *d, struct str user)
{
    struct describe_user_scram_credentials_result *o = &d->response.results.items[d->response.results.len++];
    describe_user_scram_credentials_result_init(o);
    o->user = user;
    return o;
}

static void refuse_user(struct credentials_description *d, struct str user, enum kafka_error error, struct str message)
{
    struct describe_user_scram_credentials_result *o = begin_result(d, user);
    o->error_code = (int16_t)error;
    o->error_message = message;
}

static void describe_user(struct credentials_description *d, struct str user, const struct config_znode *pairs)
{
    struct arena *a = d->r->arena;
    struct describe_user_scram_credentials_credential_info infos[SCRAM_MECHANISMS];
    int32_t count = 0;
    for (int m = SCRAM_UNKNOWN + 1; m < SCRAM_MECHANISMS; m++) {
        const char *text = find_credential_text(pairs, (enum scram_mechanism)m);
        struct scram_credential c;
        if (text == NULL)
            continue;
        if (!scram_credential_parse((enum scram_mechanism)m, str_of(text), a, &c)) {
            refuse_user(d, user, ERR_UNKNOWN_SERVER_ERROR, str_of(error_message(ERR_UNKNOWN_SERVER_ERROR)));
            return;
        }
        describe_user_scram_credentials_credential_info_init(&infos[count]);
        infos[count].mechanism = (int8_t)m;
        infos[count++].iterations = c.iterations;
    }
    if (count > 0) {
        struct describe_user_scram_credentials_result *o = begin_result(d, user);
        o->credential_infos.items = arena_copy(a, infos, (size_t)count * sizeof(*infos));
        o->credential_infos.len = count;
    } else if (!d->all) {
        refuse_user(d, user, ERR_RESOURCE_NOT_FOUND,
                    arena_printf(a, "Attempt to describe a user credential that does not exist: %.*s",
                                 STR_ARGS(str_head(user, MOST_SAID))));
    }
}

static int by_described_name(const void *a, const void *b)
{
    const struct describe_user_scram_credentials_result *x = a, *y = b;
    return str_cmp(x->user, y->user);
}

static struct str user_of_path(const char *path, struct arena *a)
{
    return entity_name_decode(a, str_of(path + sizeof(ZNODE_CONFIG_USERS "/") - 1));
}

static void on_described(struct zk_batch *b)
{
    struct credentials_description *d = b->ctx;
    const struct zk_op *o;
    ZK_OWNED_FOREACH (b, o) {
        struct config_znode pairs;
        struct str user = user_of_path(o->path, d->r->arena);
        if (config_read(d->r->arena, o, &pairs))
            describe_user(d, user, &pairs);
        else
            refuse_user(d, user, ERR_UNKNOWN_SERVER_ERROR, STR_LIT("The user's znode cannot be read"));
    }
    zk_batch_free(b);
    if (d->all)
        qsort(d->response.results.items, (size_t)d->response.results.len, sizeof(*d->response.results.items),
              by_described_name);
    request_return(d->r, answer_credentials);
}

static void submit_description(struct credentials_description *d, struct zk_batch *b)
{
    request_submit(d->r, b, d, answer_credentials);
}

static void on_users_listed(struct zk_batch *list)
{
    struct credentials_description *d = list->ctx;
    struct zk_batch *b = zk_batch_new(on_described);
    const struct zk_op *o = list->first;
    if (o->result != ZK_OK && o->result != ZK_NO_NODE) {
        d->response.error_code = ERR_UNKNOWN_SERVER_ERROR;
        d->response.error_message = STR_LIT("ZooKeeper cannot be asked now");
    }
    int32_t count = o->result == ZK_OK ? o->child_count : 0;
    ARRAY_MAKE(d->r->arena, d->response.results, count);
    d->response.results.len = 0;
    for (int32_t i = 0; i < count; i++)
        if (!str_is(o->children[i], CONFIG_OF_ALL_BROKERS))
            zk_get(b, zk_child_path(list, o, i), false)->owner = d;
    zk_batch_free(list);
    submit_description(d, b);
}

static void read_all_users(struct request *r)
{
    struct credentials_description *d = r->state;
    struct zk_batch *b = zk_batch_new(on_users_listed);
    zk_children(b, ZNODE_CONFIG_USERS, false);
    submit_description(d, b);
}

static int by_name_asked(const void *a, const void *b)
{
    const struct describe_user_scram_credentials_user_name *x = a, *y = b;
    return str_cmp(x->name, y->name);
}

/* Each once; what is asked for twice is refused. */
static void read_named_users(struct request *r)
{
    struct credentials_description *d = r->state;
    struct zk_batch *b = zk_batch_new(on_described);
    int32_t count = d->request.users.len;
    struct describe_user_scram_credentials_user_name *names = d->request.users.items;
    ARRAY_MAKE(r->arena, d->response.results, count);
    d->response.results.len = 0;
    qsort(names, (size_t)count, sizeof(*names), by_name_asked);
    for (int32_t i = 0, next; i < count; i = next) {
        struct str name = names[i].name;
        for (next = i + 1; next < count && str_eq(names[next].name, name);)
            next++;
        if (name.len == 0)
            refuse_user(d, name, ERR_RESOURCE_NOT_FOUND, NO_NAME);
        else if (next - i > 1)
            refuse_user(d, name, ERR_DUPLICATE_RESOURCE,
                        arena_printf(r->arena,
                                     "Cannot describe SCRAM credentials for the same user twice in a single request: "
                                     "%.*s",
                                     STR_ARGS(str_head(name, MOST_SAID))));
        else
            zk_get(b, user_path(&b->arena, name), false)->owner = d;
    }
    submit_description(d, b);
}

/* As many as were asked for, without their names: so does Kafka's broker. */
static void deny_each_user(struct credentials_description *d)
{
    ARRAY_MAKE(d->r->arena, d->response.results, MAX(d->request.users.len, 0));
    for (int32_t i = 0; i < d->response.results.len; i++) {
        describe_user_scram_credentials_result_init(&d->response.results.items[i]);
        d->response.results.items[i].error_code = ERR_CLUSTER_AUTHORIZATION_FAILED;
    }
}

static void handle_describe_credentials(struct request *r)
{
    struct credentials_description *d = ARENA_NEW(r->arena, struct credentials_description);
    if (!DECODE(r, describe_user_scram_credentials_request, &d->request))
        return;
    r->state = d;
    d->r = r;
    d->all = d->request.users.len <= 0;
    describe_user_scram_credentials_response_init(&d->response);
    if (!allowed_cluster(r, ACL_DESCRIBE)) {
        d->response.error_code = ERR_CLUSTER_AUTHORIZATION_FAILED;
        d->response.error_message = str_of(error_message(ERR_CLUSTER_AUTHORIZATION_FAILED));
        deny_each_user(d);
        answer_credentials(r);
    } else if (d->request.users.len > MOST_USERS) {
        d->response.error_code = ERR_POLICY_VIOLATION;
        d->response.error_message = STR_LIT("Excessively large number of users per request.");
        answer_credentials(r);
    } else {
        request_hop(r, r->s->control_loop, d->all ? read_all_users : read_named_users);
    }
}

const struct api_entry api_describe_user_scram_credentials = {
    .key = API_DESCRIBE_USER_SCRAM_CREDENTIALS, .min = 0, .max = 0, .handle = handle_describe_credentials};
