# Completion of the Kafka tools in bash: options and commands as the tools have them, topics from the cluster that was named.

_barnabas_topics() { # WORDS...: prints topics, if the words say where to ask
    local i
    for ((i = 1; i < $#; i++)); do
        case ${!i} in --bootstrap-server | --broker-list | --zookeeper)
            local where=$((i + 1)) how=${!i}
            [ "$how" = --broker-list ] && how=--bootstrap-server
            local topics=kafka-topics
            command -v $topics >/dev/null || topics=kafka-topics.sh
            timeout 2 $topics "$how" "${!where}" --list 2>/dev/null
            return
            ;;
        esac
    done
}

_barnabas_entries() { # TOOL WORDS...: NAME, VALUE and HELP with tabs in between, of the command if one is among the words
    local tool=$1 tab=$'\t' word entries
    shift
    entries=$("$tool" --complete 2>/dev/null </dev/null | grep "$tab.*$tab")
    for word; do
        if [[ $word = [a-z]* && $'\n'$entries = *$'\n'"$word$tab$tab"* ]]; then
            "$tool" --complete "$word" 2>/dev/null | grep "$tab.*$tab"
            return
        fi
    done
    printf '%s\n' "$entries"
}

# Not compgen -W, which expands what it is given: a name that comes from a broker could be a command. For the same reason it is
# quoted as it goes into the line.
_barnabas_offer() { # PREFIX: of the lines those that begin with it
    local line quoted
    COMPREPLY=()
    while IFS= read -r line; do
        [[ -n $line && $line = "$1"* ]] || continue
        printf -v quoted %q "$line"
        COMPREPLY+=("$quoted")
    done
}

_barnabas_tool() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} entries name value found=none words=
    entries=$(_barnabas_entries "$1" "${COMP_WORDS[@]:1:COMP_CWORD-1}")
    while IFS= read -r name; do
        value=${name#*$'\t'} name=${name%%$'\t'*}
        [ "$name" = "$previous" ] && found=${value%%$'\t'*}
        words+=$name$'\n'
    done <<<"$entries"
    case $found in
    topic) _barnabas_offer "$current" < <(_barnabas_topics "${COMP_WORDS[@]}") ;;
    file) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    any) COMPREPLY=() ;;
    none | '') _barnabas_offer "$current" <<<"$words" ;;
    *) _barnabas_offer "$current" <<<"${found// /$'\n'}" ;;
    esac
}

# bash looks for a file of the command's name; read by another name, it is for all tools.
case ${BASH_SOURCE[0]##*/} in
kafka-* | zookeeper-*) complete -F _barnabas_tool "${BASH_SOURCE[0]##*/}" ;;
*)
    for _barnabas_name in $(barnabas-tool --help 2>/dev/null | sed -n 's/^  \([^ ]*\).*/\1/p'); do
        complete -F _barnabas_tool "$_barnabas_name" "$_barnabas_name.sh"
    done
    unset _barnabas_name
    ;;
esac
