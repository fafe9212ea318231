import java.util.HexFormat;
import javax.security.auth.x500.X500Principal;

/** Writes subjects.txt: each name of NAMES in DER, and as Java writes it (with {CR} and {LF} for what they are). */
class Names {
    static final int UTF8 = 12, NUMERIC = 18, PRINTABLE = 19, T61 = 20, IA5 = 22, UNIVERSAL = 28, BMP = 30;
    static final String CN = "550403", SURNAME = "550404", SERIAL = "550405", C = "550406", L = "550407", ST = "550408", STREET = "550409",
        O = "55040a", OU = "55040b", TITLE = "55040c", DESCRIPTION = "55040d", POSTAL = "550411", GIVEN = "55042a", INITIALS = "55042b",
        QUALIFIER = "55042e", EMAIL = "2a864886f70d010901", UID = "0992268993f22c640101", DC = "0992268993f22c640119";

    static final byte[][] NAMES = {
        name(rdn(C, PRINTABLE, "DE"), rdn(O, UTF8, "Acme"), rdn(OU, UTF8, "Eng,Dept"), rdn(CN, UTF8, "broker.example")),
        name(),
        name(rdn(CN, UTF8, "")),
        name(rdn(CN, UTF8, "#hash\\back=eq")),
        name(rdn(CN, UTF8, " lead"), rdn(O, UTF8, "trail  "), rdn(OU, UTF8, "in  side"), rdn(L, UTF8, "   ")),
        name(rdn(CN, UTF8, "\r both \r"), rdn(O, UTF8, "tab\tline\nend"), rdn(OU, UTF8, "a\u0000b\u007f")),
        name(rdn(CN, UTF8, ",+\"\\<>;#=")),
        name(rdn(L, UTF8, "K\u00f6ln"), rdn(CN, UTF8, "\u20ac\ud83d\ude00")),
        name(rdn(EMAIL, IA5, "x@y.z"), rdn(CN, UTF8, "mail")),
        name(rdn(UID, UTF8, "u"), rdn(DC, IA5, "a"), rdn(DC, IA5, "example"), rdn(STREET, UTF8, "s"), rdn(ST, UTF8, "st")),
        name(rdn(SERIAL, PRINTABLE, "12"), rdn(TITLE, UTF8, "t"), rdn(SURNAME, UTF8, "s"), rdn(GIVEN, UTF8, "g"), rdn(INITIALS, UTF8, "i"),
            rdn(DESCRIPTION, UTF8, "d"), rdn(POSTAL, UTF8, "p"), rdn(QUALIFIER, PRINTABLE, "q")),
        name(set(value(CN, UTF8, "one"), value(OU, UTF8, "two")), rdn(O, UTF8, "o")),
        name(rdn(O, UTF8, "o"), set(value(OU, UTF8, "two"), value(CN, UTF8, "one"), value(UID, UTF8, "three"))),
        name(rdn(CN, T61, "latin \u00fc"), rdn(L, NUMERIC, "12 3")),
        name(rdn(CN, BMP, "wide"), rdn(O, UNIVERSAL, "wider")),
        name(raw(CN, T61, "ff41c3"), raw(O, T61, "41e282"), raw(OU, T61, "f0418080"), raw(L, T61, "eda080")),
        name(raw(CN, T61, "f4908080"), raw(O, T61, "f09f98"), raw(OU, T61, "e08080"), raw(L, T61, "c080c3"), raw(ST, T61, "f8888080"),
            raw(DC, T61, "e241"), raw(UID, T61, "f09f41f09f9841")),
        name(rdn("2b0601040182370a", UTF8, "own number"), rdn(CN, PRINTABLE, "printable")),
        name(rdn(CN, UTF8, "a".repeat(300)), rdn(EMAIL, IA5, "b".repeat(200))),
    };

    static byte[] tlv(int tag, byte[]... parts) {
        int size = 0;
        for (byte[] p : parts)
            size += p.length;
        byte[] head = size < 128 ? new byte[] {(byte) tag, (byte) size}
            : size < 256 ? new byte[] {(byte) tag, (byte) 0x81, (byte) size}
            : new byte[] {(byte) tag, (byte) 0x82, (byte) (size >> 8), (byte) size};
        byte[] out = java.util.Arrays.copyOf(head, head.length + size);
        int at = head.length;
        for (byte[] p : parts) {
            System.arraycopy(p, 0, out, at, p.length);
            at += p.length;
        }
        return out;
    }

    static byte[] value(String type, int tag, String text) {
        String charset = tag == BMP ? "UTF-16BE" : tag == UNIVERSAL ? "UTF-32BE" : tag == T61 ? "ISO-8859-1" : "UTF-8";
        return tlv(0x30, tlv(6, HexFormat.of().parseHex(type)), tlv(tag, text.getBytes(java.nio.charset.Charset.forName(charset))));
    }

    static byte[] set(byte[]... values) {
        return tlv(0x31, values);
    }

    static byte[] rdn(String type, int tag, String text) {
        return set(value(type, tag, text));
    }

    static byte[] raw(String type, int tag, String hex) {
        return set(tlv(0x30, tlv(6, HexFormat.of().parseHex(type)), tlv(tag, HexFormat.of().parseHex(hex))));
    }

    static byte[] name(byte[]... parts) {
        return tlv(0x30, parts);
    }

    public static void main(String[] args) throws Exception {
        var out = new java.io.PrintStream(System.out, true, "UTF-8");
        for (byte[] der : NAMES)
            out.println(HexFormat.of().formatHex(der) + " " + new X500Principal(der).getName().replace("\r", "{CR}").replace("\n", "{LF}"));
    }
}
