import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.Field;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import kafka.security.authorizer.AclAuthorizer;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.apache.kafka.common.security.auth.SecurityProtocol;
import org.apache.kafka.common.utils.SecurityUtils;
import org.apache.kafka.security.authorizer.AclEntry;
import org.apache.kafka.server.authorizer.Action;
import org.apache.kafka.server.authorizer.AuthorizableRequestContext;
import org.apache.kafka.server.authorizer.AuthorizationResult;
import scala.jdk.javaapi.CollectionConverters;

/** What Apache's authorizer says; test/acls/verdicts.c has the questions' form. Its cache is filled directly, without ZooKeeper. */
public class AclVerdicts {
    record Asker(KafkaPrincipal principal, InetAddress clientAddress) implements AuthorizableRequestContext {
        public String listenerName() { return "X"; }
        public SecurityProtocol securityProtocol() { return SecurityProtocol.PLAINTEXT; }
        public int requestType() { return 3; }
        public int requestVersion() { return 0; }
        public String clientId() { return ""; }
        public int correlationId() { return 0; }
    }

    static AclAuthorizer authorizer;
    static Map<ResourcePattern, Set<AclEntry>> lists;

    static void set(String name, Object value) throws Exception {
        Field field = AclAuthorizer.class.getDeclaredField(name);
        field.setAccessible(true);
        field.set(authorizer, value);
    }

    static void begin(String[] f) throws Exception {
        authorizer = new AclAuthorizer();
        lists = new HashMap<>();
        Set<KafkaPrincipal> superUsers = new HashSet<>();
        for (String text : f[1].isEmpty() ? new String[0] : f[1].split(";"))
            superUsers.add(SecurityUtils.parseKafkaPrincipal(text.trim()));
        set("superUsers", CollectionConverters.asScala(superUsers).toSet());
        set("shouldAllowEveryoneIfNoAclIsFound", f[2].equals("1"));
    }

    static AclOperation operation(String code) {
        return AclOperation.fromCode(Byte.parseByte(code));
    }

    static ResourceType type(String code) {
        return ResourceType.fromCode(Byte.parseByte(code));
    }

    static void change(String[] f) {
        ResourcePattern resource = new ResourcePattern(type(f[1]), f[3], PatternType.fromCode(Byte.parseByte(f[2])));
        AclEntry entry = new AclEntry(new AccessControlEntry(f[4], f[5], operation(f[6]), AclPermissionType.fromCode(Byte.parseByte(f[7]))));
        Set<AclEntry> entries = lists.computeIfAbsent(resource, r -> new HashSet<>());
        if (f[0].equals("add"))
            entries.add(entry);
        else
            entries.remove(entry);
        authorizer.updateCache(resource, new AclAuthorizer.VersionedAcls(CollectionConverters.asScala(entries).toSet(), 1));
    }

    static boolean answer(String[] f) throws Exception {
        Asker who = new Asker(SecurityUtils.parseKafkaPrincipal(f[1]), InetAddress.getByName(f[2]));
        if (f[0].equals("somewhere"))
            return authorizer.authorizeByResourceType(who, operation(f[3]), type(f[4])) == AuthorizationResult.ALLOWED;
        Action action = new Action(operation(f[3]), new ResourcePattern(type(f[4]), f[5], PatternType.LITERAL), 1, true, true);
        return authorizer.authorize(who, List.of(action)).get(0) == AuthorizationResult.ALLOWED;
    }

    record Kept(Asker who, List<Action> actions) { }

    static List<Kept> kept = new ArrayList<>();

    static void keep(String[] f) throws Exception {
        Asker who = new Asker(SecurityUtils.parseKafkaPrincipal(f[1]), InetAddress.getByName(f[2]));
        kept.add(new Kept(who, List.of(new Action(operation(f[3]), new ResourcePattern(type(f[4]), f[5], PatternType.LITERAL), 1, true, true))));
    }

    static int askKept() {
        int yes = 0;
        for (Kept k : kept)
            if (authorizer.authorize(k.who, k.actions).get(0) == AuthorizationResult.ALLOWED)
                yes++;
        return yes;
    }

    static long askFor(double seconds) {
        long passes = 0, end = System.nanoTime() + (long) (seconds * 1e9);
        for (; System.nanoTime() < end; passes++)
            askKept();
        return passes;
    }

    static String time(String[] f) {
        double seconds = Double.parseDouble(f[1]);
        askFor(seconds);
        long begun = System.nanoTime(), passes = askFor(seconds), taken = System.nanoTime() - begun;
        int yes = askKept();
        String text = String.format("%.1f %d%n", (double) taken / passes / kept.size(), yes);
        kept.clear();
        return text;
    }

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        StringBuilder out = new StringBuilder();
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] f = line.split("\t", -1);
            if (f[0].equals("begin"))
                begin(f);
            else if (f[0].equals("add") || f[0].equals("remove"))
                change(f);
            else if (f[0].equals("keep"))
                keep(f);
            else if (f[0].equals("time"))
                out.append(time(f));
            else
                out.append(answer(f) ? "yes\n" : "no\n");
        }
        System.out.print(out);
    }
}
