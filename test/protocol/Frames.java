import java.io.DataOutputStream;
import java.io.FileOutputStream;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.types.ArrayOf;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.CompactArrayOf;
import org.apache.kafka.common.protocol.types.Field;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.utils.ByteUtils;

/**
 * Writes messages of every API and version as Apache's own classes encode them: random content by the schema, read and
 * written by the message class, so that the bytes are what a Java client would send.
 *
 *   Frames SEED VARIANTS FILE       each message: i16 key, i8 1 for a request, i16 version, i32 length, bytes
 */
public class Frames {
    private static Random random;

    /** Bytes of the type, random, biased to what is short. */
    private static void fill(ByteBuffer out, Type type, boolean nullable) {
        if (type instanceof Schema) {
            for (BoundField field : ((Schema) type).fields())
                fill(out, field.def.type, false);
        } else if (type instanceof TaggedFields) {
            tags(out, (TaggedFields) type);
        } else if (type instanceof ArrayOf || type instanceof CompactArrayOf) {
            boolean compact = type instanceof CompactArrayOf;
            Type item = ((Type.DocumentedType) type).arrayElementType().get();
            int n = type.isNullable() && random.nextInt(4) == 0 ? -1 : random.nextInt(4);
            if (compact)
                ByteUtils.writeUnsignedVarint(n + 1, out);
            else
                out.putInt(n);
            for (int i = 0; i < n; i++)
                fill(out, item, false);
        } else {
            primitive(out, type, ((Type.DocumentedType) type).typeName());
        }
    }

    private static void primitive(ByteBuffer out, Type type, String name) {
        boolean isNull = type.isNullable() && random.nextInt(4) == 0;
        byte[] data = new byte[random.nextInt(12)];
        for (int i = 0; i < data.length; i++)
            data[i] = (byte) ('a' + random.nextInt(26));
        switch (name) {
            case "BOOLEAN": out.put((byte) random.nextInt(2)); break;
            case "INT8": out.put((byte) random.nextInt()); break;
            case "INT16": case "UINT16": out.putShort((short) random.nextInt()); break;
            case "INT32": case "UINT32": out.putInt(random.nextInt()); break;
            case "INT64": out.putLong(random.nextLong()); break;
            case "FLOAT64": out.putDouble(random.nextDouble()); break;
            case "UUID": out.putLong(random.nextLong()).putLong(random.nextLong()); break;
            case "STRING": case "NULLABLE_STRING":
                out.putShort((short) (isNull ? -1 : data.length));
                if (!isNull) out.put(data);
                break;
            case "BYTES": case "NULLABLE_BYTES": case "RECORDS":
                out.putInt(isNull ? -1 : data.length);
                if (!isNull) out.put(data);
                break;
            case "COMPACT_STRING": case "COMPACT_NULLABLE_STRING": case "COMPACT_BYTES": case "COMPACT_NULLABLE_BYTES":
            case "COMPACT_RECORDS":
                ByteUtils.writeUnsignedVarint(isNull ? 0 : data.length + 1, out);
                if (!isNull) out.put(data);
                break;
            default: throw new IllegalStateException("type " + name);
        }
    }

    /** The class tells nobody what it has. */
    @SuppressWarnings("unchecked")
    private static Map<Integer, Field> fields(TaggedFields type) {
        try {
            java.lang.reflect.Field fields = TaggedFields.class.getDeclaredField("fields");
            fields.setAccessible(true);
            return (Map<Integer, Field>) fields.get(type);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }

    private static void tags(ByteBuffer out, TaggedFields type) {
        List<Integer> chosen = new ArrayList<>();
        for (Integer tag : fields(type).keySet())
            if (random.nextBoolean())
                chosen.add(tag);
        ByteUtils.writeUnsignedVarint(chosen.size(), out);
        for (Integer tag : chosen) {
            ByteBuffer value = ByteBuffer.allocate(1 << 20);
            fill(value, fields(type).get(tag).type, false);
            value.flip();
            ByteUtils.writeUnsignedVarint(tag, out);
            ByteUtils.writeUnsignedVarint(value.remaining(), out);
            out.put(value);
        }
    }

    /** A random message, or null: some schemas let a null be where the class does not. */
    private static ApiMessage draw(ApiMessageType type, boolean request, short version) {
        for (int tries = 0; tries < 100; tries++) {
            ByteBuffer raw = ByteBuffer.allocate(1 << 20);
            ApiMessage message = request ? type.newRequest() : type.newResponse();
            fill(raw, (request ? type.requestSchemas() : type.responseSchemas())[version], false);
            raw.flip();
            try {
                message.read(new ByteBufferAccessor(raw), version);
                return message;
            } catch (RuntimeException e) {
                continue;
            }
        }
        return null;
    }

    private static void write(DataOutputStream file, ApiMessageType type, boolean request, short version) throws Exception {
        ApiMessage message = draw(type, request, version);
        if (message == null)
            return;
        ByteBuffer bytes = MessageUtil.toByteBuffer(message, version);
        file.writeShort(type.apiKey());
        file.writeByte(request ? 1 : 0);
        file.writeShort(version);
        file.writeInt(bytes.remaining());
        file.write(bytes.array(), bytes.arrayOffset() + bytes.position(), bytes.remaining());
    }

    public static void main(String[] args) throws Exception {
        random = new Random(Long.parseLong(args[0]));
        int variants = Integer.parseInt(args[1]);
        try (DataOutputStream file = new DataOutputStream(new java.io.BufferedOutputStream(new FileOutputStream(args[2])))) {
            for (ApiMessageType type : ApiMessageType.values())
                for (int request = 0; request < 2; request++)
                    for (short version = type.lowestSupportedVersion(); version <= type.highestSupportedVersion(true); version++)
                        for (int i = 0; i < variants; i++)
                            write(file, type, request == 1, version);
        }
    }
}
