#!/bin/bash
# Lays out for a package what `make install` has put below a root, with the prefix /usr: contrib/lay-out.sh ROOT
#
#   /usr/sbin/barnabas
#   /usr/bin/kafka-topics ...           commands without .sh, as other distributions of Kafka have them
#   /usr/lib/barnabas/barnabas-tool     what most of them are, by the script beside it
#   /usr/share/barnabas/                a folder like Apache's, for scripts and unit files that know one:
#     bin/kafka-topics.sh ...  config -> /etc/barnabas  logs -> /var/log/barnabas
set -euo pipefail
cd "$1"
home=usr/share/barnabas
completions=usr/share/bash-completion/completions
mkdir -p $home/bin usr/lib/barnabas
mv usr/bin/barnabas-tool usr/bin/barnabas-tool.sh usr/lib/barnabas/
for file in usr/bin/*.sh; do
    name=$(basename "$file" .sh)
    if [ -L "$file" ]; then
        rm "$file"
        ln -s ../lib/barnabas/barnabas-tool.sh "usr/bin/$name"
        ln -s ../../../lib/barnabas/barnabas-tool.sh "$home/bin/$name.sh"
    else
        mv "$file" "$home/bin/"
        ln -s "../share/barnabas/bin/$name.sh" "usr/bin/$name"
    fi
done
ln -s ../../../sbin/barnabas $home/bin/barnabas
ln -s /etc/barnabas $home/config
ln -s /var/log/barnabas $home/logs
mv $completions/barnabas-tool $home/completion.bash
for link in "$completions"/*.sh; do
    ln -sf ../../barnabas/completion.bash "$link"
    ln -s ../../barnabas/completion.bash "${link%.sh}"
done
mkdir -p usr/share/zsh/vendor-completions
sed '1s/\([^ ]*\)\.sh/\1 \1.sh/g' usr/share/zsh/site-functions/_barnabas-tool >usr/share/zsh/vendor-completions/_barnabas-tool
rm -r usr/share/zsh/site-functions
sed -i "s:(barnabas-tool --help:(/usr/lib/barnabas/barnabas-tool --help:; s:'\\\$1\\.sh':'\\\$1':" usr/share/fish/vendor_completions.d/barnabas-tool.fish
for link in usr/share/fish/vendor_completions.d/*.sh.fish; do
    mv "$link" "${link%.sh.fish}.fish"
done
sed -i 's:^log\.dirs=.*:log.dirs=/var/lib/barnabas:; s/ The kernel or$//; /^# systemd-tmpfiles may empty/d' etc/barnabas/server.properties
