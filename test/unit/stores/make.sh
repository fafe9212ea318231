#!/bin/bash
# Makes the files of this folder anew with Java: its keytool, and KAFKA_CLIENTS, the path of kafka-clients.jar. The keys protect nothing.
set -e
export LC_ALL=C.UTF-8 # for the passwords
cd "$(dirname "$0")"
rm -f ./*.jks ./*.p12 ./*.jceks
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

key() { # STORE TYPE PASSWORD ALIAS SUBJECT [ARGUMENTS]
    local store=$1 type=$2 password=$3 alias=$4 subject=$5
    shift 5
    keytool -genkeypair -keystore "$store" -storetype "$type" -storepass "$password" -alias "$alias" -dname "$subject" \
        -validity 36500 "$@" 2>/dev/null
}
export_certificate() { # STORE ALIAS FILE
    keytool -exportcert -rfc -keystore "$1" -storepass changeit -alias "$2" -file "$3" 2>/dev/null
}
signed() { # STORE ALIAS ISSUER'S-STORE
    keytool -certreq -keystore "$1" -storepass changeit -alias "$2" -file "$work/request" 2>/dev/null
    keytool -gencert -keystore "$3" -storepass changeit -alias ca -infile "$work/request" -validity 36500 -rfc -outfile "$work/reply" \
        -ext san=dns:localhost,ip:127.0.0.1 2>/dev/null
    export_certificate "$3" ca "$work/ca.pem"
    cat "$work/reply" "$work/ca.pem" >"$work/chain"
    keytool -importcert -noprompt -keystore "$1" -storepass changeit -alias "$2" -file "$work/chain" 2>/dev/null
}
ec=(-keyalg EC -groupname secp256r1)
old=(-J-Dkeystore.pkcs12.legacy)

key "$work/ca.p12" PKCS12 changeit ca "CN=Test CA" "${ec[@]}" -ext bc:c
key keys.p12 PKCS12 changeit server "CN=broker, O=Acme" "${ec[@]}"
signed keys.p12 server "$work/ca.p12"
copy() { # FROM TO TYPE [ARGUMENTS]
    keytool -importkeystore -noprompt -srckeystore "$1" -srcstorepass changeit -destkeystore "$2" -deststoretype "$3" \
        -deststorepass changeit "${@:4}" 2>/dev/null
}
copy keys.p12 keys.jks JKS
copy keys.p12 keys-old.p12 PKCS12 "${old[@]}"
copy keys.p12 other.jceks JCEKS

# Two keys of which each kind is needed, one more of the first kind, and a certificate that is trusted.
key two.jks JKS changeit zulu "CN=zulu" "${ec[@]}"
key two.jks JKS changeit alpha "CN=alpha" "${ec[@]}"
key two.jks JKS changeit rsa "CN=rsa" -keyalg RSA -keysize 2048
copy two.jks two.p12 PKCS12
export_certificate "$work/ca.p12" ca "$work/ca.pem"
for store in "two.jks JKS" "two.p12 PKCS12" "trust.jks JKS" "trust.p12 PKCS12"; do
    set -- $store
    keytool -importcert -noprompt -keystore "$1" -storetype "$2" -storepass changeit -alias ca -file "$work/ca.pem" 2>/dev/null
done
keytool -importcert -noprompt "${old[@]}" -keystore trust-old.p12 -storetype PKCS12 -storepass changeit -alias ca -file "$work/ca.pem" 2>/dev/null
# As Java's own authorities are: neither encrypted nor checked.
keytool -importcert -noprompt -J-Dkeystore.pkcs12.certProtectionAlgorithm=NONE -J-Dkeystore.pkcs12.macAlgorithm=NONE \
    -keystore trust-open.p12 -storetype PKCS12 -storepass changeit -alias ca -file "$work/ca.pem" 2>/dev/null

# Passwords beyond ASCII and beyond 16 bits, and a key with one of its own.
key password.jks JKS $'g\u00e4n\u20ac\U0001f600' server "CN=broker" "${ec[@]}" -keypass another
# openssl's own: for Java there is no entry in it.
openssl pkcs12 -export -nokeys -in "$work/ca.pem" -passout pass:changeit -out trust-openssl.p12
chmod 644 ./*.p12
java Names.java >subjects.txt
java -cp "${KAFKA_CLIENTS:?is the path of kafka-clients.jar}" Rules.java >rules.txt
