# Completion of the Kafka tools in bash: options from the tool's own --help, topics from the cluster that was named.

_barnabas_topics() { # WORDS...: prints topics, if the words say where to ask
    local i
    for ((i = 1; i < $#; i++)); do
        case ${!i} in --bootstrap-server | --broker-list | --zookeeper)
            local where=$((i + 1)) how=${!i}
            [ "$how" = --broker-list ] && how=--bootstrap-server
            timeout 2 kafka-topics.sh "$how" "${!where}" --list 2>/dev/null
            return
            ;;
        esac
    done
}

_barnabas_tool() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    case $previous in
    --topic) mapfile -t COMPREPLY < <(compgen -W "$(_barnabas_topics "${COMP_WORDS[@]}")" -- "$current") ;;
    --files | --command-config | --admin.config | --reassignment-json-file | --topics-to-move-json-file | --path-to-json-file | \
        --producer.config | --consumer.config | --reader-config | --formatter-config | --payload-file | --from-file | --config-file)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        ;;
    --compression-codec) mapfile -t COMPREPLY < <(compgen -W "none gzip snappy lz4 zstd" -- "$current") ;;
    --election-type) mapfile -t COMPREPLY < <(compgen -W "preferred unclean" -- "$current") ;;
    --isolation-level) mapfile -t COMPREPLY < <(compgen -W "read_committed read_uncommitted" -- "$current") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$("$1" --help 2>/dev/null | sed -n 's/^\(--[^ ]*\).*/\1/p')" -- "$current") ;;
    esac
}

for _barnabas_name in $(barnabas-tool --help 2>/dev/null | sed -n 's/^  \([^ ]*\).*/\1.sh/p'); do
    complete -F _barnabas_tool "$_barnabas_name"
done
unset _barnabas_name
