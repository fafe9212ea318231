/*
 * The last part comes first. CN, O and some others have their names and are texts, whatever their encoding is, taken
 * for UTF-8; all other parts have numbers, and their values are the hexadecimal digits of their DER:
 *
 *     1.2.840.113549.1.9.1=#16056140782e79,CN=a\,b,O=K\#ln
 *
 * Within a part of several values (written with +) the order is that of the certificate.
 */
#include "security/subject.h"

#include <openssl/asn1.h>
#include <openssl/objects.h>
#include <openssl/x509.h>

#include "base/strbuf.h"

static const char *keyword(const ASN1_OBJECT *type)
{
    switch (OBJ_obj2nid(type)) {
    case NID_commonName:
        return "CN";
    case NID_countryName:
        return "C";
    case NID_localityName:
        return "L";
    case NID_stateOrProvinceName:
        return "ST";
    case NID_organizationName:
        return "O";
    case NID_organizationalUnitName:
        return "OU";
    case NID_streetAddress:
        return "STREET";
    case NID_domainComponent:
        return "DC";
    case NID_userId:
        return "UID";
    default:
        return NULL;
    }
}

static bool is_text(const ASN1_STRING *value)
{
    switch (ASN1_STRING_type(value)) {
    case V_ASN1_UTF8STRING:
    case V_ASN1_PRINTABLESTRING:
    case V_ASN1_T61STRING:
    case V_ASN1_IA5STRING:
    case V_ASN1_BMPSTRING:
        return true;
    default:
        return false;
    }
}

static void subject_add_type(struct strbuf *out, const ASN1_OBJECT *type)
{
    char digits[256] = "";
    OBJ_obj2txt(digits, sizeof(digits), type, 1);
    strbuf_puts(out, digits);
}

static void subject_add_der(struct strbuf *out, const ASN1_STRING *value)
{
    uint8_t *der = NULL;
    ASN1_TYPE type = {.type = ASN1_STRING_type(value)};
    type.value.asn1_string = (ASN1_STRING *)(uintptr_t)value; /* which is only read */
    int size = i2d_ASN1_TYPE(&type, &der);
    strbuf_puts(out, "#");
    for (int i = 0; i < size; i++)
        strbuf_printf(out, "%02x", der[i]);
    OPENSSL_free(der);
}

/* How many bytes at the beginning Java takes together for one character that is malformed. */
static int32_t malformed_length(const uint8_t *p, int32_t left)
{
    int32_t whole = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    bool hopeless = p[0] < 0xe0 || p[0] > 0xf4 || left == 1 || (p[1] & 0xc0) != 0x80 || (p[0] == 0xe0 && p[1] < 0xa0) ||
                    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f);
    int32_t n = hopeless ? 1 : 2;
    while (!hopeless && n < MIN(whole, left) && (p[n] & 0xc0) == 0x80)
        n++;
    return n;
}

/* What is malformed comes out as the character that stands for such. */
static void subject_add_utf8(struct strbuf *out, struct str s)
{
    for (int32_t i = 0, n; i < s.len; i += n) {
        int32_t left = s.len - i;
        for (n = 1; n <= MIN(4, left); n++)
            if (str_is_utf8((struct str){s.p + i, n}))
                break;
        bool whole = n <= MIN(4, left);
        if (!whole)
            n = malformed_length((const uint8_t *)s.p + i, left);
        strbuf_str(out, whole ? (struct str){s.p + i, n} : STR_LIT("\xef\xbf\xbd"));
    }
}

static bool subject_is_space(char c)
{
    return c == ' ' || c == '\r';
}

static void subject_add_text(struct strbuf *out, struct str s)
{
    int32_t first = 0, end = s.len;
    while (first < end && subject_is_space(s.p[first]))
        first++;
    while (end > first && subject_is_space(s.p[end - 1]))
        end--;
    for (int32_t i = 0; i < s.len; i++) {
        char c = s.p[i];
        if (c == '\0') {
            strbuf_puts(out, "\\00");
            continue;
        }
        if (strchr(",=+<>#;\"\\", c) != NULL || i < first || i >= end)
            strbuf_puts(out, "\\");
        strbuf_add(out, &c, 1);
    }
}

static void subject_add_value(struct strbuf *out, const X509_NAME_ENTRY *entry)
{
    const ASN1_OBJECT *type = X509_NAME_ENTRY_get_object(entry);
    const ASN1_STRING *value = X509_NAME_ENTRY_get_data(entry);
    const char *name = keyword(type);
    if (name != NULL)
        strbuf_puts(out, name);
    else
        subject_add_type(out, type);
    strbuf_puts(out, "=");
    if (name == NULL || !is_text(value)) {
        subject_add_der(out, value);
        return;
    }
    struct strbuf text = {0};
    subject_add_utf8(&text, (struct str){(const char *)ASN1_STRING_get0_data(value), ASN1_STRING_length(value)});
    subject_add_text(out, (struct str){text.p, (int32_t)text.len});
    strbuf_deinit(&text);
}

const char *subject_text(const X509_NAME *name, struct arena *a)
{
    struct strbuf out = {0};
    int end = X509_NAME_entry_count(name);
    while (end > 0) { /* the values of a part stand side by side, with its number */
        int first = end - 1, part = X509_NAME_ENTRY_set(X509_NAME_get_entry(name, first));
        while (first > 0 && X509_NAME_ENTRY_set(X509_NAME_get_entry(name, first - 1)) == part)
            first--;
        for (int i = first; i < end; i++) {
            strbuf_puts(&out, i > first ? "+" : out.len > 0 ? "," : "");
            subject_add_value(&out, X509_NAME_get_entry(name, i));
        }
        end = first;
    }
    const char *copy = arena_cstr(a, (struct str){out.len > 0 ? out.p : "", (int32_t)out.len});
    strbuf_deinit(&out);
    return copy;
}
