"""OAUTHBEARER with an identity provider: keys that change, and tokens that brokers log in by."""

import base64
import http.server
import json
import ssl
import subprocess
import threading
import time
import urllib.parse

import pytest
from certificates import Authority
from harness import BUILD, Apache, Barnabas, wait_until
from messages import CLOSED
from signers import Signer, key_set
from test_sasl import OAUTH, Talk
from test_security import PAIRS, Listener, check_replication, check_tools, protected, protected_pair, tool

MODULE = f"{OAUTH}.OAuthBearerLoginModule required"


class Provider:
    """Answers as identity providers do, by https: its public keys, and a token for who knows the secret."""

    def __init__(self, folder):
        authority = Authority(folder)
        self.ca, self.signers, self.secret, self.granted, self.asked, self.lifetime = authority.certificate, [Signer(folder, "first")], "s e=cret", 0, 0, 3600
        self.waiting, self.gate = threading.Event(), threading.Event()  # somebody wants a token; and gets it
        self.gate.set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def say(self, code, text):
                self.send_response(code)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def do_GET(self):
                outer.asked += 1
                self.say(200, key_set(*outer.signers))

            def do_POST(self):
                form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                known = self.headers.get("Authorization") == "Basic " + base64.b64encode(f"me:{outer.secret}".encode()).decode()
                outer.waiting.set()
                outer.gate.wait(30)
                if not known or form != {"grant_type": ["client_credentials"], "scope": ["a b"]}:
                    return self.say(401, '{"error":"invalid_client"}')
                outer.granted += self.headers["User-Agent"] == "barnabas"
                self.say(200, json.dumps({"access_token": outer.token("admin"), "token_type": "Bearer"}))

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.issue("provider"))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://localhost:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def token(self, user):
        now = int(time.time())
        return self.signers[-1].token({"sub": user, "iat": now, "exp": now + self.lifetime})

    def keys(self, options="", **more):
        """Settings of a listener that believes it."""
        trust = f'ssl.truststore.type="PEM" ssl.truststore.location="{self.ca}"'
        name = "listener.name.sasl_plaintext.oauthbearer"
        return {"sasl.enabled.mechanisms": "OAUTHBEARER", f"{name}.sasl.jaas.config": f"{MODULE} {trust} {options};",
                f"{name}.sasl.server.callback.handler.class": f"{OAUTH}.OAuthBearerValidatorCallbackHandler",
                "sasl.oauthbearer.jwks.endpoint.url": f"{self.url}/keys", **more}

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def provider(tmp_path):
    found = Provider(tmp_path / "provider")
    yield found
    found.stop()


def may_come(broker, token):
    with Talk(broker.listener) as t:
        t.shake("OAUTHBEARER")
        answer = t.say(f"n,,\x01auth=Bearer {token}\x01\x01".encode())
        return answer != CLOSED and not answer["AuthBytes"]


def test_keys_that_change(make_broker, provider):
    broker = protected(make_broker, "SASL_PLAINTEXT", keys=provider.keys())
    assert may_come(broker, provider.token("alice"))
    provider.signers.append(Signer(provider.ca.parent, "second"))
    asked = provider.asked
    assert may_come(broker, provider.token("alice"))  # whose key was unknown until then
    assert provider.asked == asked + 1
    provider.signers.append(Signer(provider.ca.parent, "third"))
    stranger = Signer(provider.ca.parent, "stranger").token({"sub": "x", "iat": 1, "exp": 9e9})
    assert not any(may_come(broker, stranger) for _ in range(3))
    assert provider.asked == asked + 1  # not for each who invents a key


def test_keys_that_are_old(make_broker, provider):
    broker = protected(make_broker, "SASL_PLAINTEXT", keys=provider.keys(**{"sasl.oauthbearer.jwks.endpoint.refresh.ms": 1}))
    old = provider.token("alice")
    assert may_come(broker, old)
    provider.signers[:] = [Signer(provider.ca.parent, "second")]
    assert not may_come(broker, old)


def test_provider_that_is_not_trusted(make_broker, provider, tmp_path):
    keys = provider.keys()
    keys["listener.name.sasl_plaintext.oauthbearer.sasl.jaas.config"] = f"{MODULE};"
    broker = protected(make_broker, "SASL_PLAINTEXT", keys=keys)
    assert not may_come(broker, provider.token("alice"))
    assert "The keys that tokens are signed by cannot be fetched" in broker.text() and provider.asked == 0


def test_token_is_accepted_a_little_late(make_broker, provider):
    broker = protected(make_broker, "SASL_PLAINTEXT", keys=provider.keys())
    provider.lifetime = -5
    assert may_come(broker, provider.token("alice"))
    provider.lifetime = -60
    assert not may_come(broker, provider.token("alice"))


@pytest.mark.parametrize("changes, said", [
    ({"sasl.oauthbearer.jwks.endpoint.url": "file:///no/such/file"}, "/no/such/file"),
    ({"sasl.oauthbearer.jwks.endpoint.url": ""}, "sasl.oauthbearer.jwks.endpoint.url is not set"),
    ({"sasl.oauthbearer.jwks.endpoint.url": "ftp://x"}, "is no URL of https, http or file"),
    ({"listener.name.sasl_plaintext.oauthbearer.sasl.server.callback.handler.class": "com.example.Mine"}, "com.example.Mine"),
    ({"listener.name.sasl_plaintext.oauthbearer.sasl.login.class": "com.example.Mine"}, "com.example.Mine"),
])
def test_does_not_start_with_what_it_cannot_check(zookeeper, tmp_path, provider, changes, said):
    broker = Barnabas(zookeeper, tmp_path / "data", tmp_path / "broker.log", {})
    broker.properties.update({**provider.keys(), "listeners": f"PLAINTEXT://127.0.0.1:{broker.port},SASL_PLAINTEXT://127.0.0.1:0", **changes})
    broker.launch()
    assert broker.process.wait(60) == 1
    assert said in broker.text()


