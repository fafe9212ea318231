#include "security/http.h"

#include <curl/curl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>

#include "base/strbuf.h"
#include "config/java_options.h"

enum { USUAL_LARGEST = 1 << 20, USUAL_TIMEOUT_MS = 10000 };

static pthread_once_t http_once = PTHREAD_ONCE_INIT;

static void http_begin(void)
{
    CURLcode rc = curl_global_init(CURL_GLOBAL_DEFAULT);
    ensure(rc == CURLE_OK);
}

struct http_body {
    struct strbuf text;
    size_t largest;
};

static size_t take_answer(char *data, size_t size, size_t count, void *ctx)
{
    struct http_body *body = ctx;
    size_t len = size * count;
    if (body->text.len + len > body->largest)
        return 0;
    strbuf_add(&body->text, data, len);
    return len;
}

/* Each certificate of the store is an anchor, as in Java. */
static CURLcode trust_store(CURL *curl UNUSED, void *ssl_ctx, void *ctx)
{
    const struct keystore *trust = ctx;
    X509_STORE *store = X509_STORE_new();
    if (store == NULL)
        return CURLE_OUT_OF_MEMORY;
    for (int i = 0; i < trust->count; i++)
        X509_STORE_add_cert(store, sk_X509_value(trust->entries[i].chain, 0));
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    SSL_CTX_set_cert_store(ssl_ctx, store);
    ERR_clear_error();
    return CURLE_OK;
}

/* Java's way to say it, as the variables that curl would go by mean nothing to Kafka's broker. */
static void set_proxy(CURL *curl, const char *url)
{
    struct arena a = {0};
    const char *scheme = strncmp(url, "https:", 6) == 0 ? "https" : "http";
    const char *host = java_property(arena_printf(&a, "%s.proxyHost", scheme).p, &a);
    const char *port = java_property(arena_printf(&a, "%s.proxyPort", scheme).p, &a);
    const char *usual = strcmp(scheme, "https") == 0 ? "443" : "80";
    struct str proxy = host != NULL ? arena_printf(&a, "http://%s:%s", host, port != NULL ? port : usual) : STR_LIT("");
    curl_easy_setopt(curl, CURLOPT_PROXY, proxy.p);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "localhost,127.0.0.1,::1");
    arena_deinit(&a);
}

static void set_question(CURL *curl, const struct http_question *q, struct http_body *body, char *error)
{
    int64_t connect = q->connect_timeout_ms > 0 ? q->connect_timeout_ms : USUAL_TIMEOUT_MS;
    int64_t read = q->read_timeout_ms > 0 ? q->read_timeout_ms : USUAL_TIMEOUT_MS;
    curl_easy_setopt(curl, CURLOPT_URL, q->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https,file");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)connect);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(connect + read));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_answer);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "barnabas");
    set_proxy(curl, q->url);
    if (q->form != NULL)
        curl_easy_setopt(curl, CURLOPT_COPYPOSTFIELDS, q->form);
    if (q->user != NULL) {
        curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
        curl_easy_setopt(curl, CURLOPT_USERNAME, q->user);
        curl_easy_setopt(curl, CURLOPT_PASSWORD, q->password);
    }
    if (q->trust != NULL) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, NULL);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
        curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION, trust_store);
        curl_easy_setopt(curl, CURLOPT_SSL_CTX_DATA, (void *)(uintptr_t)q->trust);
    }
}

bool http_ask(const struct http_question *q, struct arena *a, struct bytes *answer, struct fail *fail)
{
    char error[CURL_ERROR_SIZE] = "";
    struct http_body body = {.largest = q->largest > 0 ? q->largest : USUAL_LARGEST};
    struct strbuf *text = &body.text;
    pthread_once(&http_once, http_begin);
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "Accept: application/json");
    if (curl == NULL || headers == NULL) {
        curl_easy_cleanup(curl);
        curl_slist_free_all(headers);
        return fail_set(fail, "%s: out of memory", q->url);
    }
    set_question(curl, q, &body, error);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    CURLcode rc = curl_easy_perform(curl);
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    ERR_clear_error();
    if (rc == CURLE_OK)
        *answer = (struct bytes){arena_copy(a, text->p != NULL ? text->p : "", text->len), (int32_t)text->len};
    else
        fail_set(fail, "%s: %s", q->url, error[0] != '\0' ? error : curl_easy_strerror(rc));
    strbuf_deinit(text);
    return rc == CURLE_OK;
}
