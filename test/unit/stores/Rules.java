import org.apache.kafka.common.security.ssl.SslPrincipalMapper;

/** Writes rules.txt: rules, a subject, and the name that Apache's mapper gives it, or why there is none, between tabs. */
class Rules {
    static final String DUKE = "CN=Duke,OU=ServiceUsers,O=Org,C=US";
    static final String[][] CASES = {
        {"DEFAULT", DUKE}, {"", DUKE}, {",  , ", DUKE}, {" DEFAULT ", DUKE}, {"default", DUKE}, {"DEFAULT/L", DUKE}, {"DEFAULT x", DUKE},
        {"RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/L", DUKE}, {"RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/", DUKE},
        {"RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/U,DEFAULT", DUKE}, {"RULE:^CN=(.*?),OU=Other.*$/$1/U, DEFAULT", DUKE},
        {"RULE:^CN=(.*?),OU=Other.*$/$1/U", DUKE}, {"RULE:^CN=(.*?),OU=S/$1/U", DUKE},
        {"RULE:CN=(.*?),OU=ServiceUsers.*/$1", DUKE}, {"rule:^CN=(.*?)$/$1/", DUKE}, {"RULE:^CN=(.*?).*$/$1/L/U", DUKE},
        {"RULE:^CN=(.*?),OU=ServiceUsers.*$/L", DUKE}, {"RULE:^CN=(.*?),OU=ServiceUsers.*$/LU", DUKE}, {"RULE:a/b/LU", "a"},
        {"RULE:a/b/ L", "a"}, {"RULE:a/b/L ", "a"}, {"  RULE:([A-Z]*)/$1/L   ,RULE:([a-z]+)/$1/,   DEFAULT  ", "DUKE"},
        {"RULE:.*/x/", "abc"}, {"RULE:^.*$/x/", "abc"}, {"RULE:(.*)/<$1>/", "abc"}, {"RULE:([a-c]*?)/<$1>/", "abc"},
        {"RULE:(a|b|c)+/<$1>/", "abc"}, {"RULE:(?:a|bc)*?/<$0>/", "abc"}, {"RULE:(|.)*?c?/<$0>/", "abc"}, {"RULE://x/", ""},
        {"RULE:.*?/-/", "\u00e4\u20ac"},
        {"RULE:(a)(b)(c)/$3$2$1$0/", "abc"}, {"RULE:(a)(b)(c)/$12/", "abc"}, {"RULE:(a)(b)(c)/$4/", "abc"}, {"RULE:(a)(b)(c)/$1@$4x/", "abc"},
        {"RULE:(a)(b)(c)/$45/", "abc"}, {"RULE:(a)(b)(c)/$345/", "abc"}, {"RULE:(a)(b)(c)/$01/", "abc"}, {"RULE:(a)(b)(c)/$04/", "abc"},
        {"RULE:(a)(b)(c)/$4 $5/", "abc"}, {"RULE:(a)(b)(c)/$4$5/", "abc"}, {"RULE:(a)(b)(c)/\\$1/", "abc"}, {"RULE:(a)(b)(c)/\\$4/", "abc"},
        {"RULE:abc/$1/", "abc"}, {"RULE:abc/$0/", "abc"}, {"RULE:abc/$/", "abc"}, {"RULE:abc/$x/", "abc"}, {"RULE:abc/x$/", "abc"},
        {"RULE:(?<n>a)bc/${n}${n}/", "abc"}, {"RULE:(?<n>a)bc/${m}/", "abc"}, {"RULE:(?<n>a)bc/${n/", "abc"},
        {"RULE:(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)(k)/$11$10$12$1/", "abcdefghijk"},
        {"RULE:abc/x\\/y/", "abc"}, {"RULE:a\\/c/x/", "a/c"}, {"RULE:abc/x\\\\y/", "abc"}, {"RULE:abc/\\x/", "abc"}, {"RULE:a\\,c/x/", "a,c"},
        {"RULE:a,c/x,y/,DEFAULT", "a,c"}, {"RULE:,RULE:,/,RULE:,\\//U,DEFAULT", ",RULE:,"}, {"RULE:x(y/z/", "xy"}, {"RULE:[/z/", "xy"},
        {"RULE:(a)?b/[$1]/", "b"}, {"RULE:^CN=((\\\\, *|\\w)+)(,.*|$)/$1/,DEFAULT", "CN=Tkac\\, Adam,OU=ITZ,DC=geodis,DC=cz"},
        {"RULE:.*/$0/U", "CN=stra\u00dfe \u00f6\u0153\u0161\u00ff\u0451"}, {"RULE:^.*$/$0/L", "CN=STRASSE \u00d6\u0152\u0160\u0178\u0401"},
        {"RULE:^.*$/$0/U", "\ud801\udc28"}, {"RULE:^.*CN=([a-zA-Z0-9.]*).*OU=Client.*$/$1@client/U", "CN=alice,OU=Client Dept,O=Acme"},
        {"RULE:(?i)cn=(\\w++),.*/$1/", DUKE}, {"RULE:CN=(?=D)([^,]+)(?!x),.*/$1/", DUKE}, {"RULE:^CN=\\Q(x)\\E$/ok/", "CN=(x)"},
        {"RULE:CN=\\w+/w/,RULE:CN=.+/p/", "CN=\u00e4"}, {"RULE:CN=a.b/x/,RULE:(?s)CN=a.b/y/", "CN=a\nb"},
    };

    public static void main(String[] args) throws Exception {
        var out = new java.io.PrintStream(System.out, true, "UTF-8");
        for (String[] c : CASES) {
            String result;
            try {
                SslPrincipalMapper mapper = SslPrincipalMapper.fromRules(c[0]);
                try {
                    result = "=" + mapper.getName(c[1]);
                } catch (SslPrincipalMapper.NoMatchingRule e) {
                    result = "none";
                } catch (Exception e) {
                    result = "invalid when applied";
                }
            } catch (Exception e) {
                String text = e.getMessage();
                result = text.startsWith("Invalid rule") ? text : "invalid";
            }
            out.println((c[0] + "\t" + c[1] + "\t" + result).replace("\n", "{LF}"));
        }
    }
}
