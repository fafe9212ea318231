"""The image of a root file system, for build.sh: image.py ROOT FOLDER VERSION DEB. Writes sbom.json and the archive."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import time
import uuid

root, out, version, deb = sys.argv[1:5]
release = version.split("-")[0]
epoch = int(os.environ["SOURCE_DATE_EPOCH"])
now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
UID = 65532
OF_THE_BROKER = ("var/lib/barnabas", "var/log/barnabas")  # it may write there


def sbom():
    """One component for each Debian package of which a file is in the image."""
    names = {"ca-certificates"}
    for path in open(os.path.join(out, "files")).read().split():
        owner = None
        for spelled in (path, path.removeprefix("/usr")):  # packages name files as they were before /usr was merged
            found = subprocess.run(["dpkg-query", "-S", spelled], capture_output=True, text=True)
            owner = owner or (found.stdout.split(": ")[0].split(",")[0] if found.returncode == 0 else None)
        if owner is None:
            sys.exit(f"{path} is no package's")
        names.add(owner)
    shown = subprocess.run(["dpkg-query", "-W", "-f=${Package} ${Version} ${Architecture}\n", *sorted(names)], capture_output=True, text=True, check=True)
    packages = [line.split() for line in shown.stdout.splitlines()]
    arch = subprocess.run(["dpkg-deb", "-f", deb, "Architecture"], capture_output=True, text=True, check=True).stdout.strip()
    packages.append(["barnabas", version, arch])
    components = [{"type": "library" if p.startswith("lib") else "application", "name": p, "version": v, "purl": f"pkg:deb/debian/{p}@{v}?arch={a}"}
                  for p, v, a in sorted(packages)]
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(components))
    return arch, {"bomFormat": "CycloneDX", "specVersion": "1.5", "serialNumber": f"urn:uuid:{number}", "version": 1,
                  "metadata": {"timestamp": now, "component": {"type": "container", "name": "barnabas", "version": version}}, "components": components}


def add(archive, name, content):
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(content), epoch, 0o644
    archive.addfile(info, io.BytesIO(content))


def layer():
    """All of the root, in the order of names, with one time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        paths = sorted(os.path.relpath(os.path.join(parent, name), root) for parent, folders, names in os.walk(root) for name in folders + names)
        for path in paths:
            info = archive.gettarinfo(os.path.join(root, path), path)
            if info.islnk():
                sys.exit(f"{path} is a hard link")
            info.mtime, info.uname, info.gname = epoch, "", ""
            info.uid = info.gid = UID if path in OF_THE_BROKER else 0
            with open(os.path.join(root, path), "rb") if info.isfile() else io.BytesIO() as content:
                archive.addfile(info, content if info.isfile() else None)
    return buffer.getvalue()


arch, bom = sbom()
text = (json.dumps(bom, indent=1) + "\n").encode()
for place in os.path.join(out, "sbom.json"), os.path.join(root, "usr/share/barnabas/sbom.json"):
    with open(place, "wb") as f:
        f.write(text)
content = layer()
config = json.dumps({
    "architecture": arch, "os": "linux", "created": now,
    "config": {
        "User": f"{UID}:{UID}", "WorkingDir": "/var/lib/barnabas", "StopSignal": "SIGTERM",
        # No settings in the environment: they would be over those of a file of one's own, whose log.dirs has the records.
        "Entrypoint": ["/usr/sbin/barnabas", "--environment"], "Cmd": ["/etc/barnabas/server.properties"],
        "Env": ["PATH=/usr/sbin", "LOG_DIR=/var/log/barnabas"],
        "ExposedPorts": {"9092/tcp": {}, "9404/tcp": {}}, "Volumes": {"/var/lib/barnabas": {}},
        "Healthcheck": {"Test": ["CMD", "/usr/sbin/barnabas", "--health", "http://127.0.0.1:9404/livez"],
                        "Interval": 10**10, "Timeout": 5 * 10**9, "StartPeriod": 6 * 10**10, "Retries": 3},
        "Labels": {"org.opencontainers.image.title": "barnabas", "org.opencontainers.image.version": version,
                   "org.opencontainers.image.licenses": "Apache-2.0"},
    },
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(content).hexdigest()]},
    "history": [{"created": now, "created_by": "contrib/container/build.sh"}],
}).encode()
digest = hashlib.sha256(config).hexdigest()
manifest = json.dumps([{"Config": f"{digest}.json", "RepoTags": [f"barnabas:{release}", "barnabas:latest"], "Layers": ["layer.tar"]}]).encode()
name = os.path.join(out, f"barnabas-{release}-{arch}.tar.gz")
with open(name, "wb") as f, gzip.GzipFile(fileobj=f, mode="wb", filename="", mtime=epoch, compresslevel=9) as zipped, \
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.GNU_FORMAT) as archive:
    add(archive, f"{digest}.json", config)
    add(archive, "layer.tar", content)
    add(archive, "manifest.json", manifest)
print(f"{name}: {len(content) / 1e6:.1f} MB unpacked, {os.path.getsize(name) / 1e6:.1f} MB packed, {len(bom['components'])} packages")