def replicates(make_broker, kinds, keys):
    brokers = protected_pair(make_broker, "SASL_PLAINTEXT", kinds, keys)
    check_replication(brokers)
    return brokers


@pytest.mark.parametrize("kinds", PAIRS, ids=lambda k: "+".join(c.__name__ for c in k))
def test_unsecured_tokens_between_brokers(make_broker, kinds):
    jaas = f'{MODULE} unsecuredLoginStringClaim_sub="admin" unsecuredLoginExtension_traceId="5";'
    brokers = replicates(make_broker, kinds, {"sasl.enabled.mechanisms": "OAUTHBEARER", "listener.name.sasl_plaintext.oauthbearer.sasl.jaas.config": jaas,
                                              "security.inter.broker.protocol": "SASL_PLAINTEXT", "sasl.mechanism.inter.broker.protocol": "OAUTHBEARER"})
    out = subprocess.run(["kcat", "-b", brokers[0].listener.bootstrap, "-L", "-X", "security.protocol=sasl_plaintext", "-X", "sasl.mechanism=OAUTHBEARER",
                          "-X", "enable.sasl.oauthbearer.unsecure.jwt=true", "-X", "sasl.oauthbearer.config=principal=carol"], capture_output=True, text=True)
    assert out.returncode == 0 and out.stdout.count("  broker ") == 2, out.stderr


BY_PROVIDER = {"listener.name.sasl_plaintext.oauthbearer.sasl.login.callback.handler.class": f"{OAUTH}.OAuthBearerLoginCallbackHandler",
               "security.inter.broker.protocol": "SASL_PLAINTEXT", "sasl.mechanism.inter.broker.protocol": "OAUTHBEARER"}


def test_tokens_of_the_provider_between_brokers(make_broker, provider):
    keys = provider.keys(f'clientId="me" clientSecret="{provider.secret}" scope="a b"', **BY_PROVIDER, **{"sasl.oauthbearer.token.endpoint.url": f"{provider.url}/token"})
    brokers = replicates(make_broker, (Barnabas, Apache), keys)
    assert provider.granted == 1
    assert all(provider.secret not in b.text() for b in brokers)


def client(path, module, **more):
    more = "".join(f"{key}={value}\n" for key, value in more.items())
    path.write_text(f"security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\nsasl.jaas.config={module};\n{more}")
    return path


def test_tools_come_with_tokens(make_broker, tmp_path):
    """Which they make themselves."""
    keys = {"sasl.enabled.mechanisms": "OAUTHBEARER", "listener.name.sasl_plaintext.oauthbearer.sasl.jaas.config": f"{MODULE};"}
    broker = protected(make_broker, "SASL_PLAINTEXT", keys=keys)
    check_tools(broker, client(tmp_path / "client.properties", f'{MODULE} unsecuredLoginStringClaim_sub="alice" unsecuredLoginExtension_traceId="5"'))


def test_tools_come_with_tokens_of_the_provider(make_broker, provider, tmp_path):
    """Of which a consumer needs several while it waits."""
    broker = protected(make_broker, "SASL_PLAINTEXT", keys=provider.keys())
    trust = f'ssl.truststore.type="PEM" ssl.truststore.location="{provider.ca}"'
    more = {"sasl.oauthbearer.token.endpoint.url": f"{provider.url}/token", "sasl.login.callback.handler.class": f"{OAUTH}.OAuthBearerLoginCallbackHandler"}
    mine = client(tmp_path / "client.properties", f'{MODULE} clientId="me" clientSecret="{provider.secret}" scope="a b" {trust}', **more)
    check_tools(broker, mine)
    assert provider.granted == 3
    provider.lifetime = 2
    with subprocess.Popen([BUILD / "barnabas-tool", "kafka-console-consumer", "--bootstrap-server", broker.listener.bootstrap, "--consumer.config", mine,
                           "--topic", "by-tools", "--max-messages", "1"]) as waits:
        wait_until(lambda: provider.granted >= 6, "more tokens")
        tool("kafka-console-producer", "--bootstrap-server", broker.listener.bootstrap, "--producer.config", mine, "--topic", "by-tools", stdin="three\n")
        assert waits.wait(60) == 0
    wrong = client(tmp_path / "wrong.properties", f'{MODULE} clientId="me" clientSecret="wrong" {trust}', **more)
    for name, option in ("kafka-topics", "--command-config"), ("kafka-console-producer", "--producer.config"):
        out = tool(name, "--bootstrap-server", broker.listener.bootstrap, option, wrong, *(["--list"] if "topics" in name else ["--topic", "t"]), stdin="x\n")
        assert out.returncode != 0 and "401" in out.stdout + out.stderr, out
        assert "wrong" not in out.stderr.replace("wrong.properties", "")


def test_stops_while_a_login_waits(zookeeper, tmp_path, provider):
    """For the provider, whose answer comes when all else has gone."""
    broker, listener = Barnabas(zookeeper, tmp_path / "data", tmp_path / "broker.log", {}), Listener("SASL_PLAINTEXT")
    keys = provider.keys(f'clientId="me" clientSecret="{provider.secret}" scope="a b"', **BY_PROVIDER, **{"sasl.oauthbearer.token.endpoint.url": f"{provider.url}/token"})
    broker.properties.update({**keys, **listener.settings(broker), "controlled.shutdown.enable": "false"})
    provider.gate.clear()
    broker.launch()
    assert provider.waiting.wait(60)
    threading.Timer(2, provider.gate.set).start()
    assert broker.stop() == 0
    broker.check_log()
