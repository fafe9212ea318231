"""A realm of Kerberos for the tests: a key distribution centre on a port of its own, with its data in a folder."""

import os

from harness import Process, free_port, run, wait_until, accepts

REALM = "EX.TEST"


class Kdc(Process):
    def __init__(self, folder):
        super().__init__(folder / "kdc.log")
        self.folder, self.port = folder, free_port()
        self.config = folder / "krb5.conf"
        self.config.write_text(f"""[libdefaults]
 default_realm = {REALM}
 dns_lookup_kdc = false
 dns_lookup_realm = false
 dns_canonicalize_hostname = false
 rdns = false
 udp_preference_limit = 1
[realms]
 {REALM} = {{
  kdc = 127.0.0.1:{self.port}
 }}
""")
        (folder / "kdc.conf").write_text(f"""[kdcdefaults]
 kdc_listen = 127.0.0.1:{self.port}
 kdc_tcp_listen = 127.0.0.1:{self.port}
[realms]
 {REALM} = {{
  database_name = {folder}/principal
  key_stash_file = {folder}/stash
  acl_file = {folder}/acl
  max_renewable_life = 7d
 }}
""")
        property = f"-Djava.security.krb5.conf={self.config}"
        self.env = {"KRB5_CONFIG": str(self.config), "KRB5_KDC_PROFILE": str(folder / "kdc.conf"), "KRB5CCNAME": f"FILE:{folder}/tickets"}
        self.broker_env = {"KAFKA_OPTS": property, "JAVA_TOOL_OPTIONS": property, "KRB5RCACHENAME": "none:"}

    def start(self):
        self.do("kdb5_util", "create", "-s", "-r", REALM, "-P", "master")
        self.serve()

    def serve(self):
        self.spawn(["/usr/sbin/krb5kdc", "-n"], self.env)
        wait_until(lambda: accepts(self.port), f"the KDC\n{self.text()}")

    def do(self, tool, *args):
        return run([f"/usr/sbin/{tool}", *args], env=self.env)

    def add(self, principal):
        """Its key table."""
        table = self.folder / (principal.replace("/", "-") + ".keytab")
        self.do("kadmin.local", "-q", f"addprinc -randkey {principal}")
        self.do("kadmin.local", "-q", f"ktadd -k {table} {principal}")
        return table

    def login(self, principal, table, *options):
        run(["kinit", *options, "-k", "-t", table, principal], env=self.env)
