#!/bin/sh
# Requests and answers that real clients and Apache brokers have exchanged survive being read and written again.
exec test/protocol/roundtrip "$srcdir/test/protocol/captures/clients.bin"
