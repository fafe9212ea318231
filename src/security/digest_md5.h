/*
 * DIGEST-MD5 (RFC 2831), as a client says by it who it is: ZooKeeper's servers know passwords by nothing else. Its MD5
 * protects nobody from who listens, so that it belongs inside of TLS or a network of one's own.
 *
 *     server  realm="…",nonce="…",charset=utf-8,algorithm=md5-sess
 *     client  username="…",realm="…",nonce="…",nc=00000001,cnonce="…",digest-uri="…",response=…,qop=auth
 *     server  rspauth=…, which shows that it has the password, too
 */
#ifndef BARNABAS_DIGEST_MD5_H
#define BARNABAS_DIGEST_MD5_H

#include "base/arena.h"
#include "base/fail.h"

struct digest_login {
    const char *user, *password;
    const char *uri; /* service/host */
};

enum { DIGEST_HEX = 2 * 16 };

struct digest_answer {
    struct str text;            /* for the server */
    char proof[DIGEST_HEX + 1]; /* what the server has to say then */
};

/* `cnonce` is by chance, without quotes or backslashes in it. Texts are in the arena. */
bool digest_md5_respond(const struct digest_login *login, struct str challenge, const char *cnonce, struct arena *a,
                        struct digest_answer *out, struct fail *fail) NODISCARD;
/* Whether the server's last word shows that it knows the password. */
bool digest_md5_check(const struct digest_answer *answer, struct str last_word, struct arena *a) NODISCARD;

#endif
