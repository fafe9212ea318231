/*
 * GSSAPI (RFC 4752) with Kerberos 5, without protection of what follows.
 *
 *     client  a ticket (AP-REQ)
 *     server  its proof (AP-REP)
 *     client  (an empty token)
 *     server  wrapped 01 01 00 00: no layer of protection, at most 64 KiB
 *     client  wrapped 01 00 00 00 [AUTHZID]
 *
 * The authorization id does not count: one is whom the ticket names. At the end the server says nothing.
 */
#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>
#include <krb5.h>

#include "base/logger.h"
#include "security/kerberos.h"
#include "security/sasl_internal.h"

enum { NO_LAYER = 1, LAYERS_SIZE = 4 };

enum gss_stage { PROVES, IS_PROVEN, CHOOSES };

struct gss {
    gss_ctx_id_t context;
    gss_name_t peer; /* of a server: who has come; of a client: where it goes */
    gss_cred_id_t tickets;
    enum gss_stage stage;
};

static gss_buffer_desc gss_input(struct bytes token)
{
    return (gss_buffer_desc){(size_t)token.len, (void *)(uintptr_t)token.p};
}

/* The buffer is given back. Never null. */
static struct bytes gss_output(gss_buffer_t buffer, struct arena *a)
{
    OM_uint32 minor;
    struct bytes out = {arena_copy(a, buffer->value != NULL ? buffer->value : "", buffer->length),
                        (int32_t)buffer->length};
    gss_release_buffer(&minor, buffer);
    return out;
}

static struct gss *gss_of(void **state, struct arena *a)
{
    if (*state == NULL)
        *state = ARENA_NEW(a, struct gss);
    return *state;
}

static void gss_end(void *state)
{
    struct gss *g = state;
    OM_uint32 minor;
    if (g == NULL)
        return;
    gss_delete_sec_context(&minor, &g->context, GSS_C_NO_BUFFER);
    gss_release_name(&minor, &g->peer);
    gss_release_cred(&minor, &g->tickets);
}

/* What may be otherwise when it is tried again: the client is not told that it is refused. */
static bool is_passing(OM_uint32 minor)
{
    return minor == (OM_uint32)KRB5KRB_AP_ERR_REPEAT || minor == (OM_uint32)KRB5KRB_AP_ERR_TKT_NYV;
}

static void gss_refuse(struct sasl_step *out, OM_uint32 major, OM_uint32 minor, struct arena *a)
{
    struct fail why;
    kerberos_explain(major, minor, &why);
    sasl_refuse(out, NULL, arena_cstr(a, str_of(why.text)));
    out->silent = is_passing(minor);
}

static bool wrap_layers(struct gss *g, const uint8_t layers[LAYERS_SIZE], enum sasl_outcome outcome, struct arena *a,
                        struct sasl_step *out)
{
    OM_uint32 minor, major;
    gss_buffer_desc wrapped = GSS_C_EMPTY_BUFFER, plain = {LAYERS_SIZE, (void *)(uintptr_t)layers};
    major = gss_wrap(&minor, g->context, 0, GSS_C_QOP_DEFAULT, &plain, NULL, &wrapped);
    if (major == GSS_S_COMPLETE)
        sasl_say(out, outcome, gss_output(&wrapped, a));
    else
        gss_refuse(out, major, minor, a);
    return major == GSS_S_COMPLETE;
}

/* The layers that the peer wants, or may have; 0: refused. */
static uint8_t unwrap_layers(struct gss *g, struct bytes token, struct arena *a, struct sasl_step *out)
{
    OM_uint32 minor, major;
    gss_buffer_desc plain = GSS_C_EMPTY_BUFFER, wrapped = gss_input(token);
    major = gss_unwrap(&minor, g->context, &wrapped, &plain, NULL, NULL);
    if (major != GSS_S_COMPLETE) {
        gss_refuse(out, major, minor, a);
        return 0;
    }
    struct bytes text = gss_output(&plain, a);
    if (text.len >= LAYERS_SIZE && text.p[0] & NO_LAYER)
        return text.p[0];
    sasl_refuse(out, NULL, "it wants a layer of protection, which there is none of here");
    return 0;
}

/* ---- The server's side ---- */

static void offer_layers(struct gss *g, struct arena *a, struct sasl_step *out)
{
    static const uint8_t offer[LAYERS_SIZE] = {NO_LAYER, 1, 0, 0};
    g->stage = CHOOSES;
    wrap_layers(g, offer, SASL_GOES_ON, a, out);
}

static void accept_ticket(struct sasl_server *s, struct gss *g, struct bytes token, struct arena *a,
                          struct sasl_step *out)
{
    OM_uint32 minor, major, ignored;
    gss_buffer_desc answer = GSS_C_EMPTY_BUFFER, ticket = gss_input(token);
    gss_release_name(&ignored, &g->peer);
    major = gss_accept_sec_context(&minor, &g->context, s->login->kerberos->keys, &ticket, GSS_C_NO_CHANNEL_BINDINGS,
                                   &g->peer, NULL, &answer, NULL, NULL, NULL);
    bool silent = answer.length == 0;
    struct bytes said = gss_output(&answer, a);
    if (GSS_ERROR(major)) {
        gss_refuse(out, major, minor, a);
        return;
    }
    if (major == GSS_S_COMPLETE)
        g->stage = IS_PROVEN;
    if (major == GSS_S_COMPLETE && silent)
        offer_layers(g, a, out);
    else
        sasl_say(out, SASL_GOES_ON, said);
}

static void name_peer_of(struct sasl_server *s, struct gss *g, struct arena *a, struct sasl_step *out)
{
    OM_uint32 minor, major;
    struct fail why;
    struct str name;
    gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
    major = gss_display_name(&minor, g->peer, &text, NULL);
    if (major != GSS_S_COMPLETE) {
        gss_refuse(out, major, minor, a);
        return;
    }
    struct bytes said = gss_output(&text, a);
    const char *principal = arena_cstr(a, (struct str){(const char *)said.p, said.len});
    if (!kerberos_rules_apply(s->login->kerberos->rules, principal, a, &name, &why)) {
        sasl_refuse(out, NULL, arena_cstr(a, str_of(why.text)));
        return;
    }
    s->identity.name = arena_str(&s->memory, name);
    sasl_say(out, SASL_DONE, (struct bytes){NULL, 0});
}

static void gssapi_serve(struct sasl_server *s, struct bytes token, struct arena *a, struct sasl_step *out)
{
    struct gss *g = gss_of(&s->state, &s->memory);
    if (g->stage == PROVES)
        accept_ticket(s, g, token, a, out);
    else if (g->stage == CHOOSES && unwrap_layers(g, token, a, out) == NO_LAYER)
        name_peer_of(s, g, a, out);
    else if (g->stage == IS_PROVEN && token.len == 0)
        offer_layers(g, a, out);
    else if (out->reason == NULL)
        sasl_refuse(out, NULL, "a message that does not belong there");
}

/* ---- The client's side ---- */

static bool begin_asking(struct sasl_client *c, struct gss *g, struct arena *a, struct sasl_step *out)
{
    struct fail why;
    if (kerberos_tickets(c->login->kerberos, &g->tickets, &why) &&
        kerberos_target(c->login->kerberos, c->host, &g->peer, &why))
        return true;
    sasl_refuse(out, NULL, arena_cstr(a, str_of(why.text)));
    return false;
}

static void show_ticket(struct gss *g, struct bytes challenge, struct arena *a, struct sasl_step *out)
{
    OM_uint32 minor, major, flags = GSS_C_MUTUAL_FLAG | GSS_C_SEQUENCE_FLAG | GSS_C_INTEG_FLAG;
    gss_buffer_desc said = gss_input(challenge), answer = GSS_C_EMPTY_BUFFER;
    major = gss_init_sec_context(&minor, g->tickets, &g->context, g->peer, (gss_OID)(uintptr_t)gss_mech_krb5, flags, 0,
                                 GSS_C_NO_CHANNEL_BINDINGS, &said, NULL, &answer, NULL, NULL);
    struct bytes token = gss_output(&answer, a);
    if (GSS_ERROR(major)) {
        gss_refuse(out, major, minor, a);
        return;
    }
    if (major == GSS_S_COMPLETE)
        g->stage = CHOOSES;
    sasl_say(out, SASL_GOES_ON, token);
}

static void gssapi_ask(struct sasl_client *c, struct bytes challenge, struct arena *a, struct sasl_step *out)
{
    static const uint8_t choice[LAYERS_SIZE] = {NO_LAYER, 0, 0, 0};
    struct gss *g = gss_of(&c->state, &c->memory);
    if (c->stage == 0 && !begin_asking(c, g, a, out))
        return;
    if (g->stage == PROVES)
        show_ticket(g, challenge, a, out);
    else if (unwrap_layers(g, challenge, a, out) != 0)
        wrap_layers(g, choice, SASL_DONE, a, out);
}

const struct sasl_mechanism_kind sasl_gssapi = {"GSSAPI", gssapi_serve, gssapi_ask, gss_end};
